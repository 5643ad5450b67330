"""Which rights the user of a database lacks for a backup or a restore. Reads catalogs only.

Without some of them, mariadb-dump ends with success and its dump lacks triggers or routines. So
they are checked before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from quiesce.adapters.mariadb.session import Session, identifier
from quiesce.observed import MissingRight

#: On the server.
LOCK = ("RELOAD", "PROCESS")
#: On the database.
READ = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
#: On the live database, and on those that a restore makes beside it.
MAKE = tuple(
    "SELECT,INSERT,UPDATE,DELETE,CREATE,DROP,ALTER,INDEX,REFERENCES,CREATE VIEW,SHOW VIEW,TRIGGER,"
    "EVENT,CREATE ROUTINE,ALTER ROUTINE,EXECUTE".split(",")
)
#: So that code keeps its definers, and so that sessions of other users can be ended.
DEFINERS = (("SET USER", "SUPER"), (10, 5))
SESSIONS = (("CONNECTION ADMIN", "SUPER"), (10, 5))


@dataclass(frozen=True, slots=True)
class Rights:
    """What a user may do on the whole server, and on databases by a pattern of their names."""

    user: str
    version: tuple[int, ...]
    everywhere: frozenset[str]
    by_pattern: tuple[tuple[str, str], ...]

    def lacks(self, wanted: Iterable[str], name: str) -> tuple[str, ...]:
        """Return which of these rights are missing on database `name`."""
        there = {right for pattern, right in self.by_pattern if _matches(pattern, name)}
        return tuple(right for right in wanted if right not in self.everywhere | there)


def read_rights(session: Session) -> Rights:
    """Return the rights of the session's user, with those of its role."""
    user, role = session.row("SELECT current_user(), current_role()")
    name, _, host = str(user).rpartition("@")
    grantees = [f"'{name}'@'{host}'", *([f"'{role}'@''", f"'{role}'"] if role else [])]
    holders = ", ".join("%s" for _ in grantees)
    everywhere = frozenset(
        str(right)
        for (right,) in session.rows(
            "SELECT privilege_type FROM information_schema.user_privileges"  # noqa: S608
            f" WHERE grantee IN ({holders})",
            grantees,
        )
    )
    by_pattern = tuple(
        (str(pattern), str(right))
        for pattern, right in session.rows(
            "SELECT table_schema, privilege_type FROM information_schema.schema_privileges"  # noqa: S608
            f" WHERE grantee IN ({holders})",
            grantees,
        )
    )
    return Rights(f"{name}@{host}", session.version, everywhere, by_pattern)


def missing_for_backup(rights: Rights, name: str) -> tuple[tuple[str, str], ...]:
    """Return what the user lacks for a complete dump of database `name`, and the GRANT for it."""
    found = []
    to = _account(rights.user)
    if lacking := rights.lacks(LOCK, ""):
        found.append((", ".join(lacking), f"GRANT {', '.join(lacking)} ON *.* TO {to}"))
    if lacking := rights.lacks(READ, name):
        where = identifier(_pattern(name))
        found.append(
            (f"{', '.join(lacking)} on {name}", f"GRANT {', '.join(lacking)} ON {where}.* TO {to}")
        )
    return (*found, *missing_for_users(rights))


def missing_for_users(rights: Rights) -> tuple[tuple[str, str], ...]:
    """Return what the user lacks for reading users and the bodies of routines."""
    if not rights.lacks(["SELECT"], "mysql"):
        return ()
    return (("SELECT on mysql", f"GRANT SELECT ON `mysql`.* TO {_account(rights.user)}"),)


def missing_for_restore(rights: Rights, name: str) -> tuple[MissingRight, ...]:
    """Return what the user lacks for a restore of database `name`."""
    found = []
    to = _account(rights.user)
    for there, pattern in (
        (name, _pattern(name)),
        (f"{name}__new_0000", f"{_pattern(name)}\\_\\_%"),
    ):
        if lacking := rights.lacks(MAKE, there):
            rest = ", ".join(lacking)
            found.append(
                MissingRight(
                    f"user {rights.user} lacks {rest} on {pattern}",
                    f"GRANT {rest} ON {identifier(pattern)}.* TO {to}",
                )
            )
    for (names, since), always in ((DEFINERS, True), (SESSIONS, False)):
        if not rights.everywhere & set(names):
            right = names[0] if rights.version >= since else names[1]
            found.append(
                MissingRight(
                    f"user {rights.user} lacks {right}", f"GRANT {right} ON *.* TO {to}", always
                )
            )
    return tuple(found)


def _matches(pattern: str, name: str) -> bool:
    """Whether the name of a database is matched by that of a GRANT, where _ and % are wild."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"_": ".", "%": ".*"}
    text = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(text, name, re.DOTALL | re.IGNORECASE) is not None


def _pattern(name: str) -> str:
    return name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")


def _account(user: str) -> str:
    name, _, host = user.rpartition("@")
    return f"{identifier(name)}@{identifier(host)}"
