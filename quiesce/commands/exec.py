"""The verbs `logs`, `exec`, `shell` and `db-shell`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quiesce.app.session import Session
from quiesce.app.shell_watch import watch
from quiesce.errors import RequestError
from quiesce.suggest import suggest

if TYPE_CHECKING:
    from quiesce.ports import CommandLine

#: bash if the image has it, otherwise sh.
_SHELL = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"


def run_logs(session: Session, names: Sequence[str], lines: int, *, follow: bool) -> None:
    """Print the last lines of services' logs, and with `follow` each new one."""
    with session.connected() as (ports, _):
        known = ports.runtime.services()
        _refuse_unknown(names, [service.name for service in known])
        wanted = tuple(names) or tuple(service.name for service in known if service.units)
        if not follow:
            text = "".join(_named(n, ports.runtime.logs(n, lines)) for n in wanted)
            session.reporter.text(text)
            return
        command = ports.project.follow_logs(wanted, lines)
    _become(session, command)


def run_exec(session: Session, service: str | None, argv: Sequence[str]) -> None:
    """Run a program in a service, or a shell if no program is given. The command exits with its
    exit code."""
    if service is None:
        raise RequestError("no service was given", "add --service NAME")
    with session.connected() as (ports, _):
        _refuse_unknown([service], [entry.name for entry in ports.runtime.services()])
        if service in ports.project.bare_servers():
            session.reporter.warn(
                f"PostgreSQL is PID 1 in {service}: if a program that you leave running here ends "
                "later, PostgreSQL may terminate all sessions and recover; 'init: true' for the "
                "service prevents that"
            )
        command = ports.project.command_in_service(
            service, tuple(argv) or ("sh", "-c", _SHELL), {}, terminal=_has_terminal()
        )
    _become(session, command)


def run_database_shell(session: Session, key: str | None, argv: Sequence[str]) -> None:
    """Replace this process with the client of a database's server, in its service. `argv` are
    arguments of that client."""
    if not session.stack.databases:
        raise RequestError("stack.yaml declares no databases", "add one to 'databases'")
    keys = [database.key for database in session.stack.databases]
    if key is not None and key not in keys:
        raise RequestError(f"there is no database {key}", suggest(key, keys))
    database = session.stack.database(key or keys[0])
    if key is None and len(keys) > 1:
        session.reporter.warn(f"opening {database.key}; choose another with --database")
    run = session.new_run_id()
    with session.connected() as (ports, _):
        client = ports.databases.shell(database, argv, run)
        # In a separate PID namespace: a pager that outlives the client would become the server's
        # child.
        command = ports.project.command_beside(
            database.service,
            client.argv,
            client.environment,
            terminal=client.typed and _has_terminal(),
        )
    watch(session.stack, run, session.options.environ)
    _become(session, command)


def _become(session: Session, command: CommandLine) -> None:
    from quiesce.adapters.process.terminal import become

    # Quiesce must write nothing once another program has the terminal.
    session.reporter.close()
    become(command)


def _refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise RequestError(f"there is no service {name}", suggest(name, known))


def _named(service: str, text: str) -> str:
    lines = text.splitlines()
    return "".join(f"{service} | {line}\n" for line in lines)


def _has_terminal() -> bool:
    from quiesce.adapters.process.terminal import has_terminal

    return has_terminal()
