"""Creates staging databases: checks what would prevent a load, creates them and completes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from typing import Any

from quiesce.adapters.postgres.catalog import locale_of
from quiesce.adapters.postgres.drop import remove
from quiesce.adapters.postgres.rename import existing, mark_of, set_mark
from quiesce.adapters.postgres.session import (
    Session,
    SessionError,
    identifier,
    literal,
    version_text,
)
from quiesce.adapters.postgres.settings import read_settings, retarget
from quiesce.adapters.servers import require_own
from quiesce.errors import RequestError
from quiesce.model import Database, DatabaseRecord
from quiesce.plan.naming import suffix_of

NAME_BYTES = 63
MOST_JOBS = 4
PROVIDERS_SINCE = 150000


def load_jobs() -> int:
    """Return how many sessions a load may use at once."""
    return max(1, min(os.cpu_count() or 1, MOST_JOBS))


def problems(
    session: Session, record: DatabaseRecord, made: Collection[str] = ()
) -> tuple[str, ...]:
    """Return everything that would prevent loading the record's dump on this server. The roles in
    `made` will exist by then."""
    found: list[str] = []
    major = int(record.server_version.split(".")[0])
    if session.version // 10000 < major:
        found.append(
            f"the dump is of PostgreSQL {record.server_version}, the server is older:"
            f" {version_text(session.version)}"
        )
    found += _extension_problems(session, record)
    found += _role_problems(session, record, made)
    found += _locale_problems(session, record)
    return tuple(found)


def create(
    session: Session,
    database: Database,
    name: str,
    record: DatabaseRecord | None,
    run: str,
    open_one: Callable[[str], Session],
) -> None:
    """Create database `name`, empty and marked as this run's.

    One that this run created is dropped first; any other is refused. `open_one` opens a session in
    a database of the server.
    """
    if not name or len(name.encode()) > NAME_BYTES:
        raise RequestError(
            f"{name!r} is not a valid name for a database",
            "names in PostgreSQL have at most 63 bytes",
        )
    if existing(session, [name]):
        require_own(database, name, run, mark_of(session, name))
        remove(session, name, open_one)
    live = bool(existing(session, [database.name]))
    like = _locale_of_record(record) if record else None
    if like is None and live:
        like = locale_of(session, database.name)
    space = _tablespace(session, database.name) if live else ""
    options = [*_locale_options(like or {"encoding": "UTF8"}, session.version), *space]
    session.run(f"CREATE DATABASE {identifier(name)} WITH TEMPLATE template0 {' '.join(options)}")
    set_mark(session, name, run)


def recreate(session: Session, name: str, run: str, open_one: Callable[[str], Session]) -> None:
    """Create database `name` of this run again, empty, with the same options."""
    if not name.endswith(f"_{suffix_of(run)}") and mark_of(session, name) != run:
        raise RequestError(
            f"database {name} was not created by this run", "run 'inv recover', then try again"
        )
    like = locale_of(session, name)
    options = [*_locale_options(like, session.version), *_tablespace(session, name)]
    remove(session, name, open_one)
    session.run(f"CREATE DATABASE {identifier(name)} WITH TEMPLATE template0 {' '.join(options)}")
    set_mark(session, name, run)


def require_empty(session: Session, name: str) -> None:
    """Raise RequestError if the database contains user objects."""
    found = session.rows(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        " LIMIT 1"
    )
    if found:
        raise RequestError(
            f"database {name} is not empty: it has {'.'.join(found[0])}",
            "dumps are only loaded into new databases",
        )


def finish(
    session: Session, database: Database, name: str, record: DatabaseRecord | None, run: str
) -> None:
    """Give database `name` the owner, settings, grants and comment of the record, or of the live
    database. It stays marked as this run's."""
    if record is not None:
        owner, settings = record.owner, record.settings
    elif existing(session, [database.name]) and name != database.name:
        owner = str(locale_of(session, database.name)["owner"])
        settings = read_settings(session, database.name)
    else:
        return
    statements = [retarget(statement, name) for statement in settings]
    session.run(f"ALTER DATABASE {identifier(name)} OWNER TO {identifier(owner)}")
    for statement in statements:
        session.run(statement)
    set_mark(session, name, run)


def _extension_problems(session: Session, record: DatabaseRecord) -> list[str]:
    rows = session.rows("SELECT name, default_version FROM pg_available_extensions")
    available: dict[str, str] = {name: version or "" for name, version in rows}
    found: list[str] = []
    for extension in record.extensions:
        version = available.get(extension.name)
        if version is None:
            found.append(
                f"the server's image does not have the extension {extension.name}"
                f" {extension.version}"
            )
        elif _numbers(version) < _numbers(extension.version):
            found.append(
                f"the server's image has the extension {extension.name} {version},"
                f" the dump needs {extension.version}"
            )
    return found


def _role_problems(session: Session, record: DatabaseRecord, made: Collection[str]) -> list[str]:
    there = {role for (role,) in session.rows("SELECT rolname FROM pg_roles")}
    return [
        f"the server has no role {role}; create it as in databases/globals.sql of the set"
        for role in sorted({*record.roles, record.owner} - there - set(made))
    ]


def _locale_problems(session: Session, record: DatabaseRecord) -> list[str]:
    if record.locale_provider != "libc":
        provider = {"icu": "i", "builtin": "b"}[record.locale_provider]
        known = session.rows(
            "SELECT 1 FROM pg_collation WHERE collprovider = %s LIMIT 1", [provider]
        )
        if not known:
            return [f"the server has no locales of provider {record.locale_provider}"]
    found: list[str] = []
    for locale in sorted({record.collate, record.ctype}):
        try:
            # accepts exactly the locales that the system has
            session.run("SELECT set_config('lc_time', %s, false)", [locale])
        except SessionError:
            found.append(f"the server's image does not have the locale {locale}")
    session.run("RESET lc_time")
    return found


def _locale_of_record(record: DatabaseRecord) -> dict[str, Any]:
    return {
        "encoding": record.encoding,
        "collate": record.collate,
        "ctype": record.ctype,
        "locale_provider": record.locale_provider,
        "locale": record.locale,
    }


def _locale_options(like: dict[str, Any], version: int) -> list[str]:
    options = [f"ENCODING {literal(like['encoding'])}"]
    if "collate" not in like:
        return options
    options += [f"LC_COLLATE {literal(like['collate'])}", f"LC_CTYPE {literal(like['ctype'])}"]
    provider = like["locale_provider"]
    if provider == "icu":
        options += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {literal(like['locale'])}"]
    elif provider == "builtin":
        options += ["LOCALE_PROVIDER builtin", f"BUILTIN_LOCALE {literal(like['locale'])}"]
    elif version >= PROVIDERS_SINCE:
        options.append("LOCALE_PROVIDER libc")  # otherwise it would be that of template0
    return options


def _tablespace(session: Session, name: str) -> list[str]:
    space = session.value(
        "SELECT t.spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace"
        " WHERE d.datname = %s",
        [name],
    )
    return [] if space == "pg_default" else [f"TABLESPACE {identifier(space)}"]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
