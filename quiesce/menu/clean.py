"""Tasks: clean, clean-containers, clean-logs, clean-cache, clean-all, nuke."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import App

_FORCE = "lose also databases that stack.yaml does not know"


@command()
def clean(app: App) -> None:
    """Remove containers and networks. Volumes stay, always."""
    app.clean("clean")


@command()
def clean_containers(app: App) -> None:
    """Remove containers and networks. Volumes stay, always."""
    app.clean("clean-containers")


@command()
def clean_logs(app: App) -> None:
    """Empty what stack.yaml marks as logs; its users stop and come back."""
    app.empty("logs")


@command(phrase=True)
def clean_cache(app: App) -> None:
    """Empty what stack.yaml marks as cache, after a typed phrase."""
    app.empty("cache")


@command(phrase=True, force=_FORCE)
def clean_all(app: App, force: bool = False) -> None:
    """Remove containers, networks and volumes, after a typed phrase. Backups stay."""
    app.clean_all(force=force)


@command(phrase=True, force=_FORCE)
def nuke(app: App, force: bool = False) -> None:
    """Remove the databases' data, after a typed phrase; the next up starts empty."""
    app.nuke(force=force)
