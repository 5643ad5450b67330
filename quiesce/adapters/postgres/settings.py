"""Settings and grants of a database object, which a dump does not contain and a rename does not
move.

They are stored as the SQL that creates them, with the original name of the database, so that a user
can run them as they are. `retarget` replaces the name; it accepts only the forms written here, so a
damaged or forged set cannot add another kind of statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from quiesce.adapters.postgres.session import Session, identifier, literal
from quiesce.errors import QuiesceError

#: The mark on a database that a run created (see `rename`); never part of a record. It is the first
#: line of the database's comment, which its owner may write; earlier versions used a setting, which
#: only a superuser may write.
MARK_LINE = re.compile(r"\Aquiesce run (\S+)(?:\n|\Z)")
OLD_MARK = "quiesce.run"

#: Settings whose stored value is a list of names, each quoted separately in SET.
LIST_SETTINGS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "temp_tablespaces",
    }
)

_NAME = r'"(?:[^"\0]|"")+"'
_TEXT = r"'(?:[^'\0]|'')*'"
_SET = rf"SET {_NAME} TO {_TEXT}(?:, {_TEXT})*"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(ALTER DATABASE )({_NAME})( {_SET}| CONNECTION LIMIT -?\d+| IS_TEMPLATE true)",
        rf"(ALTER ROLE {_NAME} IN DATABASE )({_NAME})( {_SET})",
        rf"(REVOKE ALL ON DATABASE )({_NAME})( FROM (?:PUBLIC|{_NAME}))",
        rf"(GRANT [A-Z]+ ON DATABASE )({_NAME})( TO (?:PUBLIC|{_NAME})(?: WITH GRANT OPTION)?)",
        rf"(COMMENT ON DATABASE )({_NAME})( IS {_TEXT})",
    )
)


def read_settings(session: Session, name: str) -> tuple[str, ...]:
    """Return the statements that give another database the settings of database `name`."""
    oid, owner, limit, template, has_grants, comment = session.row(
        "SELECT d.oid, pg_get_userbyid(d.datdba), d.datconnlimit, d.datistemplate,"
        " d.datacl IS NOT NULL, shobj_description(d.oid, 'pg_database')"
        " FROM pg_database d WHERE d.datname = %s",
        [name],
    )
    target = identifier(name)
    statements = list(_settings(session, oid, target))
    if limit >= 0:
        statements.append(f"ALTER DATABASE {target} CONNECTION LIMIT {limit}")
    if template:
        statements.append(f"ALTER DATABASE {target} IS_TEMPLATE true")
    if has_grants:
        statements += _grants(session, oid, target, owner)
    if comment := MARK_LINE.sub("", comment or ""):
        statements.append(f"COMMENT ON DATABASE {target} IS {literal(comment)}")
    return tuple(statements)


def retarget(statement: str, name: str) -> str:
    """Return the statement for database `name`. Raise QuiesceError if its form is unknown."""
    for form in _FORMS:
        if match := form.fullmatch(statement):
            return f"{match[1]}{identifier(name)}{match[3]}"
    raise QuiesceError(
        f"the set contains a database setting of an unknown form: {statement[:60]!r}",
        "the set was changed by hand; use another one",
    )


def _settings(session: Session, oid: int, target: str) -> Iterator[str]:
    stored = session.rows(
        "SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END, s.setconfig"
        " FROM pg_db_role_setting s WHERE s.setdatabase = %s"
        " ORDER BY s.setrole <> 0, pg_get_userbyid(s.setrole)",
        [oid],
    )
    for role, pairs in stored:
        whose = f"ALTER ROLE {identifier(role)} IN DATABASE" if role else "ALTER DATABASE"
        for pair in pairs:
            setting, _, value = pair.partition("=")
            if setting == OLD_MARK:
                continue
            parts = _names(value) if setting.lower() in LIST_SETTINGS else (value,)
            texts = ", ".join(literal(part) for part in parts)
            yield f"{whose} {target} SET {identifier(setting)} TO {texts}"


def _grants(session: Session, oid: int, target: str, owner: str) -> Iterator[str]:
    # First revoke everything, then grant exactly what was granted: a new database's default
    # (everyone may connect) is a grant too.
    yield f"REVOKE ALL ON DATABASE {target} FROM PUBLIC"
    yield f"REVOKE ALL ON DATABASE {target} FROM {identifier(owner)}"
    granted = session.rows(
        "SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,"
        " a.privilege_type, bool_or(a.is_grantable)"
        " FROM pg_database d, aclexplode(d.datacl) a WHERE d.oid = %s"
        " GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2",
        [oid],
    )
    for grantee, privilege, grantable in granted:
        to = identifier(grantee) if grantee else "PUBLIC"
        more = " WITH GRANT OPTION" if grantable and grantee else ""
        yield f"GRANT {privilege} ON DATABASE {target} TO {to}{more}"


def _names(value: str) -> Sequence[str]:
    """Split a stored list of names: quotes belong to a name, bare ones are lower case."""
    names = re.findall(r'\s*("(?:[^"]|"")*"|[^,]*?)\s*(?:,|$)', value)
    plain = [
        name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
        for name in names
        if name
    ]
    return plain or [""]
