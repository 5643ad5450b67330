"""The two schema histories of the example stack, on a real PostgreSQL."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, text

from tests.stack.conftest import PASSWORD, ROOT, Databases

pytestmark = pytest.mark.postgres

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
HISTORIES = ("alembic.ini", "rulesdb"), ("alembic_memorydb.ini", "memorydb")
each_history = pytest.mark.parametrize(("ini", "attribute"), HISTORIES)


def open_engine(databases: Databases, name: str) -> Engine:
    """An engine whose connections the caller owns."""
    address = databases.server.address(name)
    url = URL.create(
        "postgresql+psycopg2",
        username=address["user"],
        password=address["password"],
        host=address["host"],
        port=address["port"],
        database=name,
    )
    return create_engine(url, poolclass=NullPool)


def configure(ini: str, connection: Connection) -> Config:
    """What a program gives Alembic that has a connection already."""
    config = Config(str(ROOT / ini))
    config.attributes["connection"] = connection
    return config


@each_history
def test_every_downgrade_takes_back_what_its_upgrade_made(
    databases: Databases, ini: str, attribute: str
) -> None:
    """Up step by step, down step by step: the schema at each revision is the same both times."""
    name = getattr(databases, attribute)
    seen = []
    for _ in databases.alembic(ini, "history").splitlines():
        databases.alembic(ini, "upgrade", "+1")
        seen.append(databases.server.describe_schema(name))
    assert "(head)" in databases.alembic(ini, "current")
    assert len(set(seen)) == len(seen)
    for earlier in reversed(seen[:-1]):
        databases.alembic(ini, "downgrade", "-1")
        assert databases.server.describe_schema(name) == earlier
    databases.alembic(ini, "downgrade", "base")
    tables = databases.server.execute(
        name, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    assert tables == [("alembic_version",)]
    databases.alembic(ini, "upgrade", "head")
    assert databases.server.describe_schema(name) == seen[-1]


@each_history
def test_the_history_has_one_head_and_at_least_three_revisions_of_its_own(
    databases: Databases, ini: str, attribute: str
) -> None:
    """The histories are isolated: every revision carries the name of its database."""
    assert len(databases.alembic(ini, "heads").splitlines()) == 1
    history = databases.alembic(ini, "history").splitlines()
    assert len(history) >= 3
    assert all(f"{attribute}_" in line.split(",")[0] for line in history)


@each_history
def test_the_statements_printed_without_a_database_make_the_same_schema(
    databases: Databases, ini: str, attribute: str
) -> None:
    """`upgrade --sql` is complete, data migrations included."""
    name = getattr(databases, attribute)
    statements = databases.alembic(ini, "upgrade", "head", "--sql")
    databases.server.execute(name, statements)
    printed = databases.server.describe_schema(name)
    databases.server.execute("postgres", f"DROP DATABASE {name}")
    databases.server.execute("postgres", f"CREATE DATABASE {name}")
    databases.alembic(ini, "upgrade", "head")
    assert databases.server.describe_schema(name) == printed


def test_rules_from_before_the_slugs_get_one(databases: Databases) -> None:
    """The data migration fills the new NOT NULL column from the old title, also from odd ones."""
    run = databases.server.execute
    databases.alembic("alembic.ini", "upgrade", "rulesdb_0002")
    run(databases.rulesdb, "INSERT INTO projects (name) VALUES ('p')")
    titles = ["No Tabs!", "  --  ", "Ärger, groß", "a" * 200]
    for title in titles:
        run(
            databases.rulesdb,
            "INSERT INTO rules (project_id, severity_id, title) VALUES (1, 2, %s)",
            title,
        )
    databases.alembic("alembic.ini", "upgrade", "head")
    slugs = [slug for (slug,) in run(databases.rulesdb, "SELECT slug FROM rules ORDER BY id")]
    assert slugs == ["no-tabs", "rule", "rger-gro", "a" * 200]


def test_memories_keep_the_importance_they_had_in_their_metadata(databases: Databases) -> None:
    """Numbers are taken over within the range; everything else gets the default."""
    run = databases.server.execute
    databases.alembic("alembic_memorydb.ini", "upgrade", "memorydb_0002")
    for metadata in ('{"importance": 0.25}', '{"importance": 7}', '{"importance": "high"}', "{}"):
        run(
            databases.memorydb,
            "INSERT INTO memories (content, embedding, metadata)"
            " VALUES ('x', array_fill(1, ARRAY[384])::vector, %s)",
            metadata,
        )
    databases.alembic("alembic_memorydb.ini", "upgrade", "head")
    found = run(databases.memorydb, "SELECT importance FROM memories ORDER BY id")
    assert found == [(0.25,), (1.0,), (0.5,), (0.5,)]


def test_a_migration_seeds_the_severities(databases: Databases) -> None:
    """A migrated, otherwise empty database holds rows already: a data-only restore meets them."""
    databases.alembic("alembic.ini", "upgrade", "head")
    names = databases.server.execute(
        databases.rulesdb, "SELECT name FROM severities ORDER BY weight"
    )
    assert names == [("hint",), ("warning",), ("error",), ("critical",)]


@each_history
def test_a_url_wins_over_the_parts(databases: Databases, ini: str, attribute: str) -> None:
    """The password comes percent-encoded in a URL, and as it is in POSTGRES_PASSWORD."""
    name = getattr(databases, attribute)
    url = (
        f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{databases.server.port}/{name}"
    )
    changes = {f"{attribute.upper()}_URL": url, "POSTGRES_PORT": "1", "POSTGRES_PASSWORD": "wrong"}
    databases.alembic(ini, "upgrade", "head", **changes)
    assert "(head)" in databases.alembic(ini, "current")


def test_the_published_port_of_an_env_file_is_enough(databases: Databases, tmp_path: Path) -> None:
    """DB_PORT is what the env file of an instance has; POSTGRES_PORT is what a container gets."""
    port = databases.environment["POSTGRES_PORT"]
    databases.alembic("alembic.ini", "upgrade", "head", POSTGRES_PORT="", DB_PORT=port)
    assert "rulesdb_0003 (head)" in databases.alembic("alembic.ini", "current")


def test_both_histories_run_in_one_process_on_the_connections_given(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's connections are used, whatever the environment says, and each gets its own."""
    monkeypatch.setenv("RULESDB_URL", NOWHERE)
    monkeypatch.setenv("MEMORYDB_URL", NOWHERE)
    for ini, attribute in HISTORIES:
        with open_engine(databases, getattr(databases, attribute)).connect() as connection:
            command.upgrade(configure(ini, connection), "head")
            assert not connection.closed
    for name, table in ((databases.rulesdb, "rules"), (databases.memorydb, "memories")):
        found = databases.server.execute(
            name,
            "SELECT array_agg(x.t IS NOT NULL) FROM (VALUES (to_regclass('rules')),"
            " (to_regclass('memories'))) AS x (t)",
        )
        assert found == [([table == "rules", table == "memories"],)]


