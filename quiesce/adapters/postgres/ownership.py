"""Chooses the owner of the objects that a file created: a role without rights, never a superuser.

Some code in a database runs without being called: PostgreSQL evaluates the functions of an index as
the owner of its table whenever it vacuums or analyzes, and a `SECURITY DEFINER` function runs as
its owner. So objects of unknown origin belong to a role that has no other rights:

- the owner of the live database, if that role has no rights over the server, and no other role
  owns tables there or owned objects in the file;
- otherwise `quiesce_owner_<database>`: it cannot log in, and it is kept. Roles that owned tables
  before become its members, and so may read, write and alter the restored objects.

Membership gives rights in one direction only: members have the rights of the role, not the reverse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from quiesce.adapters.postgres.session import Session, identifier, literal
from quiesce.errors import RequestError

OWNER_PREFIX = "quiesce_owner_"
_NAME_BYTES = 63
_COMMENT = "Quiesce: owns what was restored from a file; no rights, no login"

#: Roles that can only own and use objects of a database: none of PostgreSQL's own roles, which read
#: files, run programs or terminate sessions, and no attributes, directly or by membership. CREATEDB
#: is harmless: a function cannot create a database.
_HARMLESS = """
SELECT r.rolname FROM pg_roles r WHERE r.rolname = ANY (%s::text[])
   AND NOT (r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls)
   AND r.rolname !~ '^pg_'
   AND NOT EXISTS (SELECT 1 FROM pg_roles p
        WHERE (p.rolsuper OR p.rolcreaterole OR p.rolreplication OR p.rolbypassrls
               OR (p.rolname ~ '^pg_' AND p.rolname <> 'pg_database_owner'))
          AND pg_has_role(r.oid, p.oid, 'MEMBER'))
 ORDER BY 1
"""
_ORDINARY = """
SELECT rolname FROM pg_roles
 WHERE rolname = ANY (%s::text[]) AND NOT rolsuper AND rolname !~ '^pg_' ORDER BY 1
"""
_OWNERS = """
SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_DEFINERS = """
SELECT p.oid::regprocedure::text FROM pg_proc p
 WHERE p.prosecdef AND p.proowner = (SELECT oid FROM pg_roles WHERE rolname = %s) ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """The role that gets the objects. `members` become members of it; there are none if the role
    existed before."""

    name: str
    members: tuple[str, ...] = ()
    made: bool = False


def owners_of(live: Session) -> tuple[str, ...]:
    """Return the roles that own relations in the session's database."""
    return tuple(name for (name,) in live.rows(_OWNERS))


def choose(
    admin: Session, database: str, live_owner: str, others: Collection[str], user: str
) -> Owner:
    """Return the owner of the objects that a file for `database` creates.

    `live_owner` owns the live database ("" if there is none), `others` own its tables or are named
    as owners in the file, `user` is Quiesce's user.
    """
    ordinary = _named(admin, _ORDINARY, {*others, live_owner, user})
    if ordinary == (live_owner,) and _named(admin, _HARMLESS, ordinary):
        return Owner(live_owner)
    return Owner(owner_name(database), ordinary, made=True)


def owner_name(database: str) -> str:
    """Return the name of the role that owns the objects that files created in this database."""
    name = OWNER_PREFIX + database
    if len(name.encode()) <= _NAME_BYTES:
        return name
    return OWNER_PREFIX + hashlib.sha256(database.encode()).hexdigest()[:32]


def ensure(admin: Session, owner: Owner) -> None:
    """Create the role without any rights, if it does not exist, and grant it to its members.

    Raise RequestError if a role of this name has rights or can log in.
    """
    if not owner.made:
        return
    found = admin.rows("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [owner.name])
    if not found:
        rights = "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"
        admin.run(f"CREATE ROLE {identifier(owner.name)} {rights}")
        admin.run(f"COMMENT ON ROLE {identifier(owner.name)} IS {literal(_COMMENT)}")
    elif found[0][0] or not _named(admin, _HARMLESS, [owner.name]):
        raise RequestError(
            f"role {owner.name} can log in or has rights, so it cannot own objects from a file",
            f'rename it (ALTER ROLE {identifier(owner.name)} RENAME TO "…"), then try again',
        )
    for member in owner.members:
        if member != owner.name:
            admin.run(f"GRANT {identifier(owner.name)} TO {identifier(member)}")


def make_invokers(admin: Session, loader: str) -> tuple[str, ...]:
    """Make the loader's SECURITY DEFINER functions SECURITY INVOKER; return their names.

    Done in the administrator's session: what the loader's own session sees may be forged.
    """
    names = tuple(name for (name,) in admin.rows(_DEFINERS, [loader]))
    for name in names:
        admin.run(f"ALTER ROUTINE {name} SECURITY INVOKER")
    return names


def _named(admin: Session, query: str, names: Collection[str]) -> tuple[str, ...]:
    return tuple(name for (name,) in admin.rows(query, [_texts(names)]))


def _texts(names: Collection[str]) -> Sequence[str]:
    return sorted(name for name in names if name)
