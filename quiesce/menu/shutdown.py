"""Tasks: shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    full="make a full set, including volumes (default: only the rows of all databases)",
    keep_running="services that keep running, comma-separated",
    force="stop everything even if the backup fails",
)
def shutdown(
    session: Session, full: bool = False, keep_running: str | None = None, force: bool = False
) -> None:
    """Back up, verify the set and stop everything, so that it is safe to power off."""
    from quiesce.app.requests import shutdown_request
    from quiesce.commands.shutdown import run_shutdown

    run_shutdown(session, shutdown_request(listed(keep_running), full=full, force=force))
