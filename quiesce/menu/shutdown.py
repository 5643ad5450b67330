"""Tasks: shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    full="a full set, volumes too; without it the rows of every database",
    keep_running="services that go on running, comma-separated",
    force="stop everything even when the backup fails",
)
def shutdown(
    session: Session, full: bool = False, keep_running: str | None = None, force: bool = False
) -> None:
    """Back up, verify, stop everything: then it is safe to power off."""
    from quiesce.app.requests import shutdown_request
    from quiesce.commands.shutdown import run_shutdown

    run_shutdown(session, shutdown_request(listed(keep_running), full=full, force=force))
