"""Exchanges databases by renaming them in one transaction, so all or nothing happens.

`ALTER DATABASE … RENAME` is transactional: all renames of a server commit together. A database with
sessions cannot be renamed, so connections are blocked first. The block is committed separately and
persists when a run dies; `swap` and `put_back` both open what is live afterwards.

Everything here checks which names exist and does what remains to be done, so it can be repeated
from any state. A database that a run creates carries a mark (the first line of its comment), which
it keeps when it is renamed: without a previous copy, only the mark tells a database of the run from
an original one. The exchange removes the mark if there is a previous copy; otherwise `remove_mark`
does at the end of the run.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence

from quiesce.adapters.postgres.session import Session, SessionError, identifier, literal
from quiesce.adapters.postgres.settings import MARK_LINE, OLD_MARK
from quiesce.errors import QuiesceError
from quiesce.model import DatabaseSwap

BLOCK_SECONDS = 30.0
RENAME_LOCK_SECONDS = 10

#: Rows without a user name are the server's own workers.
_BUSY = """
SELECT pid, coalesce(nullif(application_name, ''), backend_type, 'a client'), coalesce(usename, '')
  FROM pg_stat_activity WHERE datname = ANY (%s::text[]) AND pid <> pg_backend_pid()
"""
_DENIED = "42501"


def existing(session: Session, names: Iterable[str]) -> frozenset[str]:
    """Return those of `names` that exist on this server."""
    rows = session.rows(
        "SELECT datname FROM pg_database WHERE datname = ANY (%s::text[])", [list(names)]
    )
    return frozenset(name for (name,) in rows)


def mark_of(session: Session, name: str) -> str:
    """Return the run that created database `name`, or ""."""
    if match := MARK_LINE.match(_comment_of(session, name)):
        return match[1]
    return _old_mark_of(session, name)


def set_mark(session: Session, name: str, run: str) -> None:
    """Mark database `name` as created by `run`; its own comment is kept after the mark."""
    comment = MARK_LINE.sub("", _comment_of(session, name))
    session.run(_comment(name, f"quiesce run {run}" + (f"\n{comment}" if comment else "")))


def remove_mark(session: Session, name: str) -> None:
    """Remove the mark from database `name`, if it exists."""
    for statement in _unmark(session, name, name):
        session.run(statement)


def block_connections(session: Session, names: Collection[str]) -> None:
    """Block connections to these databases (those that exist) and terminate every session in them.

    Raise QuiesceError naming the session if one is still connected after 30 seconds, if a session
    may not be terminated, or if a prepared transaction is in one of the databases.
    """
    there = sorted(existing(session, names))
    for name in there:
        session.run(_close(name))
    _require_no_prepared(session, there)
    deadline = time.monotonic() + BLOCK_SECONDS
    pause = 0.01
    while busy := session.rows(_BUSY, [there]):
        ours = [found for found in busy if _ask_to_end(session, *found)]
        if not ours:
            return  # RENAME and DROP end the server's own workers
        if time.monotonic() > deadline:
            pid, application, _ = ours[0]
            raise QuiesceError(
                f"pid {pid} ({application}) does not disconnect from {', '.join(there)}",
                f"terminate it with SELECT pg_terminate_backend({pid}), then try again",
            )
        time.sleep(pause)
        pause = min(pause * 2, 0.25)


def allow_connections(session: Session, names: Collection[str]) -> None:
    """Let sessions connect to these databases (those that exist) again."""
    for name in sorted(existing(session, names)):
        session.run(_open(name))


def _ask_to_end(session: Session, pid: int, application: str, user: str) -> bool:
    """Terminate a session; False for one of the server's own workers that may not be terminated."""
    try:
        session.run("SELECT pg_terminate_backend(%s)", [pid])
    except SessionError as problem:
        if problem.sqlstate != _DENIED:
            raise
        if not user:
            return False
        me = session.value("SELECT current_user")
        raise QuiesceError(
            f"user {me} may not terminate the session of {user} (pid {pid}, {application})",
            f"terminate that session yourself, or have a superuser run GRANT pg_signal_backend TO "
            f"{identifier(me)}, which covers sessions of users who are not superusers",
        ) from problem
    return True


def swap(session: Session, swaps: Sequence[DatabaseSwap], run: str) -> None:
    """Rename every `live` to `aside` and every `side` to `live`, all or nothing.

    An exchange that is already done is skipped. Raise QuiesceError if a staging database is missing
    or a name is taken.
    """
    there = existing(session, _all_names(swaps))
    statements: list[str] = []
    for one in swaps:
        if one.side in there:
            if one.live in there:
                if not one.aside or one.aside in there:
                    raise _taken(one)
                statements += [_rename(one.live, one.aside), _close(one.aside)]
            statements.append(_rename(one.side, one.live))
            if one.aside:
                statements += _unmark(session, one.side, one.live)
        elif one.live not in there or not _is_swapped(session, one, there, run):
            raise QuiesceError(
                f"database {one.side} does not exist, so {one.live} cannot be replaced",
                "run the restore again",
            )
        statements.append(_open(one.live))
    _together(session, statements)


