"""Tasks: migrate, migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    database="databases, comma-separated (default: all that have migrations)",
    revision="the Alembic revision to migrate to",
)
def migrate(session: Session, database: str | None = None, revision: str = "head") -> None:
    """Migrate databases. Of the services, only their servers need to be running."""
    from quiesce.commands.migrate import run_migrate

    run_migrate(session, listed(database), revision)


@command(
    changes=False,
    database="databases, comma-separated (default: all that have migrations)",
)
def migrations(session: Session, database: str | None = None) -> None:
    """Show the current, newest and pending revisions of each database."""
    from quiesce.commands.migrate import run_migrations

    run_migrations(session, listed(database))
