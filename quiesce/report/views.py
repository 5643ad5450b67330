"""Results as blocks: tables and lines to print. Pure; no colour codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quiesce.plan.coverage import what_it_covers
from quiesce.report import words
from quiesce.report.blocks import Block, Cell, Column, Facts, Headline, Mark, Remark, Table, Tone
from quiesce.report.values import MigrationRow, RestoredDatabase, RestoreOutcome, RunRecord

if TYPE_CHECKING:
    from datetime import datetime

    from quiesce.findings import Finding
    from quiesce.model import BackupSet, Downtime, Manifest, VolumeRecord
    from quiesce.plan.large_sqlite import LargeDatabase

_FAINT_NONE = Cell("-", "faint")


def sets(
    backups: Sequence[BackupSet],
    now: datetime,
    reasons: Mapping[str, tuple[str, ...]] | None,
    unreadable: Sequence[tuple[str, str]],
) -> list[Block]:
    """Return the sets as a table, then folders that look like sets but cannot be read."""
    labelled = any(backup.manifest.label for backup in backups)
    kept = reasons is not None or any(backup.state.pinned for backup in backups)
    columns = [
        Column("set"),
        Column("age"),
        Column("size", numeric=True),
        Column("kind", wraps=10),
        Column("contents", wraps=13),
        Column("verified", wraps=9),
    ]
    columns += [Column("label", wraps=10)] if labelled else []
    columns += [Column("kept by", wraps=8)] if kept else []
    rows = []
    for backup in backups:
        row = [
            Cell(backup.name),
            _age(backup.manifest.created_at, now),
            Cell(words.size(backup.bytes)),
            _kind(backup),
            _contents(backup),
            _verified(backup, now),
        ]
        row += [Cell(backup.manifest.label)] if labelled else []
        row += [_kept(backup, reasons)] if kept else []
        rows.append(tuple(row))
    remarks = [Remark("warning", name, f"unreadable: {why}") for name, why in unreadable]
    return [Table("", tuple(columns), tuple(rows), "no backup sets"), *remarks]


def runs(
    records: Sequence[RunRecord], now: datetime, large: Sequence[LargeDatabase]
) -> list[Block]:
    """Return the runs as a table, with their errors, and large SQLite databases if there are any
    that change little."""
    columns = (
        Column("begun"),
        Column("task"),
        Column("took", numeric=True),
        Column("result", wraps=12),
    )
    rows = tuple(
        (
            Cell(words.age(record.at, now)),
            Cell(record.task),
            Cell(words.duration(record.seconds)),
            Cell(", ".join(record.sets) or "done", "good")
            if record.ok
            else Cell(f"{record.fact or 'failed'} (exit code {record.exit_code})", "bad"),
        )
        for record in records
    )
    table = Table("", columns, rows, "no runs yet")
    return [table, _large(large)] if large else [table]


def _large(large: Sequence[LargeDatabase]) -> Block:
    columns = (
        Column("volume"),
        Column("file", wraps=12),
        Column("size", numeric=True),
        Column("changed", numeric=True),
    )
    rows = tuple(
        (
            Cell(one.volume),
            Cell(one.file),
            Cell(words.size(one.bytes)),
            Cell(f"{one.changed:.1%}"),
        )
        for one in large
    )
    title = f"large SQLite databases that changed little since {large[0].since}"
    return Table(title, columns, rows, "")


def _age(created: datetime, now: datetime) -> Cell:
    seconds = int((now - created).total_seconds())
    return Cell(words.span(seconds)) if seconds >= 0 else Cell("in future", "warning")


def _verified(backup: BackupSet, now: datetime) -> Cell:
    """Return the level of the last verification of the set, and how long ago it was."""
    state = backup.state
    if state.verified_good is None or state.verified_at is None:
        return Cell("no", "faint")
    if not state.verified_good:
        return Cell("DAMAGED", "bad")
    seconds = max(0, int((now - state.verified_at).total_seconds()))
    return Cell(f"{state.verified_level} {words.span(seconds)}", "good")


def _kind(backup: BackupSet) -> Cell:
    """Return the kind, with the mode if it is not the default."""
    manifest = backup.manifest
    if manifest.mode != "consistent":
        return Cell(f"{manifest.kind}, {manifest.mode}")
    if not manifest.consistent:
        return Cell(f"{manifest.kind}, NOT consistent", "warning")
    if manifest.undeclared:
        return Cell(f"{manifest.kind}, NOT complete", "warning")
    return Cell(manifest.kind)


def _contents(backup: BackupSet) -> Cell:
    manifest = backup.manifest
    databases = ", ".join(record.key for record in manifest.databases)
    volumes = ", ".join(record.key for record in manifest.volumes)
    return Cell(" + ".join(part for part in (databases, volumes) if part))


def _kept(backup: BackupSet, reasons: Mapping[str, tuple[str, ...]] | None) -> Cell:
    if reasons is None:
        return Cell("pinned") if backup.state.pinned else _FAINT_NONE
    rules = reasons.get(backup.name, ())
    return Cell(", ".join(rules)) if rules else Cell("nothing", "warning")


def verified(backup: BackupSet, now: datetime) -> Cell:
    """Return when and how thoroughly the set was last verified."""
    state = backup.state
    if state.verified_good is None or state.verified_at is None:
        return Cell("no", "faint")
    when = words.age(state.verified_at, now)
    if not state.verified_good:
        return Cell(f"DAMAGED, {when}", "bad")
    return Cell(f"{when} ({state.verified_level})", "good")


def backup_done(backup: BackupSet) -> list[Block]:
    """Return the result of a backup, in numbers."""
    manifest = backup.manifest
    seconds = words.duration(manifest.duration_seconds)
    rows = [
        (
            f"database {record.key}",
            Cell(_tables(len(record.tables), sum(table.rows for table in record.tables))),
        )
        for record in manifest.databases
    ]
    rows += [
        (f"{record.noun} {record.key}", Cell(_files(record.files, record.bytes) + _sqlite(record)))
        for record in manifest.volumes
    ]
    rows += _one_moment(manifest)
    rows += _downtime(manifest.downtime_seconds)
    rows += [("label", Cell(manifest.label))] if manifest.label else []
    if backup.state.pinned or manifest.pinned:
        rows.append(("pinned", Cell("retention never removes it")))
    state = backup.state
    if state.verified_good is not None:
        good = state.verified_good
        rows.append(("verified", Cell("good", "good") if good else Cell("DAMAGED", "bad")))
    if manifest.encryption:
        rows.append(
            ("encrypted", Cell(f"with {manifest.encryption}; restoring needs the private key"))
        )
    rows.append(("path", Cell(str(backup.path))))
    text = f"backed up into {backup.name}: {words.size(backup.bytes)} in {seconds}"
    blocks: list[Block] = [Headline(text, "good", event=True), Facts(tuple(rows))]
    if not manifest.consistent:
        blocks.append(Remark("warning", "not consistent", manifest.inconsistency))
    blocks += [
        Remark("warning", f"NOT in the set: {one.words}", one.fact, one.hint)
        for one in manifest.undeclared
    ]
    return blocks


def _sqlite(record: VolumeRecord) -> str:
    """Return how many SQLite databases are among the files."""
    if not record.sqlite:
        return ""
    count = words.counted(len(record.sqlite), "SQLite database")
    bad = sum(1 for one in record.sqlite if one.problems)
    unknown = sum(1 for one in record.sqlite if one.unchecked)
    parts = [*([f"{bad} DAMAGED"] if bad else []), *([f"{unknown} not checked"] if unknown else [])]
    return f", {count}" + (f" ({', '.join(parts)})" if parts else ", good")


def _one_moment(manifest: Manifest) -> list[tuple[str, Cell]]:
    """Return which databases and volumes a consistent set shows as of one moment."""
    several = len(manifest.databases) + len(manifest.volumes) > 1
    if manifest.mode == "live" or not manifest.consistent or not several:
        return []
    covered = what_it_covers(manifest)
    doubt = f" (not proven: {manifest.doubt})" if manifest.doubt else ""
    return [("as of one moment", Cell(covered + doubt))]


def restore_done(outcome: RestoreOutcome) -> list[Block]:
    """Return the result of a restore, and how to undo it."""
    rows = [
        (
            f"database {database.key}",
            Cell(_tables(database.tables, database.rows) + _compared(database)),
        )
        for database in outcome.databases
    ]
    rows += [(f"{v.noun} {v.key}", Cell(_files(v.files, v.bytes))) for v in outcome.volumes]
    if outcome.downtime:
        rows += _downtime(outcome.downtime)
    if outcome.safety_set:
        way_back = f"{outcome.safety_set} ('inv undo-restore' restores it)"
        rows.append(("safety set", Cell(way_back)))
    text = f"restored {outcome.source} in {words.duration(outcome.seconds)}"
    blocks: list[Block] = [Headline(text, "good", event=True), Facts(tuple(rows))]
    blocks += [Remark("warning", "restored differently", line) for line in outcome.deviations]
    blocks += [Remark("warning", "not brought back", line) for line in outcome.left_behind]
    return blocks


def _compared(database: RestoredDatabase) -> str:
    if not database.compared:
        return ", nothing to compare with"
    counted = ", ".join(database.uncompared)
    return ", compared and identical" + (
        f" except {counted}, of which only rows were counted" if counted else ""
    )


def _tables(tables: int, rows: int) -> str:
    return f"{words.counted(tables, 'table')}, {words.counted(rows, 'row')}"


def _files(files: int, size: int) -> str:
    return f"{words.counted(files, 'file')}, {words.size(size)}"


def _downtime(downtime: Downtime) -> list[tuple[str, Cell]]:
    if not downtime.services:
        return [("downtime", Cell("none"))]
    each = ", ".join(f"{name} {words.duration(s)}" for name, s in downtime.services.items())
    return [("downtime", Cell(f"{words.duration(downtime.overall)} ({each})"))]


def migrations(rows: Sequence[MigrationRow]) -> list[Block]:
    """Return the revisions of each database."""
    columns = (
        Column("database"),
        Column("current", wraps=10),
        Column("heads", wraps=10),
        Column("pending", wraps=10),
        Column("state", wraps=10),
    )
    table = Table("", columns, tuple(_migration(row) for row in rows), "no databases")
    return [table]


def _migration(row: MigrationRow) -> tuple[Cell, ...]:
    state = Cell("up to date", "good")
    if row.problem:
        state = Cell(row.problem, "bad")
    elif row.unknown:
        state = Cell(f"unknown to the migration scripts: {', '.join(row.unknown)}", "bad")
    elif row.pending:
        state = Cell(words.counted(len(row.pending), "pending", "pending"), "warning")
    elif not row.heads:
        state = Cell("no migrations", "faint")
    return (
        Cell(row.database),
        Cell(", ".join(row.current)),
        Cell(", ".join(row.heads)),
        Cell(", ".join(row.pending)),
        state,
    )


_FINDING_MARKS: dict[str, Mark] = {"ok": "good", "warning": "warning", "error": "bad"}


def findings(found: Sequence[Finding]) -> list[Block]:
    """Return every finding, then how many of each level there are."""
    blocks: list[Block] = [
        Remark(_FINDING_MARKS[f.level], f.subject, f.fact, f.hint) for f in found
    ]
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    counts = f"{words.counted(errors, 'error')}, {words.counted(warnings, 'warning')}"
    mark: Mark = "bad" if errors else "warning" if warnings else "good"
    return [*blocks, Headline(counts if errors or warnings else "no problems found", mark)]


def done(text: str, facts: Mapping[str, Any]) -> list[Block]:
    """Return a general result. Names that end in `seconds` or `bytes` are shown in such units."""
    rows = tuple((_label(name), _value(name, value)) for name, value in facts.items())
    return [Headline(text, "good", event=True), *([Facts(rows)] if rows else [])]


def _label(name: str) -> str:
    for unit in ("_seconds", "_bytes"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def _value(name: str, value: Any) -> Cell:
    tone: Tone = "plain"
    if isinstance(value, bool):
        return Cell("yes", "good") if value else Cell("no", "bad")
    if value is None:
        return _FAINT_NONE
    if isinstance(value, int | float):
        if name == "seconds" or name.endswith("_seconds"):
            return Cell(words.duration(value))
        if name == "bytes" or name.endswith("_bytes"):
            return Cell(words.size(int(value)))
        return Cell(f"{value:,}")
    if isinstance(value, Mapping):
        inner = (f"{key} {_value(name, item).text}" for key, item in value.items())
        return Cell(", ".join(inner), tone)
    if isinstance(value, list | tuple):
        return Cell(", ".join(_value(name, item).text for item in value))
    return Cell(str(value))
