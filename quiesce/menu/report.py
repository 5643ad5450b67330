"""Tasks: report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import App


@command(
    changes=False,
    html="also write the page to look at: one file, no network",
    output="where the page goes (default: backups/.reports/<instance>/report.html)",
)
def report(app: App, html: bool = False, output: str | None = None) -> None:
    """Show what ran and how it ended, and how old everything is."""
    app.report(html=html, output=output)
