"""The command `quiesce`: the collection of this package in any folder, without a `tasks.py`.

It never loads a `tasks.py`: a folder may have one of another program (Celery uses the same name),
and code in an unknown folder must not run because somebody inspects its Compose file. `inv` does
load it.
"""

from __future__ import annotations

import os
import sys

from invoke.program import Program

from quiesce import __version__
from quiesce.menu import namespace
from quiesce.menu.command_name import call_as

NAME = "quiesce"


def main() -> None:
    """Run `quiesce` with the arguments of this process."""
    # `python -m quiesce` puts the current folder first, and no code may come from there.
    here = os.getcwd()  # noqa: PTH109
    sys.path[:] = [entry for entry in sys.path if entry not in ("", here)]
    call_as(NAME)
    Program(__version__, namespace, name="Quiesce", binary=NAME, binary_names=[NAME]).run()
