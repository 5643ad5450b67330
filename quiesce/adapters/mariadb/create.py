"""Creates staging databases, and says what would prevent a load into one."""

from __future__ import annotations

import re
from collections.abc import Collection

from quiesce.adapters.mariadb import catalog
from quiesce.adapters.mariadb.made import existing, mark_of, marking
from quiesce.adapters.mariadb.rights import missing_for_users, read_rights
from quiesce.adapters.mariadb.session import Session, identifier
from quiesce.adapters.mariadb.users import existing_users
from quiesce.adapters.servers import require_own
from quiesce.errors import RequestError
from quiesce.model import Database, DatabaseRecord

_FROM_OUTSIDE = """
SELECT constraint_schema, table_name, constraint_name
  FROM information_schema.referential_constraints
 WHERE unique_constraint_schema = %s AND constraint_schema <> %s ORDER BY 1, 2, 3
"""
NAME_LETTERS = 64
_WORD = re.compile(r"\w+")


def create(
    session: Session, database: Database, name: str, record: DatabaseRecord | None, run: str
) -> None:
    """Create database `name`, empty and marked as this run's.

    One that this run created is dropped first; any other is refused.
    """
    if not name or len(name) > NAME_LETTERS:
        raise RequestError(
            f"{name!r} is not a valid name for a database",
            f"names in MariaDB have at most {NAME_LETTERS} characters",
        )
    charset, collation = (
        (record.encoding, record.collate) if record else catalog.defaults(session, database.name)
    )
    if not (_WORD.fullmatch(charset) and _WORD.fullmatch(collation)):
        raise RequestError("the record of the database is damaged", "use another set")
    if existing(session, [name]):
        require_own(database, name, run, mark_of(session, name))
        session.run(f"DROP DATABASE {identifier(name)}")
    session.run(
        f"CREATE DATABASE {identifier(name)} CHARACTER SET {charset} COLLATE {collation}"
        f" {marking(run)}"
    )


def problems(
    session: Session, live: str, record: DatabaseRecord, made: Collection[str]
) -> tuple[str, ...]:
    """Return everything that would prevent loading the record's dump on this server and exchanging
    it with database `live`. The accounts in `made` will exist by then."""
    found = []
    made_by = tuple(int(part) for part in record.server_version.split(".")[:2] if part.isdigit())
    if session.version[:2] < made_by:
        found.append(
            f"the dump is of MariaDB {record.server_version}, the server is older: "
            f"{session.version_text}"
        )
    known = session.rows(
        "SELECT 1 FROM information_schema.collation_character_set_applicability"
        " WHERE character_set_name = %s AND (full_collation_name = %s OR collation_name = %s)",
        [record.encoding, record.collate, record.collate],
    )
    if not known:
        found.append(f"the server has no collation {record.collate} of {record.encoding}")
    # After an exchange they would refer to the previous copy, which could then not be dropped.
    found += [
        f"foreign key {name} of table {schema}.{table} refers to {live}: drop it before the "
        "restore, and add it again afterwards"
        for schema, table, name in session.rows(_FROM_OUTSIDE, [live, live])
    ]
    if not missing_for_users(read_rights(session)):
        absent = set(record.roles) - existing_users(session) - set(made)
        found += [
            f"the server has no role {name}, with whose rights views or routines of "
            f"{record.name} run"
            for name in sorted(absent)
        ]
    return tuple(found)
