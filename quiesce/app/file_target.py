"""Determines which database a single file is for: its name and the options must agree. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from quiesce.errors import RequestError
from quiesce.model import Database, Stack
from quiesce.suggest import suggest

#: The names of the older script's database dumps.
LEGACY_DUMP = re.compile(r"db_backup_[\w.-]+\.sql(?:\.gz)?(?:\.age|\.gpg)?")

_ENDING = re.compile(
    r"(?:\.(?:age|gpg|gz|zst|sql|dump|pgdump|custom|backup|plain))*$", re.IGNORECASE
)
#: After a name and a sign other than `-`, a date or a number must follow; otherwise the name is
#: longer.
_DATED = re.compile(r"[_.](?:(?:data|schema|full)[-_.])?\d.*", re.DOTALL)


def database_of_file(
    stack: Stack,
    name: str,
    asked: str | None,
    *,
    legacy: bool = False,
    member_of: str = "",
    header: str = "",
) -> Database:
    """Return the database that a file with this name is for.

    The name decides: `KEY-….sql`, `KEY.sql`, and for an instance that is not the default one
    `INSTANCE-KEY-….sql`; a database's own name counts like its key, and the longest match wins.
    These precede the name: `member_of`, the database of a set's member, and for a file of the older
    script (`legacy`) the key `legacy` in `stack.yaml`. `asked` is `--database`; `header` is the
    database named in the file itself.

    Raise RequestError if these contradict each other, or if nothing determines the database.
    """
    known = {database.key: database for database in stack.databases}
    if asked is not None and asked not in known:
        raise RequestError(f"there is no database {asked}", suggest(asked, known))
    if member_of:
        said: str | None = member_of
        where = "its set"
    elif legacy:
        said, where = stack.legacy.get("db"), "legacy in stack.yaml"
    else:
        said, where = key_in_name(stack, name), "its name"
    if asked is not None and said is not None and asked != said:
        raise RequestError(
            f"{name} is for database {said} according to {where}, but --database says {asked}",
            "omit --database; it is for files whose names do not say which database they are for",
        )
    key = said or asked
    if key is None and len(known) == 1:
        (key,) = known
    if key is None:
        raise RequestError(
            f"{name} has a name that does not say which database it is for",
            f"give the database with --database: {', '.join(known)}",
        )
    if key not in known:
        raise RequestError(f"there is no database {key}", suggest(key, known))
    _check_header(known, name, key, header)
    return known[key]


def key_in_name(stack: Stack, name: str) -> str | None:
    """Return the key of the database that a file's name begins with, None for none."""
    stem = _ENDING.sub("", name)
    labels = _labels(stack)
    for given, wanted in (
        (stem, labels),
        # Ignore case only if no name matches as written.
        (stem.casefold(), _folded(labels)),
    ):
        fitting = [label for label in wanted if _fits(given, label)]
        if fitting:
            return wanted[max(fitting, key=len)]
    return None


def _check_header(known: Mapping[str, Database], name: str, key: str, header: str) -> None:
    others = [d.key for d in known.values() if d.name == header and d.key != key]
    if others and header != known[key].name:
        raise RequestError(
            f"{name} is for database {key}, but its header names database {header}",
            f"to restore it into {others[0]}, give it a name that begins with {others[0]}-",
        )


def _labels(stack: Stack) -> dict[str, str]:
    labels = {database.name: database.key for database in stack.databases}
    labels |= {database.key: database.key for database in stack.databases}
    if not stack.is_default:
        labels |= {f"{stack.instance.name}-{label}": key for label, key in labels.items()}
    return labels


def _folded(labels: Mapping[str, str]) -> dict[str, str]:
    folded: dict[str, set[str]] = {}
    for label, key in labels.items():
        folded.setdefault(label.casefold(), set()).add(key)
    return {label: min(keys) for label, keys in folded.items() if len(keys) == 1}


def _fits(stem: str, label: str) -> bool:
    if not stem.startswith(label):
        return False
    rest = stem[len(label) :]
    return not rest or rest.startswith("-") or _DATED.fullmatch(rest) is not None
