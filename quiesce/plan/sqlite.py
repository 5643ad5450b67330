"""The steps of a backup that check the SQLite databases among archived files. Pure.

They need no stopped service: copies from the archives are checked once services run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from quiesce.exclusion import Exclusion
from quiesce.model import SqliteRecord, Volume, VolumeRecord
from quiesce.plan.steps import CheckSqlite, CopySqlite, Node, RequireSqlite


def copy_step(set_name: str, volumes: Sequence[Volume]) -> tuple[Node, ...]:
    """Return the step of a live backup that copies the databases which were archived while services
    wrote."""
    if not volumes:
        return ()
    why = "services write to them, so the archived files may be inconsistent"
    return (CopySqlite(set_name, tuple(volume.key for volume in volumes), why),)


def check_step(set_name: str, volumes: Sequence[Volume]) -> tuple[Node, ...]:
    """Return the step that checks the SQLite databases in the archives of these volumes."""
    if not volumes:
        return ()
    why = "a damaged database is found now, not after a restore"
    return (CheckSqlite(set_name, tuple(volume.key for volume in volumes), why),)


def require_step(set_name: str, volumes: Sequence[Volume]) -> tuple[Node, ...]:
    """Return the step that fails if a database is damaged; the set stays published."""
    if not volumes:
        return ()
    return (RequireSqlite(set_name, "a copy of a damaged database is damaged, too"),)


def damaged(volumes: Iterable[VolumeRecord]) -> tuple[tuple[VolumeRecord, SqliteRecord], ...]:
    """Return each damaged database in these volumes and paths of a set, and where it is."""
    return tuple((record, one) for record in volumes for one in record.sqlite or () if one.problems)


def new_problems(
    recorded: Iterable[SqliteRecord], found: Iterable[SqliteRecord]
) -> tuple[str, ...]:
    """Return the problems of databases that were good when they were recorded."""
    now = {one.file: one for one in found}
    wrong = []
    for one in recorded:
        if not one.is_good:
            continue
        if one.file not in now:
            wrong.append(f"{one.file} is not an SQLite database")
        elif now[one.file].problems:
            wrong.append(f"{one.file}: {now[one.file].problems[0]}")
        elif now[one.file].is_good and now[one.file].tables != one.tables:
            wrong.append(f"{one.file} has other rows than recorded")
    return tuple(wrong)


def without_excluded_parts(
    found: Iterable[SqliteRecord], exclude: Sequence[str]
) -> tuple[SqliteRecord, ...]:
    """Return the records. A database whose log or journal is excluded counts as not checked."""
    exclusion = Exclusion(exclude)

    def judged(one: SqliteRecord) -> SqliteRecord:
        for part in ("-wal", "-journal"):
            if exclusion.which(f"./{one.file}{part}".encode()) is not None:
                fact = f"exclude leaves out {one.file}{part}, which may hold its last transactions"
                return replace(one, problems=(), unchecked=fact)
        return one

    return tuple(map(judged, found))


def summary(records: Iterable[SqliteRecord]) -> str:
    """Return how many databases were found, and how many of them are good."""
    found = list(records)
    if not found:
        return ""
    good = sum(one.is_good for one in found)
    noun = "database" if len(found) == 1 else "databases"
    return f"{len(found)} {noun}, {good} good"
