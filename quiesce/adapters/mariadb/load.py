"""Loads the script of a dump into an empty database, through a session and not through a client.

Events are kept aside until the exchange: one that is enabled would run beside the live one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from quiesce.adapters import zstd
from quiesce.adapters.mariadb.allowlist import judge
from quiesce.adapters.mariadb.code import EVENTS, Code, keep_code
from quiesce.adapters.mariadb.errors import SessionError
from quiesce.adapters.mariadb.script import Readable, Statement, statements
from quiesce.adapters.mariadb.session import Session, decoded, identifier
from quiesce.errors import NotRestorable, RequestError, translate_errors
from quiesce.model import DatabaseRecord
from quiesce.ports import DumpReading

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CONTENTS = """
SELECT (SELECT count(*) FROM information_schema.tables WHERE table_schema = %s),
       (SELECT count(*) FROM information_schema.routines WHERE routine_schema = %s),
       (SELECT count(*) FROM information_schema.events WHERE event_schema = %s)
"""
_EVENT_NAME = re.compile(
    r"\bEVENT\s+(?:`(?P<name>(?:[^`]|``)+)`|\"(?P<ansi>(?:[^\"]|\"\")+)\")", re.IGNORECASE
)


def check_script(path: Path) -> int:
    """Read a script to its end, and return how many statements it has.

    Raise RequestError, with the line, if it is damaged, cut off, or does anything that a dump of
    one database does not do.
    """
    number = 0
    with opened(path) as stream:
        for number, statement in enumerate(statements(stream), 1):  # noqa: B007 - the last one
            judge(statement)
    if not number:
        raise RequestError(f"{path.name} contains no statement", "use another set or file")
    return number


def load_script(session: Session, name: str, path: Path, record: DatabaseRecord | None) -> None:
    """Load a script into the empty database `name`. Raise NotRestorable with the server's message
    and the line if a statement fails."""
    session.use(name)
    session.run("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0")
    events: list[Code] = []
    try:
        with opened(path) as stream:
            for statement in statements(stream):
                kind = judge(statement)
                if kind == "event":
                    events.append(_event(session, statement))
                elif kind == "run":
                    _run(session, statement)
    finally:
        session.reset()
    for sequence in record.sequences if record else ():
        # The dump has a later value if others went on: a sequence is in no snapshot.
        session.run(
            f"ALTER SEQUENCE {identifier(name)}.{identifier(sequence.name)}"
            f" RESTART {int(sequence.last_value)}"
        )
    if events:
        keep_code(session, name, EVENTS, events)


def read_dump(path: Path) -> DumpReading:
    """Read a dump to its end; see `ports.DatabaseDriver`. No server is needed."""
    try:
        check_script(path)
    except RequestError as error:
        return DumpReading(wrong=str(error))
    return DumpReading()


def refuse_contents(session: Session, name: str) -> None:
    """Raise RequestError unless database `name` is empty."""
    found = session.row(_CONTENTS, [name, name, name])
    if any(found):
        raise RequestError(f"database {name} is not empty", "load into a new one")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Readable]:
    """Open a script that may be compressed. Raise RequestError if it is damaged."""
    module = zstd.module()

    def translation(error: Exception) -> RequestError | None:
        if isinstance(error, module.ZstdError | EOFError):
            return RequestError(f"{path.name} is damaged: {error}", "run 'inv verify' on the set")
        return None

    with translate_errors(translation), path.open("rb") as raw:
        packed = raw.read(len(ZSTD_MAGIC)) == ZSTD_MAGIC
        raw.seek(0)
        if packed:
            with module.open(raw, "rb") as stream:
                yield stream
        else:
            yield raw


def _run(session: Session, statement: Statement) -> None:
    try:
        session.run_bytes(statement.text)
    except SessionError as problem:
        raise NotRestorable(
            f"line {statement.line} of the dump cannot be restored: {problem.fact}",
            "the dump is complete; correct what prevents its restore, then try again",
        ) from problem


def _event(session: Session, statement: Statement) -> Code:
    """Return an event as its statement, with the settings that the script has made for it."""
    mode, charset, collation, zone = session.row(
        "SELECT @@sql_mode, @@character_set_client, @@collation_connection, @@time_zone"
    )
    text = decoded(statement.text, str(charset))
    named = _EVENT_NAME.search(text)
    if named is None:
        raise RequestError(
            f"line {statement.line} of the dump has an event without a name", "use another set"
        )
    name = (named["name"] or "").replace("``", "`") or (named["ansi"] or "").replace('""', '"')
    return Code("EVENT", name, text, str(mode), str(charset), str(collation), str(zone))
