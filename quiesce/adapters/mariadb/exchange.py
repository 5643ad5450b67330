"""Exchanges databases by one RENAME TABLE, and undoes it however far it got.

Tables and sequences are moved; views, routines, triggers and events are made again. Before
anything is dropped, the code of both sides is written into a table of the database aside, where
`put_back` finds it, also in another process; without a previous copy, into one of the staging
database. A token is moved with the tables of the staging database: where it is, they are. It is
there until the last step. Events are created last, and only in the live database.

Everything here looks at what there is and does what remains, so it can be repeated from any state.
"""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.adapters.mariadb import catalog
from quiesce.adapters.mariadb.code import (
    Code,
    all_code,
    create_all,
    drop_code,
    forget_code,
    keep_code,
    kept_code,
    read_code,
)
from quiesce.adapters.mariadb.made import (
    drop_token,
    existing,
    has_token,
    mark_of,
    marking,
    put_token,
)
from quiesce.adapters.mariadb.session import Session, identifier
from quiesce.errors import QuiesceError
from quiesce.model import DatabaseSwap

LIVE, SIDE = "live", "side"


def swap(session: Session, swaps: Sequence[DatabaseSwap], run: str) -> None:
    """Make each staging database the live one and the live one the one aside, all at once.

    If this raises, `put_back` undoes it. Raise QuiesceError, before anything is changed, if a
    staging database is missing or a name is taken.
    """
    due = [one for one in swaps if _is_due(session, one, run)]
    for one in due:
        _prepare_swap(session, one, run)
    moves: list[tuple[str, str]] = []
    for one in due:
        if has_token(session, one.side):
            drop_code(session, one.live, _kept(session, one, LIVE))
            drop_code(session, one.side, _kept(session, one, SIDE))
            moves += [(one.live, one.aside)] if one.aside else []
            moves.append((one.side, one.live))
    rename(session, moves)
    for one in due:
        _take_defaults(session, one.live, like=one.side)
        if one.aside:
            create_all(session, one.aside, _kept(session, one, LIVE), live=False)
        create_all(session, one.live, _kept(session, one, SIDE), live=True)
        _drop_empty(session, one.side)
    for one in swaps:
        _settle(session, one)


def put_back(session: Session, swaps: Sequence[DatabaseSwap], run: str) -> None:
    """Undo `swap`, however far it got. A swap that did not begin, or was undone, is left alone."""
    begun = [one for one in swaps if _prepare_back(session, one, run)]
    moves: list[tuple[str, str]] = []
    for one in begun:
        for name in filter(None, (one.live, one.aside, one.side)):
            drop_code(session, name, read_code(session, name))
        if has_token(session, one.live):
            moves.append((one.live, one.side))
            moves += [(one.aside, one.live)] if one.aside else []
    rename(session, moves)
    for one in begun:
        create_all(session, one.side, _kept(session, one, SIDE), live=False)
        if one.aside:
            _take_defaults(session, one.live, like=one.aside)
            create_all(session, one.live, _kept(session, one, LIVE), live=True)
            _drop_empty(session, one.aside)
        else:
            _drop_empty(session, one.live)
    for one in swaps:
        if one.side in existing(session, [one.side]):
            drop_token(session, one.side)
            _forget(session, one.side)


def rename(session: Session, moves: Sequence[tuple[str, str]]) -> None:
    """Move all tables and sequences between databases, in this order, by one statement."""
    parts: list[str] = []
    for source, target in moves:
        parts += [
            f"{identifier(source)}.{identifier(table)} TO {identifier(target)}.{identifier(table)}"
            for table in catalog.movable(session, source)
        ]
    if parts:
        session.run(f"RENAME TABLE {', '.join(parts)}")


