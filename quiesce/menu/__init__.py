"""The Invoke tasks, by group, and the whole collection as `namespace`.

    from quiesce.menu import namespace             the whole collection
    namespace = compose(globals())                 the same, with your own tasks added
    from quiesce.menu import backup, restore       single tasks, to rename them or omit others

This package imports only Invoke, so that `inv --list` is fast and works without Docker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invoke.collection import Collection
from invoke.tasks import Task

from quiesce.menu.backup import backup, backup_db, backups, verify
from quiesce.menu.check import check, doctor, status, volumes
from quiesce.menu.clean import clean, clean_all, clean_cache, clean_containers, clean_logs, nuke
from quiesce.menu.demo import demo
from quiesce.menu.drill import drill
from quiesce.menu.exec import db_shell, exec_, logs, shell
from quiesce.menu.init import completion, init
from quiesce.menu.lifecycle import down, rebuild, restart, start, stop, up
from quiesce.menu.migrate import migrate, migrations
from quiesce.menu.near_misses import install as install_hints
from quiesce.menu.report import report
from quiesce.menu.restore import recover, restore, undo_restore
from quiesce.menu.retention import keep, prune, unkeep
from quiesce.menu.schedule import schedule
from quiesce.menu.shutdown import shutdown
from quiesce.menu.stores import pull, push

TASKS: tuple[Task[Any], ...] = (
    init,
    up,
    start,
    stop,
    restart,
    rebuild,
    down,
    status,
    volumes,
    logs,
    exec_,
    shell,
    db_shell,
    migrate,
    migrations,
    backup,
    backup_db,
    backups,
    verify,
    prune,
    keep,
    unkeep,
    push,
    pull,
    schedule,
    report,
    restore,
    undo_restore,
    recover,
    drill,
    clean,
    clean_containers,
    clean_logs,
    clean_cache,
    clean_all,
    nuke,
    shutdown,
    check,
    doctor,
    demo,
    completion,
)


def compose(own: Mapping[str, Any]) -> Collection:
    """Return the collection of Quiesce's tasks and of the tasks in `own` (a module's globals).

    Your own task replaces one of Quiesce with the same name.
    """
    collection = Collection(*(entry for entry in TASKS))
    for value in own.values():
        if isinstance(value, Task) and value not in TASKS:
            collection.tasks.pop(collection.transform(value.name), None)
            collection.add_task(value)
        elif isinstance(value, Collection) and value is not globals().get("namespace"):
            collection.add_collection(value)
    return collection


install_hints()
namespace = compose({})

__all__ = [
    "TASKS",
    "backup",
    "backup_db",
    "backups",
    "check",
    "clean",
    "clean_all",
    "clean_cache",
    "clean_containers",
    "clean_logs",
    "completion",
    "compose",
    "db_shell",
    "demo",
    "doctor",
    "down",
    "drill",
    "exec_",
    "init",
    "keep",
    "logs",
    "migrate",
    "migrations",
    "namespace",
    "nuke",
    "prune",
    "pull",
    "push",
    "rebuild",
    "recover",
    "report",
    "restart",
    "restore",
    "schedule",
    "shell",
    "shutdown",
    "start",
    "status",
    "stop",
    "undo_restore",
    "unkeep",
    "up",
    "verify",
    "volumes",
]
