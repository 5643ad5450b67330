"""Programs that die in the middle of what they do to a volume."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from quiesce.errors import QuiesceError

# Stands before each program that changes the volume. It lets the first COUNT effects happen, one
# rename at a time and half a removal, and then kills the whole group, as `kill -9` would.
STAND_IN = """#!/bin/sh
PATH={path}
name=${{0##*/}}
[ -e {folder}/count ] || exec "$name" "$@"
tick() {{
    read left <{folder}/count
    [ "$left" -gt 0 ] || kill -KILL 0
    echo $((left - 1)) >{folder}/count
}}
if [ "$name $1" = "mv -n" ]; then
    target=$3
    shift 4
    for entry in "$@"; do
        tick
        mv -n -t "$target" -- "$entry" || exit
    done
elif [ "$name" = rm ]; then
    for last; do :; done
    tick
    find "$last" -mindepth 1 -maxdepth 1 -exec rm -rf {{}} \\; -quit
    tick
    exec rm "$@"
else
    tick
    exec "$name" "$@"
fi
"""
PROGRAMS = ("mv", "tar", "mkdir", "rmdir", "sync", "rm", "touch")


class Killer:
    """Kills what `VolumeFiles` runs after so many effects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        path = os.environ["PATH"]
        text = STAND_IN.format(path=shlex.quote(path), folder=shlex.quote(str(folder)))
        for name in PROGRAMS:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def killed_after(self, effects: int, call: Callable[[], None]) -> bool:
        """Call; return whether the call was killed before it had done its work."""
        (self.folder / "count").write_text(f"{effects}\n")
        error = None
        try:
            call()
        except QuiesceError as caught:
            error = caught
        finally:
            (self.folder / "count").unlink()
        assert error is None or "signal 9" in error.fact, error.details
        return error is not None
