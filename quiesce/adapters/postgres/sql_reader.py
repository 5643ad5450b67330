"""Reads plain SQL files as bytes, and refuses statements that must not be run.

A file is read once to its end before anything of it is used. `psql` would load a file that was cut
off in the middle of a row, run the rest of a table as SQL if its COPY fails, and execute lines that
start programs; so it is never used. The file is split like PostgreSQL's own scanner does (quotes,
E'', dollar quotes, nested comments, COPY blocks), and only the kinds of statements that pg_dump
writes are accepted.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from quiesce.adapters.postgres.copy_stream import Rows, columns_of
from quiesce.adapters.postgres.dump_toc import SETVAL, sequence_of
from quiesce.adapters.postgres.sql_allowlist import Refused, judge
from quiesce.errors import RequestError
from quiesce.model import SequenceRecord

_SPECIAL = re.compile(rb"""['"$;\\\0]|--|/\*""")
_BLANK = re.compile(rb"(?:[ \t\r\n\f\v]+|--[^\n]*(?:\n|\Z))+")
_PLAIN = re.compile(rb"'[^']*(?:''[^']*)*'")
_ESCAPED = re.compile(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_NAME = re.compile(rb'"[^"]*(?:""[^"]*)*"')
_TAG = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$")
_COMMENT = re.compile(rb"/\*|\*/")
_RESTRICT = re.compile(rb"\\(?:un)?restrict [A-Za-z0-9]+[ \t]*(?:\n|\Z)")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$")
_VERSION_ROW = re.compile(
    rb"INSERT INTO (?:\S+\.)?alembic_version(?: \(version_num\))? VALUES \('([^']+)'\)"
)
_TRAILER = b"-- PostgreSQL database dump complete"
_CLUSTER = b"-- PostgreSQL database cluster dump complete"
_SAYS = re.compile(rb"^(?:pg_dump|pg_dumpall|pg_restore|psql|docker|Error)[:\[]", re.MULTILINE)
#: Only the beginning of a statement is examined.
_LOOKED_AT = 65_536


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the file: where it begins (after blanks and comments) and ends, in bytes.

    `data` is where the rows of a COPY begin and end, None for other statements.
    """

    start: int
    end: int
    data: tuple[int, int] | None = None


@dataclass(slots=True)
class ScriptFacts:
    """The facts about a whole file.

    `revision` are the rows of its `alembic_version`. `roles` are named in grants, `extensions` are
    needed. `rows` are its COPY blocks in order; `inserts` says that there are INSERTs. `owners` are
    the roles that owned its objects.
    """

    revision: tuple[str, ...] = ()
    has_schema: bool = False
    inserts: bool = False
    encoding: str = "UTF8"
    rows: list[Rows] = field(default_factory=list)
    sequences: list[SequenceRecord] = field(default_factory=list)
    roles: dict[str, int] = field(default_factory=dict)
    extensions: dict[str, tuple[int, str]] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)


@contextmanager
def opened(path: Path) -> Iterator[mmap.mmap]:
    """Yield the bytes of a file without loading it into memory."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        yield view


def read_script(path: Path, name: str) -> ScriptFacts:
    """Read a file to its end. Raise RequestError, with the line, at the first thing that is damaged
    or must not be run. `name` is the file's name as the user gave it."""
    if path.stat().st_size == 0:
        raise RequestError(f"{name} is empty", "use another backup: this one contains nothing")
    with opened(path) as view:
        _look_for_damage(view, name)
        facts = ScriptFacts()
        try:
            for statement in statements(view):
                _note(view, statement, facts)
        except Refused as reason:
            line = line_at(view, reason.at)
            raise RequestError(f"{name}, line {line}: {reason}", reason.hint) from None
    return facts


def statements(view: mmap.mmap) -> Iterator[Statement]:
    """Yield every statement. Raise Refused for anything else, or for a statement without an end."""
    at = 3 if view[:3] == b"\xef\xbb\xbf" else 0
    begun: int | None = None
    while True:
        if begun is None:
            at = _after_blanks(view, at)
            if at >= len(view):
                return
            if match := _RESTRICT.match(view, at):
                at = match.end()
                continue
            begun = at
        match = _SPECIAL.search(view, at)
        if match is None:
            raise Refused(begun, "it ends in the middle of a statement", _CUT)
        sign, at = match[0], match.start()
        if sign != b";":
            at = _over(view, sign, at)
            continue
        statement = _statement(view, begun, at)
        yield statement
        at = statement.data[1] + len(b"\\.\n") if statement.data else at + 1
        begun = None


def line_at(view: mmap.mmap, position: int) -> int:
    """Return the line number of this position, from 1."""
    count, at = 1, 0
    while at < position:
        chunk = view[at : min(at + 1024 * 1024, position)]
        count += chunk.count(b"\n")
        at += len(chunk)
    return count


_CUT = "the file is cut off or damaged; use another file"


def _after_blanks(view: mmap.mmap, at: int) -> int:
    while True:
        if match := _BLANK.match(view, at):
            at = match.end()
        elif view[at : at + 2] == b"/*":
            at = _over(view, b"/*", at)
        else:
            return at


def _over(view: mmap.mmap, sign: bytes, at: int) -> int:
    """Return the end of the token at `at`."""
    if sign == b"--":
        end = view.find(b"\n", at)
        return len(view) if end < 0 else end
    if sign == b"/*":
        return _over_comment(view, at)
    if sign == b"$":
        tag = _TAG.match(view, at) if at == 0 or view[at - 1] not in _WORD else None
        if tag is None:
            return at + 1
        end = view.find(tag[0], tag.end())
        if end < 0:
            raise Refused(at, "a quoted string is not terminated", _CUT)
        return end + len(tag[0])
    if sign == b"\\":
        raise Refused(at, "it contains a psql command", "only files written by pg_dump are loaded")
    if sign == b"\0":
        raise Refused(at, "it contains a zero byte", _CUT)
    quoted = _NAME if sign == b'"' else _ESCAPED if _is_escaped(view, at) else _PLAIN
    match = quoted.match(view, at)
    if match is None:
        raise Refused(at, "a quoted string is not terminated", _CUT)
    return match.end()


def _over_comment(view: mmap.mmap, at: int) -> int:
    begun, depth = at, 0
    while match := _COMMENT.search(view, at):
        at, depth = match.end(), depth + (1 if match[0] == b"/*" else -1)
        if depth == 0:
            return at
    raise Refused(begun, "a comment is not terminated", _CUT)


def _is_escaped(view: mmap.mmap, at: int) -> bool:
    before = view[max(0, at - 2) : at]
    return before[-1:] in (b"e", b"E") and (len(before) < 2 or before[0] not in _WORD)


def _statement(view: mmap.mmap, start: int, end: int) -> Statement:
    if view[start : start + 5].upper() != b"COPY " or b"FROM stdin" not in view[start:end]:
        return Statement(start, end)
    data = view.find(b"\n", end) + 1
    if data == 0:
        raise Refused(start, "the rows of a table are missing", _CUT)
    if view[data : data + 3] == b"\\.\n":
        return Statement(start, end, (data, data))
    stop = view.find(b"\n\\.\n", data) + 1
    if stop == 0:
        raise Refused(start, "the rows of a table are cut off", _CUT)
    return Statement(start, end, (data, stop))


def _look_for_damage(view: mmap.mmap, name: str) -> None:
    start = view[:4096]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or start[1:8:2] == b"\0\0\0\0":
        raise RequestError(
            f"{name} is in UTF-16",
            "PowerShell's > writes UTF-16; create it again with pg_dump --file, or convert it to "
            "UTF-8",
        )
    if (zero := view.find(b"\0")) >= 0:
        raise RequestError(f"{name}, line {line_at(view, zero)}: it contains a zero byte", _CUT)
    if b"\r\n" in start:
        raise RequestError(
            f"{name} has lines that end in CR LF",
            "a terminal or an editor changed it, including the data; create it again without a TTY",
        )
    end = view[max(0, len(view) - 4096) :]
    if _CLUSTER in end or view.find(b"\n\\connect ") >= 0:
        raise RequestError(
            f"{name} is the dump of a whole server, not of one database",
            "dump each database into its own file",
        )
    if _TRAILER not in end:
        raise RequestError(
            f"{name} does not end like a file of pg_dump",
            "it is cut off, or another program wrote it",
        )


def _note(view: mmap.mmap, statement: Statement, facts: ScriptFacts) -> None:
    text = view[statement.start : min(statement.end, statement.start + _LOOKED_AT)]
    if (said := _SAYS.search(text)) is not None and said.start() == 0:
        fact = "it contains a message of a program"
        raise Refused(statement.start, fact, "create it again without mixing output and errors")
    verdict = judge(text, statement.start)
    if verdict.kind == "copy" and statement.data is not None:
        _note_rows(view, statement, facts)
    elif verdict.kind == "insert":
        facts.inserts = True
        if row := _VERSION_ROW.match(text):
            facts.revision += (row[1].decode("ascii", "replace"),)
    elif verdict.kind == "schema":
        facts.has_schema = True
    elif verdict.kind == "extension":
        facts.extensions.setdefault(verdict.name, (statement.start, verdict.schema))
    elif verdict.kind == "encoding":
        facts.encoding = verdict.name
    elif verdict.kind == "sequence":
        _note_sequence(text, statement, facts)
    for role in verdict.roles:
        facts.roles.setdefault(role, statement.start)
    if verdict.owner:
        facts.owners.add(verdict.owner)


def _note_rows(view: mmap.mmap, statement: Statement, facts: ScriptFacts) -> None:
    text = view[statement.start : statement.end + 1].decode("utf-8", "surrogateescape")
    names, columns = columns_of(text)
    if len(names) != 2:
        raise Refused(statement.start, "a table is named without its schema", _CUT)
    data = statement.data or (0, 0)
    header = view[statement.start : data[0]]
    facts.rows.append(Rows(names[0], names[1], columns, header))
    if names[1] == "alembic_version":
        rows = view[data[0] : data[1]].decode("ascii", "replace").split("\n")
        facts.revision += tuple(row for row in rows if row)


def _note_sequence(text: bytes, statement: Statement, facts: ScriptFacts) -> None:
    match = SETVAL.fullmatch(text.decode("utf-8", "surrogateescape") + ";")
    if match is None:
        raise Refused(statement.start, "unknown form of setval", _CUT)
    facts.sequences.append(sequence_of(match))
