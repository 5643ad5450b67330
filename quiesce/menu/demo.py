"""Tasks: demo."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.report import Reporter


@command(stack=False)
def demo(reporter: Reporter) -> None:
    """Back up, destroy and restore a throwaway stack, without Docker."""
    from quiesce.demo import run_demo

    run_demo(reporter, os.environ)
