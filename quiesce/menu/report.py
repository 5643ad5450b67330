"""Tasks: report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    changes=False,
    html="also write the page to look at: one file, no network",
    output="where the page goes (default: backups/.reports/<instance>/report.html)",
)
def report(session: Session, html: bool = False, output: str | None = None) -> None:
    """Show what ran and how it ended, and how old everything is."""
    from quiesce.commands.report import run_report

    run_report(session, html=html, output=output)
