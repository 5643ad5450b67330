"""Users and roles of a server: written as SQL, read back, and created where they are missing.

The file is written from what the server shows (SHOW CREATE USER, SHOW GRANTS), one statement per
line, and only such lines are run again. Without passwords, a user whose password is left out gets
one that nobody knows. Grants of PROXY are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from quiesce.adapters.mariadb.errors import SessionError
from quiesce.adapters.mariadb.session import Session, identifier
from quiesce.errors import QuiesceError, RequestError

#: Accounts that every server has.
OWN = frozenset({"mariadb.sys@localhost", "mysql@localhost", "PUBLIC"})
_NOBODY_KNOWS = " IDENTIFIED VIA mysql_native_password USING 'invalid'"
_CANNOT_BE_SHOWN = 1133

_NAME = r"`(?:[^`]|``)*`"
_ACCOUNT = rf"(?P<account>{_NAME}(?:@{_NAME})?)"
_STRING = r"'(?:[^'\\]|\\.|'')*'"
_SHOWN = re.compile(
    rf"CREATE USER {_ACCOUNT}(?P<by> IDENTIFIED (?:BY PASSWORD {_STRING}|VIA \w+"
    rf"(?: (?:USING|AS) {_STRING})?(?: OR \w+(?: (?:USING|AS) {_STRING})?)*))?(?P<rest>.*)"
)
#: The rest of a global grant repeats what SHOW CREATE USER says.
_GLOBAL = re.compile(rf"GRANT (?P<what>.+?) ON \*\.\* TO {_ACCOUNT}(?P<rest>.*)")
_CREATE = re.compile(rf"CREATE (?:USER|ROLE) IF NOT EXISTS {_ACCOUNT}(?P<rest>[^;]*);")
_GRANT = re.compile(
    rf"GRANT (?P<what>[^;]+?)(?P<on> ON [^;]+?)? TO {_ACCOUNT}(?: WITH (?:GRANT|ADMIN) OPTION)?;"
)
_DEFAULT = re.compile(rf"SET DEFAULT ROLE {_NAME} FOR {_ACCOUNT};")
_ROLE = re.compile(_NAME)


@dataclass
class Account:
    """A user or role, `name@host` or the name of a role, with the statements that make it."""

    create: str
    grants: list[str] = field(default_factory=list)


def write_users(session: Session, *, with_passwords: bool) -> str:
    """Return a script with the users and roles of the server. Raise QuiesceError if the user may
    not read them."""
    lines = [
        f"-- Users and roles of MariaDB {session.version_text}, "
        + ("with passwords" if with_passwords else "without passwords")
    ]
    grants: list[str] = []
    for user, host, role in session.rows(
        "SELECT user, host, is_role FROM mysql.user ORDER BY is_role DESC, user, host"
    ):
        is_role = role == "Y"
        account = quoted(user, None if is_role else host)
        if name_of(account) in OWN or not user:
            continue
        try:
            if is_role:
                lines.append(f"CREATE ROLE IF NOT EXISTS {account};")
            else:
                shown = str(session.value(f"SHOW CREATE USER {account}"))
                lines.append(_created(shown, with_passwords=with_passwords))
            shown_grants = [str(one) for (one,) in session.rows(f"SHOW GRANTS FOR {account}")]
        except SessionError as problem:
            if problem.code != _CANNOT_BE_SHOWN:
                raise
            # With skip_name_resolve, nobody can log in as a user of a named host either.
            lines.append(f"-- {account} is not kept: the server does not use it")
            continue
        grants += [_granted(one) for one in shown_grants if not one.startswith("GRANT PROXY")]
    for line in (*lines, *grants):
        if "\n" in line:
            raise QuiesceError(
                f"the user or grant {line.splitlines()[0]} … cannot be written on one line",
                "rename the user, or drop the grant",
            )
    return "\n".join([*lines, *grants]) + "\n"


def read_users(script: str) -> dict[str, Account]:
    """Return the users and roles of a script, by name. Raise RequestError for any other line."""
    found: dict[str, Account] = {}
    for number, line in enumerate(script.splitlines(), 1):
        if not line.strip() or line.startswith("--"):
            continue
        match = _CREATE.fullmatch(line)
        if match:
            found[name_of(match["account"])] = Account(line)
            continue
        match = _GRANT.fullmatch(line) or _DEFAULT.fullmatch(line)
        owner = found.get(name_of(match["account"])) if match else None
        if owner is None:
            raise RequestError(
                f"line {number} of the set's users is not one that Quiesce writes",
                "run 'inv verify' on the set",
            )
        owner.grants.append(line)
    return found


def existing_users(session: Session) -> frozenset[str]:
    """Return the names of the users and roles of the server."""
    return frozenset(
        name_of(quoted(user, None if role == "Y" else host))
        for user, host, role in session.rows("SELECT user, host, is_role FROM mysql.user")
    )


def needed_users(
    accounts: Mapping[str, Account], database: str, wanted: Collection[str]
) -> frozenset[str]:
    """Return those of `wanted`, those with grants on a database, and the roles that they have."""
    where = re.compile(rf" ON (?:\w+ )?{re.escape(_pattern(database))}\.")
    exact = re.compile(rf" ON (?:\w+ )?{re.escape(identifier(database))}\.")
    needed = {
        name
        for name, account in accounts.items()
        if name in wanted or any(where.search(g) or exact.search(g) for g in account.grants)
    }
    rest = list(needed)
    while rest:
        for role in accounts[rest.pop()].grants:
            match = _GRANT.fullmatch(role)
            if match and not match["on"] and _ROLE.fullmatch(match["what"]):
                name = name_of(match["what"])
                if name in accounts and name not in needed:
                    needed.add(name)
                    rest.append(name)
    return frozenset(needed)


def create_users(
    session: Session, accounts: Mapping[str, Account], names: Iterable[str], *, whole: bool
) -> tuple[str, ...]:
    """Create these accounts, unless they exist, with their grants. Without `whole`, without grants
    on the whole server. Return what was left out, in words."""
    there = existing_users(session)
    due = [name for name in accounts if name in set(names) - there]
    left: list[str] = []
    for name in due:
        session.run(accounts[name].create.removesuffix(";"))
        if "USING 'invalid'" in accounts[name].create:
            left.append(f"{name} has no password: set one with ALTER USER … IDENTIFIED BY")
    for name in due:
        for grant in accounts[name].grants:
            if " ON *.* TO " in grant and not grant.startswith("GRANT USAGE ") and not whole:
                left.append(f"not granted, because it is a right on the whole server: {grant}")
                continue
            try:
                session.run(grant.removesuffix(";"))
            except SessionError as problem:
                left.append(f"not granted ({problem.fact}), run it after the restore: {grant}")
    return tuple(left)


def quoted(user: str, host: str | None) -> str:
    """Return an account as it is written in SQL; roles have no host."""
    return identifier(user) + (f"@{identifier(host)}" if host is not None else "")


def name_of(account: str) -> str:
    """Return the name of an account in messages and records: `app@%`."""
    return "@".join(part[1:-1].replace("``", "`") for part in re.findall(_NAME, account))


def _created(shown: str, *, with_passwords: bool) -> str:
    match = _SHOWN.fullmatch(shown)
    if match is None:
        raise QuiesceError(f"the server shows a user in an unknown way: {shown[:60]} …")
    by = match["by"] or ""
    secret = "'" in by
    identified = _NOBODY_KNOWS if secret and not with_passwords else by
    return f"CREATE USER IF NOT EXISTS {match['account']}{identified}{match['rest']};"


def _granted(shown: str) -> str:
    if match := _GLOBAL.fullmatch(shown):
        option = " WITH GRANT OPTION" if " WITH GRANT OPTION" in match["rest"] else ""
        return f"GRANT {match['what']} ON *.* TO {match['account']}{option};"
    return f"{shown};"


def _pattern(name: str) -> str:
    return identifier(name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
