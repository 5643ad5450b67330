"""Finds in the catalogs the rights that a user without superuser rights lacks for a restore.
Read-only.

Reading is enough for a dump. A restore must also create databases, assign owners, create
extensions, and terminate sessions.
"""

from __future__ import annotations

from quiesce.adapters.postgres.session import SQL, Composable, Literal, Session, identifier
from quiesce.model import DatabaseRecord
from quiesce.observed import MissingRight

_ME = "SELECT rolsuper, rolcreatedb, rolname FROM pg_roles WHERE rolname = current_user"


def _alone(catalog: str) -> Composable:
    """Return the condition that an object `x` of a catalog belongs to no extension."""
    return SQL(
        "NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = {}::regclass"
        " AND e.objid = x.oid AND e.deptype = 'e')"
    ).format(Literal(catalog))


# Owners of everything in this database that is not PostgreSQL's or an extension's. The dependency
# catalogs omit what the server's first role owns, so the object catalogs are read too.
_OWNERS = SQL("""
WITH owners AS (
  SELECT refobjid AS owner FROM pg_shdepend x WHERE refclassid = 'pg_authid'::regclass
     AND deptype = 'o' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = x.classid AND e.objid = x.objid
                      AND e.deptype = 'e')
  UNION SELECT relowner FROM pg_class x
   WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
     AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_')
     AND {pg_class}
  UNION SELECT nspowner FROM pg_namespace x
   WHERE oid >= 16384 AND nspname !~ '^pg_' AND {pg_namespace}
  UNION SELECT proowner FROM pg_proc x WHERE oid >= 16384 AND {pg_proc}
  UNION SELECT typowner FROM pg_type x
   WHERE oid >= 16384 AND typtype IN ('d', 'e', 'r') AND {pg_type})
SELECT r.rolname, r.rolsuper FROM owners JOIN pg_roles r ON r.oid = owners.owner
 WHERE r.rolname <> 'pg_database_owner' AND NOT pg_has_role(r.oid, %s) ORDER BY 1
""").format(
    pg_class=_alone("pg_class"),
    pg_namespace=_alone("pg_namespace"),
    pg_proc=_alone("pg_proc"),
    pg_type=_alone("pg_type"),
)
# What only a superuser can create.
_SUPERUSER_S = SQL("""
SELECT 'event trigger ' || evtname FROM pg_event_trigger x WHERE {event_trigger}
UNION ALL SELECT 'publication ' || pubname || ' for all tables' FROM pg_publication
 WHERE puballtables
UNION ALL SELECT 'subscription ' || subname FROM pg_subscription s
  JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()
UNION ALL SELECT 'foreign data wrapper ' || fdwname FROM pg_foreign_data_wrapper x
 WHERE oid >= 16384 AND {wrapper}
UNION ALL SELECT 'function ' || p.proname || ' in ' || l.lanname FROM pg_proc p
  JOIN pg_language l ON l.oid = p.prolang
 WHERE p.oid >= 16384 AND (NOT l.lanpltrusted AND l.lanname NOT IN ('sql') OR p.proleakproof)
   AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass
                    AND e.objid = p.oid AND e.deptype = 'e')
UNION ALL SELECT 'operator class ' || opcname FROM pg_opclass x WHERE oid >= 16384 AND {class_}
UNION ALL SELECT 'cast of ' || castsource::regtype || ' to ' || casttarget::regtype
  FROM pg_cast x WHERE oid >= 16384 AND castmethod = 'b' AND {cast}
UNION ALL SELECT 'text search template ' || tmplname FROM pg_ts_template x
 WHERE oid >= 16384 AND {template}
""").format(
    event_trigger=_alone("pg_event_trigger"),
    wrapper=_alone("pg_foreign_data_wrapper"),
    class_=_alone("pg_opclass"),
    cast=_alone("pg_cast"),
    template=_alone("pg_ts_template"),
)
_UNTRUSTED = """
SELECT DISTINCT v.name FROM pg_available_extension_versions v
  JOIN pg_available_extensions a ON a.name = v.name AND a.default_version = v.version
 WHERE v.superuser AND NOT v.trusted AND v.name = ANY (%s::text[]) ORDER BY 1
"""
_SETTINGS = """
SELECT DISTINCT split_part(pair, '=', 1) AS setting FROM pg_db_role_setting s
  JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS pair
  LEFT JOIN pg_settings g ON g.name = split_part(pair, '=', 1)
 WHERE d.datname = current_database() AND split_part(pair, '=', 1) <> 'quiesce.run'
   AND (g.name IS NULL OR g.context IN ('superuser', 'superuser-backend'))
   AND NOT {allowed} ORDER BY 1
"""
_ROLES_SET = """
SELECT DISTINCT r.rolname FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
  JOIN pg_roles r ON r.oid = s.setrole
 WHERE d.datname = current_database() AND r.rolname <> current_user ORDER BY 1
"""
_OTHERS = """
SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND NOT pg_has_role(oid, 'USAGE')
   AND has_database_privilege(oid, current_database(), 'CONNECT') ORDER BY 1
"""
_SUPERUSER = "only a superuser can create these: name one as 'user:' of this database in stack.yaml"


