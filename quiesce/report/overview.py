"""The output of `status` and `volumes` as blocks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from quiesce.report import words
from quiesce.report.blocks import Block, Cell, Column, Facts, Headline, Remark, Table
from quiesce.report.values import DrillRecord, LastRestore, Leftover, Sizes, UnfinishedRun
from quiesce.report.views import verified

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from quiesce.model import BackupSet, Stack, Volume
    from quiesce.observed import (
        DatabaseState,
        Observed,
        Service,
        ShadowedFolder,
        Unit,
        VolumeState,
    )


def newest(sets: Iterable[BackupSet], instance: str, *, verified: bool) -> BackupSet | None:
    """Return the instance's newest full set (verified good, if asked), or its newest of any kind.

    Safety sets of restores contain only what was replaced, so they are used last.
    """
    wanted = [
        backup
        for backup in sets
        if backup.manifest.instance == instance
        and (backup.state.verified_good is True or not verified)
    ]

    def rank(backup: BackupSet) -> tuple[bool, bool, datetime]:
        manifest = backup.manifest
        return not manifest.safety, manifest.kind == "full", manifest.created_at

    return max(wanted, key=rank, default=None)


def newer(sets: Iterable[BackupSet], than: BackupSet | None) -> BackupSet | None:
    """Return the newest set of the same instance if it is newer than the set that `newest` returns,
    which prefers full sets: a set of rows, such as a shutdown makes, or a safety set."""
    if than is None:
        return None
    own = [s for s in sets if s.manifest.instance == than.manifest.instance]
    last = max(own, key=lambda s: s.manifest.created_at, default=than)
    return last if last.manifest.created_at > than.manifest.created_at else None


def kind_words(backup: BackupSet) -> str:
    """Return what kind of set it is."""
    return "safety set" if backup.manifest.safety else f"{backup.manifest.kind} set"


def status(
    stack: Stack,
    observed: Observed,
    last: BackupSet | None,
    last_verified: BackupSet | None,
    now: datetime,
    unfinished: Sequence[UnfinishedRun],
    sizes: Sizes,
    zone: tzinfo | None,
    covered: Sequence[ShadowedFolder] = (),
    last_restore: LastRestore | None = None,
    last_drill: DrillRecord | None = None,
    left: Sequence[Leftover] = (),
    later: BackupSet | None = None,
) -> list[Block]:
    """Return services, databases, volumes, backups and pending recoveries."""
    instance, engine = stack.instance, observed.engine
    title = f"{instance.name}: {instance.runtime} project {instance.project}"
    blocks: list[Block] = [
        Headline(f"{title}, {engine.kind} {engine.version}".rstrip()),
        _services(observed.services, now),
        _databases(stack, observed),
        _volumes(stack, observed, sizes),
        Headline(""),
        Facts(
            (
                ("last backup", _backup(last, now, none="never", good=True)),
                *_later(later, now),
                ("last verified", _backup(last_verified, now, none="never", good=False)),
                ("last restore", _restore(last_restore, now)),
                ("last drill", _drill(last_drill, now)),
                ("free space", Cell(words.size(observed.free_bytes))),
                ("interrupted runs", Cell("none") if not unfinished else _count(unfinished)),
            )
        ),
    ]
    for run in unfinished:
        since = f", started {words.moment(run.started, zone)}" if run.started else ""
        text = f"{run.verb} was interrupted{since}"
        blocks.append(Remark("bad", run.run, text, "run 'inv recover'"))
    for one in left:
        blocks.append(Remark("bad" if one.service else "warning", one.run, one.fact, one.hint))
    return [*blocks, *(_shadowed(folder) for folder in covered)]


def _later(backup: BackupSet | None, now: datetime) -> list[tuple[str, Cell]]:
    """Describe the newest set if it is not the last backup."""
    if backup is None:
        return []
    text = f"{kind_words(backup)}, {_backup(backup, now, none='', good=True).text}"
    return [("newest set", Cell(text))]


def _restore(last: LastRestore | None, now: datetime) -> Cell:
    """Describe the last restore, and whether its data was compared before the exchange."""
    if last is None:
        return Cell("none known", "faint")
    proven = ", compared with the set" if last.compared else ", not compared"
    return Cell(f"{words.age(last.began, now)}{proven} ({last.request})")


def _drill(last: DrillRecord | None, now: datetime) -> Cell:
    if last is None:
        return Cell("none known", "faint")
    when = words.age(last.at, now)
    if not last.ok:
        return Cell(f"{when}, FAILED: {last.fact}", "bad")
    took = last.recovery_seconds
    timed = f", recovery took {words.duration(took)}" if took is not None else ""
    return Cell(f"{when}, everything was restored{timed} ({last.source})", "good")


def _shadowed(folder: ShadowedFolder) -> Remark:
    """Describe the files of an image that a bind mount hides from the service."""
    names = ", ".join(folder.entries)
    return Remark(
        "warning",
        folder.service,
        f"{folder.source} hides {folder.target} of the image ({names}, …)",
        f"mount a named volume on {folder.target}: a new volume starts with a copy of the "
        "image's content",
    )


def _count(unfinished: Sequence[UnfinishedRun]) -> Cell:
    return Cell(str(len(unfinished)), "bad")


def _backup(backup: BackupSet | None, now: datetime, *, none: str, good: bool) -> Cell:
    if backup is None:
        return Cell(none, "warning")
    when = words.age(backup.manifest.created_at, now)
    if good:
        return Cell(f"{when}, {words.size(backup.bytes)} ({backup.name})")
    return Cell(f"{verified(backup, now).text} ({backup.name})")


def _services(services: Sequence[Service], now: datetime) -> Table:
    rows = tuple(
        (Cell(service.name), _state(service.units), _health(service), _uptime(service.units, now))
        for service in services
    )
    columns = (Column("service"), Column("state", wraps=10), Column("health"), Column("up for"))
    return Table("services", columns, rows)


def _uptime(units: Sequence[Unit], now: datetime) -> Cell:
    """Return how long the service has been running, by its youngest container."""
    begun = [unit.started_at for unit in units if unit.runs and unit.started_at]
    if not begun:
        return Cell("-", "faint")
    return Cell(words.span(max(0, int((now - max(begun)).total_seconds()))))


def _state(units: Sequence[Unit]) -> Cell:
    if not units:
        return Cell("not created", "faint")
    counts: dict[str, int] = {}
    for unit in units:
        ended = unit.state in ("exited", "dead") and unit.exit_code is not None
        words_ = f"{unit.state} ({unit.exit_code})" if ended else unit.state
        counts[words_] = counts.get(words_, 0) + 1
    text = ", ".join(name if n == 1 else f"{name} ×{n}" for name, n in counts.items())
    if all(unit.state == "running" for unit in units):
        return Cell(text, "good")
    if any(unit.state in ("dead", "restarting") or unit.exit_code for unit in units):
        return Cell(text, "bad")
    return Cell(text, "warning" if any(unit.runs for unit in units) else "faint")


def _health(service: Service) -> Cell:
    states = dict.fromkeys(unit.health for unit in service.running if unit.health != "none")
    if not states:
        return Cell("-", "faint")
    text = ", ".join(states)
    if "unhealthy" in states:
        return Cell(text, "bad")
    return Cell(text, "warning" if "starting" in states else "good")


def _databases(stack: Stack, observed: Observed) -> Table:
    columns = (
        Column("database"),
        Column("server"),
        Column("size", numeric=True),
        Column("revision", wraps=10),
    )
    unmanaged = {database.key for database in stack.databases if database.migrations is None}
    rows = [_database(state, migrated=state.key not in unmanaged) for state in observed.databases]
    for name in observed.undeclared_databases:
        row = (Cell(name), Cell(""), Cell(""), Cell("not declared in stack.yaml", "warning"))
        rows.append(row)
    return Table("databases", columns, tuple(rows))


def _database(state: DatabaseState, *, migrated: bool) -> tuple[Cell, ...]:
    name = Cell(state.key if state.key == state.name else f"{state.key} ({state.name})")
    if state.problem or not state.reachable:
        problem = Cell(state.problem or "not reachable", "bad")
        return name, Cell(state.server_version), Cell(""), problem
    if not state.exists:
        return name, Cell(state.server_version), Cell(""), Cell("does not exist", "warning")
    revision = ", ".join(state.revision)
    # Without migrations in stack.yaml there is nothing that it could be migrated to.
    shown = Cell(revision) if revision else Cell("not migrated" if migrated else "-", "faint")
    return name, Cell(state.server_version), Cell(words.size(state.bytes)), shown


def _volumes(stack: Stack, observed: Observed, sizes: Sizes) -> Table:
    columns = (
        Column("volume"),
        Column("priority"),
        Column("files", numeric=True),
        Column("size", numeric=True),
        Column("backup"),
    )
    rows = []
    for state in observed.volumes:
        declared = _declared(stack, state)
        priority = Cell(declared.priority) if declared else Cell("undeclared", "warning")
        rows.append(
            (
                Cell(state.key),
                priority,
                *_size(state, declared, sizes),
                Cell(declared.backup if declared else ""),
            )
        )
    return Table("volumes", columns, tuple(rows))


def volumes(stack: Stack, observed: Observed, sizes: Sizes) -> list[Block]:
    """Return purpose, location and kind of backup of each volume."""
    columns = (
        Column("volume"),
        Column("purpose", wraps=10),
        Column("priority"),
        Column("files", numeric=True),
        Column("size", numeric=True),
        Column("backup"),
        Column("clean"),
        Column("name", wraps=10),
        Column("driver"),
        Column("used at", wraps=10),
        Column("mountpoint", wraps=10),
    )
    rows = []
    for state in observed.volumes:
        declared = _declared(stack, state)
        uses = (
            f"{service.name}:{mount.target}"
            for service in observed.services
            for mount in service.mounts
            if mount.volume == state.key
        )
        rows.append(
            (
                Cell(state.key),
                Cell(declared.purpose if declared else ""),
                Cell(declared.priority) if declared else Cell("undeclared", "warning"),
                *_size(state, declared, sizes),
                Cell(declared.backup if declared else ""),
                Cell((declared.clean if declared else None) or ""),
                Cell(state.name),
                Cell(state.driver),
                Cell(", ".join(uses)),
                Cell(str(state.mountpoint) if state.mountpoint else ""),
            )
        )
    return [Table("", columns, tuple(rows), "no volumes")]


def _declared(stack: Stack, state: VolumeState) -> Volume | None:
    return next((volume for volume in stack.volumes if volume.key == state.key), None)


def _size(state: VolumeState, declared: Volume | None, sizes: Sizes) -> tuple[Cell, Cell]:
    size = sizes.get(state.key)
    if not state.exists:
        return Cell(""), Cell("absent", "warning")
    if size is None:
        return Cell(""), Cell("unknown", "faint")
    count, taken = size
    files, text = Cell(f"{count:,}"), words.size(taken)
    limit = declared.max_size if declared else None
    if limit is not None and taken > limit:
        return files, Cell(f"{text} > {words.size(limit)}", "bad")
    return files, Cell(text)