@each_history
def test_a_transaction_of_the_caller_is_left_to_the_caller(
    databases: Databases, ini: str, attribute: str
) -> None:
    """With a transaction open on the given connection, its rollback takes the migration back."""
    name = getattr(databases, attribute)
    with open_engine(databases, name).connect() as connection:
        transaction = connection.begin()
        command.upgrade(configure(ini, connection), "head")
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
        transaction.rollback()
    assert databases.server.execute(name, "SELECT to_regclass('alembic_version')") == [(None,)]


@each_history
def test_a_migration_does_not_wait_for_a_lock_for_ever(
    databases: Databases, ini: str, attribute: str
) -> None:
    """The limit holds on the caller's connection too, and leaves it usable."""
    with open_engine(databases, getattr(databases, attribute)).connect() as connection:
        command.current(configure(ini, connection))
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "10s"


def test_logging_of_the_calling_program_is_left_alone(databases: Databases) -> None:
    """A program that migrates keeps its loggers, their levels and their handlers."""
    logger = logging.getLogger("tests.stack.existing")
    logger.setLevel(logging.DEBUG)
    handlers = list(logging.getLogger().handlers)
    with open_engine(databases, databases.rulesdb).connect() as connection:
        command.upgrade(configure("alembic.ini", connection), "head")
    assert (logger.disabled, logger.level) == (False, logging.DEBUG)
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO projects (name) VALUES ('')",
        "INSERT INTO projects (name, settings) VALUES ('p', '[]')",
        "INSERT INTO tags (name) VALUES ('Upper')",
        "INSERT INTO rules (project_id, severity_id, title, slug) VALUES (99, 1, 't', 't')",
        "INSERT INTO projects (id, name) VALUES (5, 'an identity that is always generated')",
    ],
)
def test_the_schema_refuses(databases: Databases, statement: str) -> None:
    """Constraints are real, so that a restore has something to violate."""
    databases.alembic("alembic.ini", "upgrade", "head")
    with pytest.raises((psycopg2.IntegrityError, psycopg2.ProgrammingError)):
        databases.server.execute(databases.rulesdb, statement)
