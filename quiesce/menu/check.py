"""Tasks: status, check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import App


@command(changes=False)
def status(app: App) -> None:
    """Show services, databases, volumes and the last backup."""
    app.status()


@command(changes=False)
def check(app: App) -> None:
    """Compare stack.yaml with the Compose model and the servers."""
    app.check()
