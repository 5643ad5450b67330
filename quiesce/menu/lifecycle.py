"""Tasks: up, start, stop, restart, rebuild, down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session

_SERVICE = "services, comma-separated (default: all)"


@command(service=_SERVICE, build="build images first")
def up(session: Session, service: str | None = None, build: bool = False) -> None:
    """Make and start services in order, and wait until healthy."""
    from quiesce.commands.lifecycle import run_up

    run_up(session, listed(service), build=build)


@command(service=_SERVICE)
def start(session: Session, service: str | None = None) -> None:
    """Start existing containers again, in dependency order."""
    from quiesce.commands.lifecycle import run_start

    run_start(session, listed(service))


@command(service=_SERVICE)
def stop(session: Session, service: str | None = None) -> None:
    """Stop services, what depends on them first."""
    from quiesce.commands.lifecycle import run_stop

    run_stop(session, listed(service))


@command(service=_SERVICE)
def restart(session: Session, service: str | None = None) -> None:
    """Stop and start services that run, and what depends on them."""
    from quiesce.commands.lifecycle import run_restart

    run_restart(session, listed(service))


@command(service=_SERVICE)
def rebuild(session: Session, service: str | None = None) -> None:
    """Build images anew and replace their containers. Volumes stay."""
    from quiesce.commands.lifecycle import run_rebuild

    run_rebuild(session, listed(service))


@command(service=_SERVICE)
def down(session: Session, service: str | None = None) -> None:
    """Remove containers and networks. Volumes stay, always."""
    from quiesce.commands.lifecycle import run_down

    run_down(session, listed(service))