def missing_rights(session: Session) -> tuple[MissingRight, ...]:
    """Return the rights that the session's user lacks to restore a backup of this database."""
    superuser, creates, name = session.row(_ME)
    if superuser:
        return ()
    me, database = identifier(name), identifier(session.database)
    found: list[MissingRight] = []
    if not creates:
        found.append(
            MissingRight(f"user {name} may not create databases", f"ALTER ROLE {me} CREATEDB")
        )
    owner, ours = session.row(
        "SELECT pg_get_userbyid(datdba), pg_has_role(datdba, 'USAGE') FROM pg_database"
        " WHERE datname = current_database()"
    )
    if not ours:
        found.append(
            MissingRight(
                f"the database belongs to {owner}, so user {name} can neither rename nor drop it",
                f"ALTER DATABASE {database} OWNER TO {me}",
            )
        )
    become = "SET" if session.version >= 160000 else "MEMBER"
    for role, is_superuser in session.rows(_OWNERS, [become]):
        fact = (
            f"objects in it belong to {role}, and user {name} cannot make {role} their owner again"
        )
        hint = f"GRANT {identifier(role)} TO {me}"
        if is_superuser:
            hint = f"REASSIGN OWNED BY cannot be used here: ALTER each of them … OWNER TO {me}"
        found.append(MissingRight(fact, hint))
    names = [one for (one,) in session.rows("SELECT extname FROM pg_extension")]
    found += [
        MissingRight(f"user {name} may not create the extension {one}", _SUPERUSER)
        for one in untrusted(session, names)
    ]
    if rows := session.rows(_SUPERUSER_S):
        several = ", ".join(str(one) for (one,) in rows)
        found.append(MissingRight(f"user {name} may not create {several}", _SUPERUSER))
    found += _settings(session, name, me)
    found += _wishes(session, name, me)
    return tuple(found)


def restore_problems(session: Session, record: DatabaseRecord, live: str) -> list[str]:
    """Return the rights that the session's user lacks to restore the record in place of `live`,
    each with the statement that a superuser would have to run."""
    superuser, creates, name = session.row(_ME)
    if superuser:
        return []
    me = identifier(name)
    found = []
    if not creates:
        found.append(f"user {name} may not create databases: ALTER ROLE {me} CREATEDB")
    become = "SET" if session.version >= 160000 else "MEMBER"
    for role, ours in session.rows(
        "SELECT rolname, pg_has_role(oid, %s) FROM pg_roles WHERE rolname = %s",
        [become, record.owner],
    ):
        if not ours:
            found.append(
                f"user {name} cannot give a database to {role}: GRANT {identifier(role)} TO {me}"
            )
    for owner, ours in session.rows(
        "SELECT pg_get_userbyid(datdba), pg_has_role(datdba, 'USAGE') FROM pg_database"
        " WHERE datname = %s",
        [live],
    ):
        if not ours:
            found.append(
                f"database {live} belongs to {owner}, so user {name} cannot rename it: "
                f"ALTER DATABASE {identifier(live)} OWNER TO {me}"
            )
    found += [
        f"user {name} may not create the extension {one}: {_SUPERUSER}"
        for one in untrusted(session, [extension.name for extension in record.extensions])
    ]
    return found


def untrusted(session: Session, extensions: list[str]) -> list[str]:
    """Return those of `extensions` that only a superuser may create on this server."""
    return [str(name) for (name,) in session.rows(_UNTRUSTED, [extensions])]


def _settings(session: Session, name: str, me: str) -> list[MissingRight]:
    allowed = "false"
    if session.version >= 150000:
        allowed = "has_parameter_privilege(split_part(pair, '=', 1), 'SET')"
    found = [
        MissingRight(
            f"user {name} may not apply the setting {setting} to the database",
            f"GRANT SET ON PARAMETER {_parameter(setting)} TO {me}"
            if session.version >= 150000
            else _SUPERUSER,
        )
        for (setting,) in session.rows(_SETTINGS.format(allowed=allowed))
    ]
    found += [
        MissingRight(
            f"user {name} may not change the settings of {role} in this database",
            f"GRANT {identifier(role)} TO {me} WITH ADMIN OPTION; ALTER ROLE {me} CREATEROLE",
        )
        for (role,) in session.rows(_ROLES_SET)
        if not session.value(
            "SELECT rolcreaterole AND (%s OR pg_has_role(%s::name, 'MEMBER WITH ADMIN OPTION'))"
            " FROM pg_roles WHERE rolname = current_user",
            [session.version < 160000, role],
        )
    ]
    return found


def _wishes(session: Session, name: str, me: str) -> list[MissingRight]:
    """Return the rights that only some restores need."""
    found: list[MissingRight] = []
    others = [str(role) for (role,) in session.rows(_OTHERS)]
    if others and not session.value("SELECT pg_has_role('pg_signal_backend', 'USAGE')"):
        found.append(
            MissingRight(
                f"user {name} may not terminate sessions of {others[0]}, which a restore must do "
                "if there are any",
                f"GRANT pg_signal_backend TO {me}",
                always=False,
            )
        )
    if session.version < 150000:
        found.append(
            MissingRight(f"user {name} cannot restore rows only", _SUPERUSER, always=False)
        )
    elif not session.value("SELECT has_parameter_privilege('session_replication_role', 'SET')"):
        found.append(
            MissingRight(
                f"user {name} cannot restore rows only (--data-only)",
                f"GRANT SET ON PARAMETER session_replication_role TO {me}",
                always=False,
            )
        )
    return found


def _parameter(setting: str) -> str:
    return ".".join(identifier(part) for part in setting.split("."))
