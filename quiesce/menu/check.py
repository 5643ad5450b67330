"""Tasks: status, volumes, check, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import App


@command(everywhere=True, changes=False)
def status(app: App) -> None:
    """Show services, databases, volumes and the last backup."""
    app.status()


@command(changes=False, max_size="exit 7 for a volume above this size, like 10GiB")
def volumes(app: App, max_size: str | None = None) -> None:
    """List the volumes: purpose, size, where they are, how they are kept."""
    app.volumes(max_size)


@command(everywhere=True, changes=False)
def check(app: App) -> None:
    """Compare stack.yaml with the Compose model and the servers."""
    app.check()


@command(everywhere=True, changes=False)
def doctor(app: App) -> None:
    """Check everything that a backup or a restore relies on."""
    app.doctor()
