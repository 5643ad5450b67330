"""Tasks: prune, keep, unkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import App


@command(
    everywhere=True,
    force="accept sets that hold suspiciously less than the one before",
    store="in this store, by its own rules, instead of here",
)
def prune(app: App, force: bool = False, store: str | None = None) -> None:
    """Remove the sets that no retention rule keeps, and show the rules of every set."""
    if store is not None:
        app.prune_store(store, force=force)
    else:
        app.prune(force=force)


@command(file="a set's name or folder, or latest (default: latest)")
def keep(app: App, file: str = "latest") -> None:
    """Pin a set: retention never removes it."""
    app.keep(file, pinned=True)


@command(file="a set's name or folder, or latest (default: latest)")
def unkeep(app: App, file: str = "latest") -> None:
    """Unpin a set: retention decides about it again."""
    app.keep(file, pinned=False)
