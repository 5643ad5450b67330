"""Tasks: schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    install="put the lines into this user's crontab",
    remove="take the lines out of this user's crontab",
    systemd="systemd timers instead of cron lines",
)
def schedule(
    session: Session, install: bool = False, remove: bool = False, systemd: bool = False
) -> None:
    """Print, install or remove the cron lines (or timers) of this instance."""
    from quiesce.commands.schedule import run_schedule

    run_schedule(session, install=install, remove=remove, systemd=systemd)
