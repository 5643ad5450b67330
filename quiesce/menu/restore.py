"""Tasks: restore, undo-restore, recover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import App


@command(
    file="a set's name or folder, latest, latest:safety (default: lists the sets and asks)",
    only="databases and volumes, comma-separated (default: all that is in the set)",
    no_safety="make no safety set of what is replaced: there is no way back",
    no_restart="leave stopped services stopped",
    note="a line for the log of restores: who wanted it, and why",
)
def restore(
    app: App,
    file: str | None = None,
    only: str | None = None,
    no_safety: bool = False,
    no_restart: bool = False,
    note: str = "",
) -> None:
    """Bring a set back: built beside, checked, exchanged at the end."""
    app.restore(file, listed(only), safety=not no_safety, restart=not no_restart, note=note)


@command(
    no_restart="leave stopped services stopped",
    note="a line for the log of restores: who wanted it, and why",
)
def undo_restore(app: App, no_restart: bool = False, note: str = "") -> None:
    """Go back to what was there before the last restore."""
    app.restore("latest:safety", (), safety=True, restart=not no_restart, note=note)


@command()
def recover(app: App) -> None:
    """Finish what an interrupted run owes."""
    app.recover()
