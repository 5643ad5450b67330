"""Tasks: drill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    phrase=True,
    phase="setup, cycle, verify or all (default: BACKUP_RESTORE_PHASE, else all)",
    file="the set to restore into the copy (default: latest)",
    destructive=(
        "run on the instance itself, not in a copy: removes its databases and restores them"
    ),
    identity="key file for encrypted sets (default: QUIESCE_IDENTITY)",
    note="one line of text for the restore log",
)
def drill(
    session: Session,
    phase: str | None = None,
    file: str = "latest",
    destructive: bool = False,
    identity: str = "",
    note: str = "",
) -> None:
    """Restore a set into an isolated copy of the stack and check that everything is restored."""
    from quiesce.commands.drill import run_drill
    from quiesce.commands.offsite import use_identity

    run_drill(use_identity(session, identity), phase, file, destructive=destructive, note=note)
