"""The verb `completion`: prints the script for the shell, and the values that the script
requests."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from quiesce.app.completion import SHELLS, load_here, values_of
from quiesce.commands.init import Place
from quiesce.errors import RequestError


def run_completion(place: Place, shell: str, flag: str | None, words: Sequence[str]) -> None:
    """Print the script for this shell; with `flag`, the values that it may have after these words.

    Raise RequestError for a shell that has no script.
    """
    if shell not in SHELLS:
        *others, last = SHELLS
        hint = f"use {', '.join(others)} or {last}"
        raise RequestError(f"there is no completion for {shell}", hint)
    if flag is None:
        script = resources.files("quiesce.menu").joinpath(f"completion.{shell}")
        place.reporter.text(script.read_text("utf-8"))
        return
    found = values_of(flag, words, load_here(place.folder, place.options.environ))
    if found is not None:
        # Told from a flag that takes no value, for which the shell goes on with tasks.
        place.reporter.text(" ".join(["(value)", *found]) + "\n")