def put_back(session: Session, swaps: Sequence[DatabaseSwap], run: str) -> None:
    """Undo `swap` from any state. The live database accepts connections afterwards; the run's own
    database is closed, under its staging name."""
    there = existing(session, _all_names(swaps))
    statements: list[str] = []
    fences: list[str] = []
    for one in swaps:
        ours_is_live = one.live in there and one.side not in there
        if one.aside and one.aside in there:
            if one.live in there:
                if one.side in there:
                    raise _taken(one)
                statements += [_rename(one.live, one.side), _close(one.side)]
                fences.append(one.live)
            statements += [_rename(one.aside, one.live), _open(one.live)]
            fences.append(one.aside)
        elif not one.aside and ours_is_live and mark_of(session, one.live) == run:
            statements += [_rename(one.live, one.side), _close(one.side)]
            fences.append(one.live)
        elif one.live in there:
            statements.append(_open(one.live))
    if fences:
        block_connections(session, fences)
    _together(session, statements)


def _is_swapped(session: Session, one: DatabaseSwap, there: Collection[str], run: str) -> bool:
    if one.aside:
        return one.aside in there
    return mark_of(session, one.live) == run


def _all_names(swaps: Sequence[DatabaseSwap]) -> list[str]:
    return [name for one in swaps for name in (one.live, one.side, one.aside) if name]


def _rename(name: str, new: str) -> str:
    if len(new.encode()) > 63:
        raise QuiesceError(f"the name {new} is longer than PostgreSQL allows", "shorten it")
    return f"ALTER DATABASE {identifier(name)} RENAME TO {identifier(new)}"


def _open(name: str) -> str:
    return f"ALTER DATABASE {identifier(name)} ALLOW_CONNECTIONS true"


def _close(name: str) -> str:
    return f"ALTER DATABASE {identifier(name)} ALLOW_CONNECTIONS false"


def _comment(name: str, text: str) -> str:
    return f"COMMENT ON DATABASE {identifier(name)} IS {literal(text) if text else 'NULL'}"


def _comment_of(session: Session, name: str) -> str:
    rows = session.rows(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]
    )
    return str(rows[0][0] or "") if rows else ""


def _old_mark_of(session: Session, name: str) -> str:
    rows = session.rows(
        "SELECT unnest(s.setconfig) FROM pg_db_role_setting s JOIN pg_database d"
        " ON d.oid = s.setdatabase WHERE s.setrole = 0 AND d.datname = %s",
        [name],
    )
    marks = [pair.partition("=")[2] for (pair,) in rows if pair.partition("=")[0] == OLD_MARK]
    return str(marks[0]) if marks else ""


def _unmark(session: Session, name: str, named: str) -> list[str]:
    """Return the statements that remove the mark from database `name`, which is then called
    `named`."""
    statements = []
    comment = _comment_of(session, name)
    if MARK_LINE.match(comment):
        statements.append(_comment(named, MARK_LINE.sub("", comment)))
    if _old_mark_of(session, name):
        statements.append(f'ALTER DATABASE {identifier(named)} RESET "{OLD_MARK}"')
    return statements


def _together(session: Session, statements: Sequence[str]) -> None:
    session.run("BEGIN")
    try:
        session.run(f"SET LOCAL lock_timeout = '{RENAME_LOCK_SECONDS}s'")
        for statement in statements:
            session.run(statement)
        session.run("COMMIT")
    except SessionError as problem:
        session.run("ROLLBACK")
        if problem.sqlstate == "55006":
            raise QuiesceError(
                problem.fact,
                "a session connected just before the exchange; try again",
                details=problem.details,
            ) from problem
        raise


def _require_no_prepared(session: Session, names: Sequence[str]) -> None:
    prepared = session.rows(
        "SELECT database, gid FROM pg_prepared_xacts WHERE database = ANY (%s::text[])",
        [list(names)],
    )
    if prepared:
        database, transaction = prepared[0]
        raise QuiesceError(
            f"database {database} has a prepared transaction {transaction}",
            "ask the user who prepared it, commit it or roll it back (COMMIT PREPARED, ROLLBACK "
            "PREPARED), then try again",
        )


def _taken(one: DatabaseSwap) -> QuiesceError:
    return QuiesceError(
        f"databases {one.live}, {one.side} and {one.aside or 'one more'} exist at the same time",
        "compare them, give the one that is not needed an unused name (ALTER DATABASE … RENAME "
        "TO …), then run 'inv recover'",
    )
