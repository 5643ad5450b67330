"""Replaces this process by another program, which gets the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from typing import NoReturn

from quiesce.errors import RequestError
from quiesce.ports import CommandLine


def become(command: CommandLine) -> NoReturn:
    """Replace this process by the program, with the same input, output, terminal and signals.

    Its exit code becomes that of this process. Raise RequestError if it does not exist.
    """
    program = shutil.which(command.argv[0], path=command.environment.get("PATH", os.defpath))
    if program is None:
        raise RequestError(f"the program {command.argv[0]} is not on this machine", "install it")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.chdir(command.directory)
    os.execve(program, command.argv, dict(command.environment))  # noqa: S606  that is its purpose


def has_terminal() -> bool:
    """Whether input and output are a terminal."""
    try:
        return sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False
