"""The verb `completion`: the script for the shell, and what it asks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from quiesce.app.completion import load_here, values_of
from quiesce.commands.init import Place


def run_completion(place: Place, flag: str | None, words: Sequence[str]) -> None:
    """Print the script for bash; with `flag`, the values that it may have after these words."""
    if flag is None:
        script = resources.files("quiesce.menu").joinpath("completion.bash")
        place.reporter.text(script.read_text("utf-8"))
        return
    found = values_of(flag, words, load_here(place.folder, place.options.environ))
    if found is not None:
        # Told from a flag that takes no value, for which the shell goes on with tasks.
        place.reporter.text(" ".join(["(value)", *found]) + "\n")
