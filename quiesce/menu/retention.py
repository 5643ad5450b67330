"""Tasks: prune, keep, unkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    everywhere=True,
    force="prune even if a set contains far less than the set before it",
    store="prune this store by its own rules, instead of local sets",
)
def prune(session: Session, force: bool = False, store: str | None = None) -> None:
    """Remove the sets that no retention rule keeps; show why each set is kept."""
    from quiesce.commands.offsite import run_prune_store
    from quiesce.commands.retention import run_prune

    if store is not None:
        run_prune_store(session, store, force=force)
    else:
        run_prune(session, force=force)


@command(file="name or folder of a set, or latest (default: latest)")
def keep(session: Session, file: str = "latest") -> None:
    """Pin a set, so that retention never removes it."""
    from quiesce.commands.retention import run_keep

    run_keep(session, file, pinned=True)


@command(file="name or folder of a set, or latest (default: latest)")
def unkeep(session: Session, file: str = "latest") -> None:
    """Unpin a set, so that retention may remove it again."""
    from quiesce.commands.retention import run_keep

    run_keep(session, file, pinned=False)
