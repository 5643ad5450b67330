"""Tasks: schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    install="add the lines to this user's crontab",
    remove="remove the lines from this user's crontab",
    systemd="use systemd timers instead of cron",
)
def schedule(
    session: Session, install: bool = False, remove: bool = False, systemd: bool = False
) -> None:
    """Print, install or remove the cron lines (or timers) of this instance."""
    from quiesce.commands.schedule import run_schedule

    run_schedule(session, install=install, remove=remove, systemd=systemd)
