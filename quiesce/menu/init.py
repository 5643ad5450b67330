"""Tasks: init, completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.commands.init import Place


@command(
    place=True,
    files="Compose files, comma-separated (default: those that Compose finds)",
)
def init(place: Place, files: str | None = None) -> None:
    """Write stack.yaml for this folder's Compose file, or show what it lacks."""
    from quiesce.commands.init import run_init

    run_init(place, listed(files))


@command(  # noqa: S604 - a flag named shell
    place=True,
    changes=False,
    shell="bash (the default), zsh or fish",
    values="print the values that this flag accepts; the completion script uses it",
    words="the command line so far, for --values",
)
def completion(
    place: Place, shell: str = "bash", values: str | None = None, words: str = ""
) -> None:
    """Print the script that completes tasks, flags and their values in your shell."""
    from quiesce.commands.completion import run_completion

    run_completion(place, shell, values, words.split())
