"""The Invoke tasks, by group, and the whole collection as `namespace`.

    from quiesce.menu import namespace             the whole collection is the menu
    namespace = compose(globals())                 the same, with tasks of one's own beside it
    from quiesce.menu import backup, restore       single tasks, to rename or to leave out others

Nothing here imports more than Invoke: `inv --list` is instant, and works with no Docker at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invoke.collection import Collection
from invoke.tasks import Task

from quiesce.menu.backup import backup, backups, verify
from quiesce.menu.check import check, status
from quiesce.menu.demo import demo
from quiesce.menu.lifecycle import down, restart, start, stop, up
from quiesce.menu.migrate import migrate
from quiesce.menu.restore import recover, restore, undo_restore

TASKS: tuple[Task[Any], ...] = (
    up,
    start,
    stop,
    restart,
    down,
    status,
    migrate,
    backup,
    backups,
    verify,
    restore,
    undo_restore,
    recover,
    check,
    demo,
)


def compose(own: Mapping[str, Any]) -> Collection:
    """Return the collection of all tasks here and of the tasks among `own` (a module's globals).

    A task of one's own with the name of one of ours takes its place.
    """
    collection = Collection(*(entry for entry in TASKS))
    for value in own.values():
        if isinstance(value, Task) and value not in TASKS:
            collection.tasks.pop(collection.transform(value.name), None)
            collection.add_task(value)
        elif isinstance(value, Collection):
            collection.add_collection(value)
    return collection


namespace = compose({})

__all__ = [
    "TASKS",
    "backup",
    "backups",
    "check",
    "compose",
    "demo",
    "down",
    "migrate",
    "namespace",
    "recover",
    "restart",
    "restore",
    "start",
    "status",
    "stop",
    "undo_restore",
    "up",
    "verify",
]
