"""Alembic environment of the database memorydb.

The connection comes from the caller if there is one: ``config.attributes["connection"]``, an open
SQLAlchemy connection to the database to migrate. It is used unchanged and stays open; the caller
ends its transaction.

Otherwise, as on the command line, the address is read from the environment:

``MEMORYDB_URL``
    a PostgreSQL URL (``%`` and ``@`` in the password percent-encoded, as in every URL), or
``POSTGRES_HOST``, ``POSTGRES_PORT`` (or ``DB_PORT``), ``POSTGRES_USER``, ``POSTGRES_PASSWORD``
    taken literally, with any characters; 127.0.0.1, 5432 and postgres when not set, with
    ``MEMORYDB_NAME`` (memorydb) for the database.

This environment and the one of rulesdb share nothing, not even a module: two environments that run
in one process would otherwise see whichever module was imported first.
"""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text

LOCK_TIMEOUT = "10s"


def read_url() -> URL:
    """Return the address from the environment, always for psycopg2."""
    if url := os.environ.get("MEMORYDB_URL"):
        return make_url(url).set(drivername="postgresql+psycopg2")
    return URL.create(
        "postgresql+psycopg2",
        username=os.environ.get("POSTGRES_USER") or "postgres",
        password=os.environ.get("POSTGRES_PASSWORD"),
        host=os.environ.get("POSTGRES_HOST") or "127.0.0.1",
        port=int(os.environ.get("POSTGRES_PORT") or os.environ.get("DB_PORT") or "5432"),
        database=os.environ.get("MEMORYDB_NAME") or "memorydb",
    )


def limit_lock_waits(connection: Connection) -> None:
    """Let a migration give up, rather than queue every reader of a table behind itself."""
    if connection.in_transaction():
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        return
    # ended before Alembic looks: it takes a transaction that is already open for the caller's own,
    # and would then leave the commit to the caller
    with connection.begin():
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))


def migrate(connection: Connection) -> None:
    """Run what was asked for; every revision is a transaction of its own."""
    limit_lock_waits(connection)
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def print_sql() -> None:
    """Write the statements to standard output without a database (``alembic upgrade --sql``)."""
    context.configure(dialect_name="postgresql", literal_binds=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def run() -> None:
    """Migrate the caller's connection, or one made from the environment."""
    config = context.config
    # only for the alembic command itself: a program that calls Alembic has its own logging
    if config.cmd_opts is not None and config.config_file_name is not None:
        fileConfig(config.config_file_name, disable_existing_loggers=False)
    if context.is_offline_mode():
        print_sql()
        return
    connection = config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    engine = create_engine(read_url(), poolclass=NullPool)
    with engine.connect() as connection:
        migrate(connection)


run()
