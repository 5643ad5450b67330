"""The verbs `status` and `volumes`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quiesce.app.backups_folder import runs_folder
from quiesce.app.leftovers import leftovers
from quiesce.app.overdue import warn_overdue
from quiesce.app.run_reports import last_drill, read_reports
from quiesce.app.session import Session
from quiesce.app.volume_sizes import measure
from quiesce.commands.doctor import shadowed_folders
from quiesce.commands.recover import interrupted
from quiesce.errors import CheckFailed, RequestError
from quiesce.execute import journal
from quiesce.execute.run import Ports
from quiesce.model import Stack
from quiesce.observed import Observed
from quiesce.plan.naming import SET_NAME
from quiesce.plan.steps import CheckDatabase, LoadScript, ReplaceRows, steps_of
from quiesce.report import Reporter, words
from quiesce.report.values import LastRestore

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed
    from quiesce.report import Reporter


def run_status(
    session: Session,
) -> None:
    """Show services, databases, volumes and the age of the newest backup."""
    with session.observed() as (ports, seen):
        show_status(session.stack, ports, seen, session.reporter)
        warn_overdue(session, ports.store.sets())


def run_volumes(session: Session, max_size: str | None) -> None:
    """Show the volumes; exit 7 if one is larger than allowed."""
    with session.observed() as (ports, seen):
        show_volumes(session.stack, ports, seen, session.reporter, max_size)


def show_status(stack: Stack, ports: Ports, observed: Observed, reporter: Reporter) -> None:
    """Report services, databases, volumes, sets and interrupted runs."""
    sets = tuple(s for s in ports.store.sets() if s.manifest.instance == stack.instance.name)
    reporter.status(
        observed,
        stack,
        sets,
        ports.clock.now(),
        interrupted(stack),
        measure(ports, observed.volumes),
        covered=shadowed_folders(ports),
        last_restore=last_restore(stack),
        last_drill=last_drill(read_reports(stack)),
        left=leftovers(stack, ports),
    )


def last_restore(stack: Stack) -> LastRestore | None:
    """Return the newest successful restore. Journals are kept for a limited time, so an old one may
    be missing."""
    found = journal.last_done(runs_folder(stack), "restore")
    if found is None:
        return None
    plan, began = found
    loaded = [
        step
        for _, step in steps_of(plan.nodes)
        if isinstance(step, LoadScript | CheckDatabase | ReplaceRows)
    ]
    # Neither a single file nor a volume has a record to compare with.
    compared = bool(loaded) and all(
        not isinstance(step, LoadScript) and SET_NAME.fullmatch(step.set) for step in loaded
    )
    return LastRestore(plan.request, began, compared)


def show_volumes(
    stack: Stack, ports: Ports, observed: Observed, reporter: Reporter, max_size: str | None
) -> None:
    """Report the volumes. Raise CheckFailed if a volume is larger than its `max_size`, or than this
    one if it has none."""
    limit = None if max_size is None else size_in_bytes(max_size)
    if limit is not None:
        limited = (
            replace(volume, max_size=limit) if volume.max_size is None else volume
            for volume in stack.volumes
        )
        stack = replace(stack, volumes=tuple(limited))
    sizes = measure(ports, observed.volumes)
    reporter.volumes(observed, stack, sizes)
    above = [
        f"{volume.key} contains {words.size(size[1])}, but may have at most "
        f"{words.size(volume.max_size)}"
        for volume in stack.volumes
        if volume.max_size is not None
        and (size := sizes.get(volume.key)) is not None
        and size[1] > volume.max_size
    ]
    if above:
        raise CheckFailed(
            f"{words.counted(len(above), 'volume is', 'volumes are')} larger than allowed",
            "make room with 'inv clean-logs' or 'inv clean-cache', or raise max_size",
            details=above,
        )


def size_in_bytes(text: str) -> int:
    """Return the bytes of a size like `500MB` or `10GiB`. Raise RequestError for anything else."""
    from quiesce.config.scalars import read_size

    try:
        return read_size(text)
    except ValueError:
        raise RequestError(f"{text} is not a size", "write it like 500MB or 10GiB") from None
