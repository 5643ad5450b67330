"""Marks databases as made by a run, in their comments, where exchanges look for them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from quiesce.adapters.mariadb.session import Session, identifier, literal

_MARK = re.compile(r"^quiesce run (\S+)(?:\n|$)")
#: A table without rows that is moved together with the tables of a staging database, so that its
#: place says whether they were moved.
COMPANION = "quiesce_exchange"


def existing(session: Session, names: Iterable[str]) -> frozenset[str]:
    """Return those of `names` that exist on this server, as it spells them."""
    found = session.rows("SELECT schema_name FROM information_schema.schemata")
    return frozenset(name for (name,) in found) & frozenset(names)


def mark_of(session: Session, name: str) -> str:
    """Return the run that made database `name`, or ""."""
    found = _MARK.match(_comment_of(session, name))
    return found[1] if found else ""


def marking(run: str) -> str:
    """Return what CREATE DATABASE needs so that the database is marked as made by `run`."""
    return f"COMMENT {literal(f'quiesce run {run}')}"


def remove_mark(session: Session, name: str) -> None:
    """Remove the mark from database `name`, if there is one."""
    text = _comment_of(session, name)
    if _MARK.match(text):
        _comment(session, name, _MARK.sub("", text))


def put_token(session: Session, name: str) -> None:
    """Make sure that database `name` has the token."""
    session.run(f"CREATE TABLE IF NOT EXISTS {_token(name)} (i int) ENGINE=InnoDB")


def has_token(session: Session, name: str) -> bool:
    """Whether database `name` has the token."""
    return bool(
        session.rows(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            [name, COMPANION],
        )
    )


def drop_token(session: Session, name: str) -> None:
    """Drop the token from database `name`, if it is there."""
    if has_token(session, name):
        session.run(f"DROP TABLE IF EXISTS {_token(name)}")


def _token(name: str) -> str:
    return f"{identifier(name)}.{identifier(COMPANION)}"


def _comment_of(session: Session, name: str) -> str:
    found = session.rows(
        "SELECT schema_comment FROM information_schema.schemata WHERE schema_name = %s", [name]
    )
    return str(found[0][0] or "") if found else ""


def _comment(session: Session, name: str, text: str) -> None:
    session.run(f"ALTER DATABASE {identifier(name)} COMMENT {literal(text)}")