def _is_due(session: Session, one: DatabaseSwap, run: str) -> bool:
    """Whether something remains to be done. Raise QuiesceError if it cannot be done."""
    there = existing(session, (one.live, one.side, one.aside))
    if one.side not in there:
        if one.live in there and (
            one.aside in there if one.aside else mark_of(session, one.live) == run
        ):
            return False
        raise QuiesceError(
            f"database {one.side} does not exist, so {one.live} cannot be replaced",
            "run the restore again",
        )
    foreign = one.live in there and not one.aside and mark_of(session, one.live) != run
    if foreign or (one.aside in there and not _is_ours(session, one)):
        raise QuiesceError(
            f"databases {one.live}, {one.side} and {one.aside or 'one more'} already exist at the "
            "same time",
            "compare them, move what is not needed away, then run 'inv recover'",
        )
    return True


def _is_ours(session: Session, one: DatabaseSwap) -> bool:
    """Whether the database aside is one that this exchange has begun to fill."""
    return kept_code(session, one.aside, SIDE) is not None or not catalog.movable(
        session, one.aside
    )


def _prepare_swap(session: Session, one: DatabaseSwap, run: str) -> None:
    """Create what is missing, and keep the code of both sides."""
    if one.live not in existing(session, [one.live]):
        _create(session, one.live, like=one.side, run="" if one.aside else run)
    if one.aside:
        _create(session, one.aside, like=one.live)
    if kept_code(session, one.aside or one.side, SIDE) is None:
        put_token(session, one.side)
        keep_code(session, one.aside or one.side, LIVE, read_code(session, one.live))
        keep_code(session, one.aside or one.side, SIDE, all_code(session, one.side))


def _prepare_back(session: Session, one: DatabaseSwap, run: str) -> bool:
    """Keep the code of both sides unless it is kept already. Return False if nothing was moved, and
    nothing dropped; what the exchange had created is then gone."""
    there = existing(session, (one.live, one.side, one.aside))
    store = one.aside or one.side
    if one.live not in there or (one.aside and one.aside not in there):
        return False
    if not one.aside and mark_of(session, one.live) != run:
        return False
    if one.side not in there:
        put_token(session, one.live)
        if one.aside:
            keep_code(session, store, LIVE, all_code(session, one.aside))
            keep_code(session, store, SIDE, read_code(session, one.live))
        _create(session, one.side, like=one.live, run=run)
    if kept_code(session, store, SIDE) is None:
        if not has_token(session, one.live):
            if not catalog.movable(session, one.aside or one.live):
                session.run(f"DROP DATABASE {identifier(one.aside or one.live)}")
            return False
        keep_code(session, store, LIVE, ())
        keep_code(session, store, SIDE, read_code(session, one.live))
    return True


def _settle(session: Session, one: DatabaseSwap) -> None:
    """Remove what only an unfinished exchange needs."""
    drop_token(session, one.live)
    if one.aside:
        _forget(session, one.aside)


def _forget(session: Session, name: str) -> None:
    for side in (SIDE, LIVE):
        if kept_code(session, name, side) is not None:
            forget_code(session, name, side)


def _kept(session: Session, one: DatabaseSwap, side: str) -> tuple[Code, ...]:
    return kept_code(session, one.aside or one.side, side) or ()


def _create(session: Session, name: str, like: str, run: str = "") -> None:
    """Create database `name` unless it exists, in the same statement marked as made by `run`."""
    if name not in existing(session, [name]):
        mark = f" {marking(run)}" if run else ""
        session.run(f"CREATE DATABASE {identifier(name)} {_defaults(session, like)}{mark}")


def _drop_empty(session: Session, name: str) -> None:
    """Drop a database whose tables were all moved. Raise QuiesceError if it has any."""
    if left := catalog.movable(session, name):
        raise QuiesceError(
            f"database {name} still has tables: {', '.join(left)}, so it is not dropped",
            "another client created them; move or drop them, then run 'inv recover'",
        )
    session.run(f"DROP DATABASE {identifier(name)}")


def _take_defaults(session: Session, name: str, like: str) -> None:
    session.run(f"ALTER DATABASE {identifier(name)} {_defaults(session, like)}")


def _defaults(session: Session, like: str) -> str:
    charset, collation = catalog.defaults(session, like)
    return f"CHARACTER SET {charset} COLLATE {collation}"
