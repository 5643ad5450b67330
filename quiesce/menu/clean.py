"""Tasks: clean, clean-containers, clean-logs, clean-cache, clean-all, nuke."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session

_FORCE = "also delete databases that stack.yaml does not declare"


@command()
def clean(session: Session) -> None:
    """Remove containers and networks. All volumes are kept."""
    from quiesce.commands.clean import run_clean

    run_clean(session, "clean")


@command()
def clean_containers(session: Session) -> None:
    """Do the same as clean: remove containers and networks, keep all volumes."""
    from quiesce.commands.clean import run_clean

    run_clean(session, "clean-containers")


@command()
def clean_logs(session: Session) -> None:
    """Empty what stack.yaml marks as logs. The services that use it restart."""
    from quiesce.commands.clean import run_empty

    run_empty(session, "logs")


@command(phrase=True)
def clean_cache(session: Session) -> None:
    """Empty what stack.yaml marks as cache. Asks for a phrase."""
    from quiesce.commands.clean import run_empty

    run_empty(session, "cache")


@command(phrase=True, force=_FORCE)
def clean_all(session: Session, force: bool = False) -> None:
    """Remove containers, networks and volumes. Backups are kept. Asks for a phrase."""
    from quiesce.commands.clean import run_clean_all

    run_clean_all(session, force=force)


@command(phrase=True, force=_FORCE)
def nuke(session: Session, force: bool = False) -> None:
    """Remove the data of all databases; the next 'inv up' starts empty. Asks for a phrase."""
    from quiesce.commands.clean import run_nuke

    run_nuke(session, force=force)
