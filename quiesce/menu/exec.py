"""Tasks: logs, exec, shell, db-shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    changes=False,
    service="services, comma-separated (default: all)",
    lines="number of last lines to print",
    follow="follow the logs: also print every new line",
)
def logs(
    session: Session, service: str | None = None, lines: int = 100, follow: bool = False
) -> None:
    """Print the last lines that services logged."""
    from quiesce.commands.exec import run_logs

    run_logs(session, listed(service), lines, follow=follow)


@command(changes=False, name="exec", service="the service in which to run the program")
def exec_(session: Session, service: str | None = None) -> None:
    """Run a program in a service: inv exec --service S -- PROGRAM ARGUMENTS."""
    from quiesce.app.requests import program
    from quiesce.commands.exec import run_exec

    run_exec(session, service, program(_after_dashes()))


@command(changes=False, service="the service in which to open the shell")
def shell(session: Session, service: str | None = None) -> None:
    """Open a shell in a service."""
    from quiesce.commands.exec import run_exec

    run_exec(session, service, ())


@command(changes=False, database="the database (default: the first in stack.yaml)")
def db_shell(session: Session, database: str | None = None) -> None:
    """Open psql in a database. Arguments after -- are passed to psql."""
    from quiesce.commands.exec import run_database_shell

    run_database_shell(session, database, _after_dashes())


def _after_dashes() -> tuple[str, ...]:
    """Return the arguments after the first `--` as they were given: Invoke joins them."""
    arguments = sys.argv[1:]
    return tuple(arguments[arguments.index("--") + 1 :]) if "--" in arguments else ()
