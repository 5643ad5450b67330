"""Decides by its first words whether a statement of an SQL file is run, skipped or refused. Pure.

Allowed is what pg_dump writes and a role without rights can do. Files are loaded by such a role;
this list is a second safeguard, and names the line before anything is done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "run", "skip", "schema", "copy", "insert", "sequence", "extension", "encoding", "refresh"
]

#: Extensions that a file may create: none of them reads files or runs programs.
HARMLESS = frozenset(
    "btree_gin btree_gist citext cube earthdistance fuzzystrmatch hstore intarray isn ltree "
    "pg_trgm pgcrypto plpgsql seg tablefunc tsm_system_rows tsm_system_time unaccent uuid-ossp "
    "vector".split()
)
_SETTINGS = frozenset(
    "standard_conforming_strings check_function_bodies xmloption client_min_messages "
    "row_security default_tablespace default_table_access_method search_path".split()
)
#: Skipped: Quiesce's session sets these itself, or the server does not know them.
_OURS = frozenset(
    "statement_timeout lock_timeout idle_in_transaction_session_timeout transaction_timeout "
    "default_with_oids idle_session_timeout".split()
)
_MADE = frozenset(
    "TABLE UNLOGGED SEQUENCE INDEX UNIQUE VIEW RECURSIVE MATERIALIZED FUNCTION PROCEDURE OR TYPE "
    "DOMAIN TRIGGER CONSTRAINT SCHEMA RULE POLICY AGGREGATE OPERATOR CAST COLLATION STATISTICS "
    "TEXT CONVERSION".split()
)
_ALTERED = _MADE | {"ONLY"}
_WORDS = re.compile(r"\s*([A-Za-z]+)(?:\s+([A-Za-z_]+))?(?:\s+([A-Za-z_]+))?")
_SET = re.compile(r"SET\s+([a-z_]+)\s*(?:=|TO)\s*'?([^';]*)'?\s*$", re.IGNORECASE)
_CALL = re.compile(r"SELECT\s+pg_catalog\.([a-z_]+)\s*\(", re.IGNORECASE)
_EXTENSION = re.compile(
    r'CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?("(?:[^"]|"")+"|[\w-]+)'
    r'(?:\s+WITH\s+SCHEMA\s+("(?:[^"]|"")+"|\w+))?',
    re.IGNORECASE,
)
_COPY = re.compile(r"COPY\s+.*\sFROM\s+stdin\s*$", re.IGNORECASE | re.DOTALL)
_PUBLIC = re.compile(r"(?:CREATE|COMMENT ON|ALTER)\s+SCHEMA\s+(?:IF NOT EXISTS\s+)?public\b")
_OWNER = re.compile(r"\sOWNER\s+TO\s+(?:\"((?:[^\"]|\"\")+)\"|(\w+))\s*$", re.IGNORECASE)
_GRANTEE = re.compile(
    r"\s(?:TO|FROM)\s+((?:\"(?:[^\"]|\"\")+\"|\w+)(?:\s*,\s*(?:\"(?:[^\"]|\"\")+\"|\w+))*)"
    r"(?:\s+WITH\s+GRANT\s+OPTION)?\s*$",
    re.IGNORECASE,
)
_ROLE = re.compile(r'"((?:[^"]|"")+)"|(\w+)')

_ONLY = "only what pg_dump writes for one database is loaded; load anything else by hand"


class Refused(Exception):
    """Something in the file that is refused. `at` is its position in bytes."""

    def __init__(self, at: int, fact: str, hint: str = _ONLY) -> None:
        super().__init__(fact)
        self.at = at
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Verdict:
    """How to handle a statement. `name` is the extension or the encoding; `roles` are those that a
    grant names, `schema` is the schema of an extension, `owner` the new owner of an object."""

    kind: Kind
    name: str = ""
    roles: tuple[str, ...] = field(default=())
    schema: str = ""
    owner: str = ""


def judge(statement: bytes, at: int) -> Verdict:
    """Return how to handle a statement, by its first 2,000 bytes. Raise Refused."""
    text = statement.decode("utf-8", "surrogateescape")
    match = _WORDS.match(text)
    if match is None:
        raise Refused(at, "it contains something that is not a statement")
    first, second, third = (word.upper() if word else "" for word in match.groups())
    if first in ("BEGIN", "COMMIT", "START", "DROP", "ANALYZE", "VACUUM"):
        # The whole file is loaded in one transaction, into an empty database.
        return Verdict("skip")
    if first in _BY_WORD:
        return _BY_WORD[first](text, at, second, third)
    raise Refused(
        at, f"it contains a statement of a kind that is not loaded: {first} {second}".rstrip()
    )


def _set(text: str, at: int, second: str, third: str) -> Verdict:
    del second, third
    match = _SET.match(text)
    name = match[1].lower() if match else ""
    if name in _OURS:
        return Verdict("skip")
    if match and name == "client_encoding":
        return Verdict("encoding", match[2].strip())
    if match and name == "standard_conforming_strings" and match[2].strip().lower() != "on":
        raise Refused(
            at,
            "it turns standard_conforming_strings off, so strings may contain backslash escapes",
            "create it again with pg_dump",
        )
    if name not in _SETTINGS:
        raise Refused(
            at, f"it contains a setting that is not loaded: {' '.join(text.split())[:60]}"
        )
    return Verdict("run")


def _select(text: str, at: int, second: str, third: str) -> Verdict:
    del second, third
    match = _CALL.match(text)
    name = match[1] if match else ""
    if name == "setval":
        return Verdict("sequence")
    if name == "set_config" and "'search_path'" in text[:80]:
        return Verdict("run")
    if name in ("lo_create", "lo_open", "lowrite", "lo_close"):
        return Verdict("run")
    raise Refused(at, "it calls something that pg_dump does not call")


def _copy(text: str, at: int, second: str, third: str) -> Verdict:
    del second, third
    if not _COPY.match(text):
        raise Refused(at, "it contains a COPY from or to a file or program of the server")
    return Verdict("copy")


def _create(text: str, at: int, second: str, third: str) -> Verdict:
    if second == "EXTENSION":
        match = _EXTENSION.match(text)
        name = match[1].strip('"') if match else ""
        if name not in HARMLESS:
            allowed = ", ".join(sorted(HARMLESS))
            hint = f"load the file by hand into a separate database; allowed: {allowed}"
            raise Refused(
                at,
                f"it creates the extension {name or 'with an unreadable name'}, which is not "
                "allowed",
                hint,
            )
        schema = match[2] if match and match[2] else "public"
        return Verdict("extension", name, schema=schema.strip('"').replace('""', '"'))
    if second not in _MADE or (second == "TEXT" and third != "SEARCH"):
        raise Refused(at, f"it creates something outside of a single database: CREATE {second}")
    return Verdict("skip" if _PUBLIC.match(text) else "schema")


def _alter(text: str, at: int, second: str, third: str) -> Verdict:
    del third
    if match := _OWNER.search(text):
        # All objects get one owner at the end, which has no rights.
        return Verdict("skip", owner=match[1].replace('""', '"') if match[1] else match[2])
    if second in ("DEFAULT", "LARGE") or _PUBLIC.match(text):
        return Verdict("skip")
    if second not in _ALTERED:
        raise Refused(at, f"it changes something outside of a single database: ALTER {second}")
    return Verdict("schema")


def _comment(text: str, at: int, second: str, third: str) -> Verdict:
    del at, second
    outside = third in ("EXTENSION", "DATABASE", "LANGUAGE") or bool(_PUBLIC.match(text))
    return Verdict("skip" if outside else "run")


def _grant(text: str, at: int, second: str, third: str) -> Verdict:
    del second, third
    match = _GRANTEE.search(text)
    if " ON " not in text.upper() or match is None:
        raise Refused(at, "it grants one role to another")
    found = (m[1].replace('""', '"') if m[1] else m[2] for m in _ROLE.finditer(match[1]))
    return Verdict("run", roles=tuple(role for role in found if role.upper() != "PUBLIC"))


def _insert(text: str, at: int, second: str, third: str) -> Verdict:
    del text, third
    if second != "INTO":
        raise Refused(at, "it contains something that is not a statement")
    return Verdict("insert")


def _refresh(text: str, at: int, second: str, third: str) -> Verdict:
    del text, at, second, third
    return Verdict("refresh")


_BY_WORD = {
    "SET": _set,
    "SELECT": _select,
    "COPY": _copy,
    "CREATE": _create,
    "ALTER": _alter,
    "COMMENT": _comment,
    "GRANT": _grant,
    "REVOKE": _grant,
    "INSERT": _insert,
    "REFRESH": _refresh,
}
