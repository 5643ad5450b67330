"""Tasks: up, start, stop, restart, rebuild, down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import App

_SERVICE = "services, comma-separated (default: all)"


@command(service=_SERVICE, build="build images first")
def up(app: App, service: str | None = None, build: bool = False) -> None:
    """Make and start services in order, and wait until healthy."""
    app.up(listed(service), build=build)


@command(service=_SERVICE)
def start(app: App, service: str | None = None) -> None:
    """Start existing containers again, in dependency order."""
    app.start(listed(service))


@command(service=_SERVICE)
def stop(app: App, service: str | None = None) -> None:
    """Stop services, what depends on them first."""
    app.stop(listed(service))


@command(service=_SERVICE)
def restart(app: App, service: str | None = None) -> None:
    """Stop and start services that run, and what depends on them."""
    app.restart(listed(service))


@command(service=_SERVICE)
def rebuild(app: App, service: str | None = None) -> None:
    """Build images anew and replace their containers. Volumes stay."""
    app.rebuild(listed(service))


@command(service=_SERVICE)
def down(app: App, service: str | None = None) -> None:
    """Remove containers and networks. Volumes stay, always."""
    app.down(listed(service))
