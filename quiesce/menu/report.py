"""Tasks: report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    changes=False,
    html="also write an HTML page: one file that needs no network",
    output="path of the page (default: backups/.reports/<instance>/report.html)",
)
def report(session: Session, html: bool = False, output: str | None = None) -> None:
    """Show recent runs with their results, and the age of backups and drills."""
    from quiesce.commands.report import run_report

    run_report(session, html=html, output=output)
