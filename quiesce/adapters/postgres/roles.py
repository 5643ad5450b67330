"""Creates roles from a set's `globals.sql` on a server that lacks them.

The file is untrusted input: it is parsed, and only the statements that `pg_dumpall` writes for
roles are understood. None of its text is executed. Existing roles are not changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from quiesce.adapters.postgres.session import Session, SessionError, identifier, literal
from quiesce.errors import RequestError
from quiesce.observed import MissingRoles

_NAME = r'(?:"(?:[^"\0]|"")+"|[a-z_][a-z0-9_$]*)'
_TEXT = r"(?:E'(?:[^'\\\0]|''|\\.)*'|'(?:[^'\0]|'')*')"
_CREATE = re.compile(rf"CREATE ROLE ({_NAME})")
_RIGHTS = re.compile(rf"ALTER ROLE ({_NAME}) WITH (.+)", re.DOTALL)
_SETTING = re.compile(
    rf"ALTER ROLE ({_NAME}) SET ({_NAME}(?:\.{_NAME})?) TO ({_TEXT}(?:, *{_TEXT})*)"
)
_COMMENT = re.compile(rf"COMMENT ON ROLE ({_NAME}) IS ({_TEXT})", re.DOTALL)
_GRANT = re.compile(rf"GRANT ({_NAME}) TO ({_NAME})(?: WITH ([A-Z, ]+?))?(?: GRANTED BY {_NAME})?")
_RIGHT = re.compile(
    r"\s*(?:(?P<word>(?:NO)?(?:SUPERUSER|INHERIT|CREATEROLE|CREATEDB|LOGIN|REPLICATION|BYPASSRLS))"
    rf"|CONNECTION LIMIT (?P<limit>-?\d+)|PASSWORD (?P<password>{_TEXT})"
    rf"|VALID UNTIL (?P<until>{_TEXT}))(?=\s|$)"
)
_GRANT_OPTION = re.compile(r"ADMIN OPTION|(?:ADMIN|INHERIT|SET) (?:TRUE|FALSE|OPTION)")

#: Rights over the whole server, which a restore grants only on throwaway servers.
_SERVER_WIDE = ("SUPERUSER", "REPLICATION", "BYPASSRLS", "CREATEROLE")


@dataclass(slots=True)
class Role:
    """One role in the file; texts are unquoted. `settings` are pairs of a setting and the values of
    its list."""

    name: str
    rights: list[str] = field(default_factory=list)
    password: str | None = None
    until: str | None = None
    limit: int | None = None
    comment: str | None = None
    settings: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Membership:
    """Role `member` is a member of `group`; `options` as in GRANT."""

    group: str
    member: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Globals:
    """The roles in a file, by name, and their memberships."""

    roles: Mapping[str, Role]
    memberships: tuple[Membership, ...]


def read_globals(text: str) -> Globals:
    """Return the roles in the output of `pg_dumpall --globals-only`. Other statements are
    ignored."""
    roles: dict[str, Role] = {}
    memberships: list[Membership] = []
    for statement in _statements(text):
        if match := _CREATE.fullmatch(statement):
            name = _unquoted(match[1])
            roles.setdefault(name, Role(name))
        elif match := _GRANT.fullmatch(statement):
            options = tuple(_GRANT_OPTION.findall(match[3] or ""))
            memberships.append(Membership(_unquoted(match[1]), _unquoted(match[2]), options))
        elif (match := _RIGHTS.fullmatch(statement)) and (role := roles.get(_unquoted(match[1]))):
            _read_rights(role, match[2])
        elif (match := _COMMENT.fullmatch(statement)) and (role := roles.get(_unquoted(match[1]))):
            role.comment = _text(match[2])
        elif (match := _SETTING.fullmatch(statement)) and (role := roles.get(_unquoted(match[1]))):
            values = tuple(_text(value) for value in re.findall(_TEXT, match[3]))
            role.settings.append((_unquoted(match[2]), values))
    return Globals(roles, tuple(memberships))


def create_roles(
    session: Session, found: Globals, wanted: Collection[str] | None, *, whole: bool
) -> tuple[str, ...]:
    """Create the roles of `wanted` (None: all of the file) that the server lacks.

    `whole`: with rights over the whole server and memberships in existing roles, for throwaway
    servers. Return a description of what was left out. Raise RequestError if the user may not
    create roles.
    """
    there = role_names(session, every=True)
    missing = [
        role
        for name, role in found.roles.items()
        if name not in there and not name.startswith("pg_") and (wanted is None or name in wanted)
    ]
    left: list[str] = []
    for role in missing:
        left += _create(session, role, whole=whole)
    made = {role.name for role in missing}
    for membership in found.memberships:
        touched = {membership.group, membership.member}
        if not touched & made or not touched <= made | there:
            continue
        if not whole and not touched <= made:
            grant = f"GRANT {identifier(membership.group)} TO {identifier(membership.member)}"
            left.append(f"a membership was not granted: {grant}")
            continue
        left += _try(session, _grant(membership, session.version))
    return tuple(left)


def missing(
    session: Session, found: Globals, wanted: Collection[str], users: Collection[str]
) -> MissingRoles:
    """Return which roles of the file the server lacks. A server is fresh if it has no roles but its
    first one and `users`."""
    there = role_names(session, every=True)
    needed = closure(found, wanted)
    every = tuple(name for name in found.roles if name not in there and name[:3] != "pg_")
    allowed = session.value(
        "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    return MissingRoles(
        every,
        tuple(name for name in every if name in needed),
        fresh=role_names(session) <= {"postgres", *users},
        allowed=bool(allowed),
    )


def role_names(session: Session, *, every: bool = False) -> frozenset[str]:
    """Return the roles of the server; without `every`, neither PostgreSQL's own nor Quiesce's."""
    names = {str(name) for (name,) in session.rows("SELECT rolname FROM pg_roles")}
    ours = ("pg_", "quiesce_loader_")
    return frozenset(name for name in names if every or not name.startswith(ours))


def _create(session: Session, role: Role, *, whole: bool) -> list[str]:
    left: list[str] = []
    rights = list(role.rights)
    if not whole and (held := [word for word in rights if word in _SERVER_WIDE]):
        rights = [word for word in rights if word not in _SERVER_WIDE]
        left.append(
            f"role {role.name} was created without {', '.join(held)}: "
            f"ALTER ROLE {identifier(role.name)} {' '.join(held)}"
        )
    parts = [f"CREATE ROLE {identifier(role.name)}", *rights]
    if role.limit is not None:
        parts.append(f"CONNECTION LIMIT {role.limit}")
    if role.password is not None:
        parts.append(f"PASSWORD {literal(role.password)}")
    if role.until is not None:
        parts.append(f"VALID UNTIL {literal(role.until)}")
    try:
        session.run(" ".join(parts))
    except SessionError as problem:
        if problem.sqlstate == "42710":  # another session created it meanwhile
            return left
        if problem.sqlstate != "42501":
            raise
        plain = " ".join(part for part in parts if not part.startswith("PASSWORD"))
        raise RequestError(
            f"the user of {session.where} may not create role {role.name}",
            f"have a superuser run {plain}",
        ) from problem
    for setting, values in role.settings:
        texts = ", ".join(map(literal, values))
        left += _try(
            session, f"ALTER ROLE {identifier(role.name)} SET {_dotted(setting)} TO {texts}"
        )
    if role.comment is not None:
        session.run(f"COMMENT ON ROLE {identifier(role.name)} IS {literal(role.comment)}")
    return left


def _grant(membership: Membership, version: int) -> str:
    options = [one for one in membership.options if version >= 160000 or one.startswith("ADMIN")]
    more = f" WITH {', '.join(options)}" if options else ""
    return f"GRANT {identifier(membership.group)} TO {identifier(membership.member)}{more}"


def _try(session: Session, statement: str) -> list[str]:
    """Run an optional statement; return a description if it failed."""
    try:
        session.run(statement)
    except SessionError as problem:
        return [f"left out, because {problem.fact.partition(': ')[2]}: {statement}"]
    return []


def _read_rights(role: Role, text: str) -> None:
    at = 0
    while at < len(text.rstrip()):
        match = _RIGHT.match(text, at)
        if match is None:
            raise RequestError(
                f"the set's globals.sql gives role {role.name} an unknown right",
                "the file was changed by hand; use another set",
            )
        at = match.end()
        if match["word"]:
            role.rights.append(match["word"])
        elif match["limit"]:
            role.limit = int(match["limit"])
        elif match["password"]:
            role.password = _text(match["password"])
        else:
            role.until = _text(match["until"])


def _statements(text: str) -> Iterator[str]:
    """Split at semicolons outside of quotes, without comments and psql commands."""
    token = re.compile(
        rf'{_TEXT}|"(?:[^"]|"")*"|--[^\n]*|(?m:^)\\[^\n]*|;|[^;\'"\-\\]+|.', re.DOTALL
    )
    parts: list[str] = []
    for match in token.finditer(text):
        lexeme = match[0]
        if lexeme.startswith(("--", "\\")):
            continue
        if lexeme != ";":
            parts.append(lexeme)
            continue
        yield "".join(parts).strip()
        parts = []


def _dotted(setting: str) -> str:
    return ".".join(identifier(part) for part in setting.split("."))


def _unquoted(name: str) -> str:
    return ".".join(
        part[1:-1].replace('""', '"') if part.startswith('"') else part
        for part in re.findall(r'"(?:[^"]|"")+"|[^."]+', name)
    )


def _text(quoted: str) -> str:
    if quoted.startswith("E"):
        return re.sub(r"\\(.)", r"\1", quoted[2:-1].replace("''", "'"), flags=re.DOTALL)
    return quoted[1:-1].replace("''", "'")


def closure(found: Globals, wanted: Collection[str]) -> frozenset[str]:
    """Return `wanted` and every role that one of them is a member of."""
    names = set(wanted)
    while more := {m.group for m in found.memberships if m.member in names} - names:
        names |= more
    return frozenset(names)
