"""The command by which tasks were called: `inv`, or `quiesce`, which needs no `tasks.py`."""

from __future__ import annotations

from pathlib import Path

_name = ["inv"]


def call_as(name: str) -> None:
    """Set the command name that hints and child processes of this process use."""
    _name[0] = name


def called_as() -> str:
    """Return the name of the command, for hints and for processes that it starts."""
    return _name[0]


def folder_of_stack(start: Path) -> Path:
    """Return the nearest folder with a stack.yaml, from `start` upwards; `start` if there is none.

    `inv` finds its `tasks.py` in the same way.
    """
    for folder in (start, *start.parents):
        if (folder / "stack.yaml").is_file():
            return folder
    return start
