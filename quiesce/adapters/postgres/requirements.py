"""Finds what is missing for a restore (in the database, on its server, among the user's rights),
and creates roles."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from quiesce.adapters.postgres import create, privileges, roles
from quiesce.adapters.postgres.replication import read_ties
from quiesce.adapters.postgres.servers import Servers
from quiesce.adapters.servers import server_of
from quiesce.model import Database, DatabaseRecord
from quiesce.observed import MissingRight, MissingRoles, Ties


class Needs(Servers):
    """The part of `DatabaseAdmin` that checks before anything is loaded or exchanged."""

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        with self._maintenance(database) as session:
            found = create.problems(session, record, made)
            return (*found, *privileges.restore_problems(session, record, database.name))

    def missing_roles(
        self, database: Database, script: Path, wanted: Collection[str]
    ) -> MissingRoles:
        found = roles.read_globals(_text_of(script))
        users = {d.user for d in self._databases if server_of(d) == server_of(database)}
        with self._maintenance(database) as session:
            return roles.missing(session, found, wanted, users)

    def create_roles(
        self, service: str, script: Path, names: Collection[str], *, whole: bool
    ) -> tuple[str, ...]:
        found = roles.read_globals(_text_of(script))
        with self._maintenance(self._of(service)) as session:
            return roles.create_roles(session, found, names, whole=whole)

    def ties(self, database: Database) -> Ties:
        with self._open(database, database.name) as session:
            return read_ties(session)

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        with self._open(database, database.name) as session:
            return privileges.missing_rights(session)


def _text_of(script: Path) -> str:
    """Return the text of a roles file, which a LATIN1 server writes in LATIN1."""
    content = script.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
