"""Tasks: up, start, stop, restart, rebuild, down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session

_SERVICE = "services, comma-separated (default: all)"


@command(service=_SERVICE, build="build images first")
def up(session: Session, service: str | None = None, build: bool = False) -> None:
    """Create and start services in dependency order, and wait until they are healthy."""
    from quiesce.commands.lifecycle import run_up

    run_up(session, listed(service), build=build)


@command(service=_SERVICE)
def start(session: Session, service: str | None = None) -> None:
    """Start existing containers in dependency order."""
    from quiesce.commands.lifecycle import run_start

    run_start(session, listed(service))


@command(service=_SERVICE)
def stop(session: Session, service: str | None = None) -> None:
    """Stop services. The services that depend on them are stopped first."""
    from quiesce.commands.lifecycle import run_stop

    run_stop(session, listed(service))


@command(service=_SERVICE)
def restart(session: Session, service: str | None = None) -> None:
    """Restart running services and the services that depend on them."""
    from quiesce.commands.lifecycle import run_restart

    run_restart(session, listed(service))


@command(service=_SERVICE)
def rebuild(session: Session, service: str | None = None) -> None:
    """Rebuild images and recreate their containers. Volumes are kept."""
    from quiesce.commands.lifecycle import run_rebuild

    run_rebuild(session, listed(service))


@command(service=_SERVICE)
def down(session: Session, service: str | None = None) -> None:
    """Remove containers and networks. All volumes are kept."""
    from quiesce.commands.lifecycle import run_down

    run_down(session, listed(service))
