"""Names of runs, sets and staging databases. Pure: time is an argument."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from quiesce.errors import RequestError

#: PostgreSQL silently truncates names to 63 *bytes*.
DATABASE_NAME_BYTES = 63

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
#: The mark in the name of a safety set; see `set_name`.
SAFETY = "safety"
_SAFETY_NAME = re.compile(rf"-\d{{8}}-\d{{6}}-{SAFETY}(-\d+)?")
SET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*-\d{8}-\d{6}(-[a-z]+)?(-\d+)?")


def run_id(now: datetime, randomness: str) -> str:
    """Return the run's id: sorts by time, unique by `randomness` (at least 4 hex digits)."""
    return f"{now:%Y%m%d%H%M%S}-{randomness}"


def suffix_of(run: str) -> str:
    """Return the few characters that mark names of this run; safe in database names."""
    return run.rpartition("-")[2]


def set_name(instance: str, now: datetime, taken: Collection[str], mark: str = "") -> str:
    """Return `<instance>-<YYYYMMDD-HHMMSS>`, with `-2`, `-3` … where that is taken.

    `now` is already in the stack's time zone. `mark` (such as `SAFETY`) goes before the number.
    """
    base = f"{instance}-{now:%Y%m%d-%H%M%S}" + (f"-{mark}" if mark else "")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def has_safety_name(name: str, instance: str) -> bool:
    """Whether `set_name` made this name for a set of `instance`, with the mark `SAFETY`.

    Used only for sets of versions that did not record whether a set is a safety set.
    """
    beginning, rest = name[: len(instance)], name[len(instance) :]
    return beginning == instance and _SAFETY_NAME.fullmatch(rest) is not None


def staging_database(live: str, run: str, role: str, taken: Collection[str]) -> str:
    """Return a name for a database beside `live`: `<live>__<role>_<run's suffix>`.

    At most 63 bytes, cut between characters, and not in `taken`: a number is added if necessary.
    Raise RequestError if there is no such name, which only happens to names that already look like
    those of Quiesce.
    """
    ending = f"__{role}_{suffix_of(run)}"
    for number in range(1, 100):
        counted = ending if number == 1 else f"__{number}{ending}"
        room = DATABASE_NAME_BYTES - len(counted.encode())
        whole = live.encode()
        name = whole[:room].decode("utf-8", errors="ignore") + counted
        if name not in taken and name != live:
            return name
        if len(whole) <= room:
            break
    raise RequestError(f"database {name} exists already", "run 'inv recover', then try again")


def connection_name(name: str) -> str:
    """Return the argument after `-d` that a PostgreSQL client takes for database `name`. Names with
    special characters would be read as a connection string or an option."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"
