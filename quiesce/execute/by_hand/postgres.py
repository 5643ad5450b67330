"""How to restore PostgreSQL databases of a set with `psql` and `pg_restore`. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from quiesce.model import DatabaseRecord, SetKind
from quiesce.obstacles import flag_for
from quiesce.plan.naming import connection_name

_PROVIDERS_SINCE = 15
#: Not a partitioned table, which has no rows of its own, nor one of an extension.
_EMPTY = """\
SELECT 'TRUNCATE ONLY ' || string_agg(c.oid::regclass::text, ', ONLY ')
  FROM pg_class c WHERE c.relkind = 'r' AND c.oid = ANY (ARRAY[TABLES]::regclass[])
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e') \\gexec"""


def server(where: str, globals_: Sequence[str]) -> str:
    """Return how to prepare a server for its databases: connection and roles."""
    text = (
        f"## Server{where}\n\nThe commands connect to the server that PGHOST, PGPORT and "
        "PGPASSWORD specify, as its superuser `postgres`. If the superuser has another name, "
        "change it in `-U` and `PGUSER`.\n"
    )
    for file in globals_:
        text += (
            "\nCreate the roles first. Ignore errors about roles that already "
            f"exist:\n\n```sh\npsql -X -q -U postgres -d postgres -f {file}\n```\n"
        )
    return text


def database(record: DatabaseRecord, kind: SetKind, settings: str) -> str:
    """Return how to restore a database, also one that a plain `pg_restore` cannot restore."""
    text = _database(record, kind, settings)
    # Paragraphs are separated by an empty line.
    return f"{text}\n{_obstacles(record)}" if record.obstacles and kind == "full" else text


def _database(record: DatabaseRecord, kind: SetKind, settings: str) -> str:
    name = shlex.quote(connection_name(record.name))
    dump = shlex.quote(f"databases/{record.key}.dump")
    revision = ", ".join(record.revision) or "none"
    about = (
        f"## Database {record.name}\n\n"
        f"PostgreSQL {record.server_version}, encoding {record.encoding}, revision {revision}. "
    )
    if kind == "data":
        return about + _rows(record, name, dump, revision)
    what = "This is its schema, without rows. " if kind == "schema" else ""
    tail = (
        "Apply the database's own settings, grants and comment "
        f"last:\n\n```sh\n{_settings(settings)}\n```\n"
        if settings
        else ""
    )
    return (
        f"{about}{what}Restore it into a new database, with client programs of the same or a "
        "newer version. If the server does not have the locale, omit it from `createdb`; if it "
        "does not have a tablespace, add `--no-tablespaces` to "
        f"`pg_restore`.\n\n```sh\n{_createdb(record)}\npg_restore -U postgres --exit-on-error -j "
        f"2 -d {name} {dump}\npsql -X -U postgres -d {name} -c ANALYZE\n```\n{tail}"
    )


def _createdb(record: DatabaseRecord) -> str:
    options = [
        "-T template0",
        f"-E {shlex.quote(record.encoding)}",
        f"--lc-collate={shlex.quote(record.collate)}",
        f"--lc-ctype={shlex.quote(record.ctype)}",
    ]
    if int(record.server_version.partition(".")[0]) >= _PROVIDERS_SINCE:
        options.append(f"--locale-provider={record.locale_provider}")
        if record.locale is not None:
            options.append(f"--{record.locale_provider}-locale={shlex.quote(record.locale)}")
    owner = f"--owner={shlex.quote(record.owner)}"
    return f"createdb -U postgres {owner} {' '.join(options)} -- {shlex.quote(record.name)}"


def _settings(file: str) -> str:
    script = f"import json; [print(s + ';') for s in json.load(open({file!r}))]"
    psql = "psql -X -q -v ON_ERROR_STOP=1 -U postgres -d postgres"
    return f"python3 -c {shlex.quote(script)} | {psql}"


def _rows(record: DatabaseRecord, name: str, dump: str, revision: str) -> str:
    """Return how to load rows into an existing schema."""
    parts = re.findall(r'"((?:[^"]|"")*)"', record.version_table or "")
    version = tuple(part.replace('""', '"') for part in parts)
    tables = [
        f"{_identifier(table.schema)}.{_identifier(table.name)}"
        for table in record.tables
        if table.schema != "pg_catalog" and (table.schema, table.name) != version
    ]
    commands = []
    if tables:
        listed = ", ".join("'" + one.replace("'", "''") + "'" for one in tables)
        commands = [
            f"psql -X -q -v ON_ERROR_STOP=1 -U postgres -d {name} <<'END_OF_SQL'",
            _EMPTY.replace("TABLES", listed),
            "END_OF_SQL",
        ]
    entries, toc = f"pg_restore -l {dump}", ""
    if len(version) == 2:
        # Without the version table: the target has its own row, and two would break migrations.
        line = " TABLE DATA " + " ".join(map(_in_pattern, version)) + " "
        commands.append(f"{entries} | grep -v {shlex.quote(line)} > toc")
        toc = "-L toc "
    commands += [
        "pg_restore -U postgres --exit-on-error --single-transaction --disable-triggers "
        f"--data-only {toc}-d {name} {dump}",
        f"psql -X -U postgres -d {name} -c ANALYZE",
    ]
    joined = "\n".join(commands)
    return (
        "The set contains its rows only. Create a database whose schema is at exactly revision "
        f"{revision}. These commands empty its tables (including seed rows) and load the rows as "
        f"a superuser:\n\n```sh\n{joined}\n```\n"
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _in_pattern(text: str) -> str:
    return re.sub(r"([][\\.*^$])", r"\\\1", text)


def _obstacles(record: DatabaseRecord) -> str:
    """Return why the commands above fail, and how to restore in parts."""
    facts = "\n".join(f"- {' '.join(o.fact.split())}" for o in record.obstacles)
    flags = sorted({flag_for(o, record.server_version) for o in record.obstacles} - {""})
    given = f" (with `{' '.join(flags)}`)" if flags else ""
    path = ", ".join('"' + s.replace('"', '""') + '"' for s in record.search_path) or '"public"'
    return (
        f"### Obstacles to pg_restore\n\nThe dump of {record.name} is complete, but `pg_restore "
        f"--exit-on-error` fails at one of these:\n\n{facts}\n\nQuiesce can restore it{given}. "
        "By hand, load it in three parts, with `--section=pre-data`, `--section=data` and "
        "`--section=post-data`:\n\n1. After the first part, run "
        f"`ALTER FUNCTION … SET search_path = {path};` for each function named "
        "above, and drop the checks named above (`ALTER TABLE … DROP CONSTRAINT …`).\n2. After "
        "the second part, add these checks again, as defined in the first part (`pg_restore "
        "--section=pre-data -f - …`).\n3. Load the third part without `--exit-on-error`. If a "
        "foreign key fails, add it with `NOT VALID` at the end of its definition; before "
        "PostgreSQL 18, omit a foreign key of a partitioned table. Then run "
        "`ALTER FUNCTION … RESET search_path;` for each function.\n"
    )
