"""Tasks: schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import App


@command(
    install="put the lines into this user's crontab",
    remove="take the lines out of this user's crontab",
    systemd="systemd timers instead of cron lines",
)
def schedule(app: App, install: bool = False, remove: bool = False, systemd: bool = False) -> None:
    """Print, install or remove the cron lines (or timers) of this instance."""
    app.schedule(install=install, remove=remove, systemd=systemd)
