"""Tasks: status, volumes, check, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(everywhere=True, changes=False)
def status(session: Session) -> None:
    """Show services, databases, volumes and the last backup."""
    from quiesce.commands.status import run_status

    run_status(session)


@command(
    changes=False, max_size="exit with code 7 if a volume is larger than this, for example 10GiB"
)
def volumes(session: Session, max_size: str | None = None) -> None:
    """List the volumes with purpose, size, location and kind of backup."""
    from quiesce.commands.status import run_volumes

    run_volumes(session, max_size)


@command(everywhere=True, changes=False)
def check(session: Session) -> None:
    """Compare stack.yaml with the Compose model and the servers."""
    from quiesce.commands.check import run_check

    run_check(session)


@command(everywhere=True, changes=False)
def doctor(session: Session) -> None:
    """Check everything that a backup or a restore relies on."""
    from quiesce.commands.doctor import run_doctor

    run_doctor(session)
