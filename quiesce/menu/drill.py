"""Tasks: drill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    phrase=True,
    phase="setup, cycle, verify or all (default: BACKUP_RESTORE_PHASE, else all)",
    file="the set that the copy comes up from",
    destructive="on the instance itself, not in a copy: its databases are lost and restored",
    identity="the key file that decrypts what is encrypted (default: QUIESCE_IDENTITY)",
    note="a line for the log of restores",
)
def drill(
    session: Session,
    phase: str | None = None,
    file: str = "latest",
    destructive: bool = False,
    identity: str = "",
    note: str = "",
) -> None:
    """Rehearse a disaster in an isolated copy of the stack, and prove that all comes back."""
    from quiesce.commands.drill import run_drill
    from quiesce.commands.offsite import use_identity

    run_drill(use_identity(session, identity), phase, file, destructive=destructive, note=note)
