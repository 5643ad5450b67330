"""Exchanges one file or folder of a volume with the one in a set, and undoes that.

As for a whole volume (see `swap`), by renames in the run's folder, whose names alone identify the
state:

    .quiesce-<run>/
        piece         staged: the set's file or folder
        piece.begun   the exchange began; says whether there was a live one (`had`, `none`)
        piece.old     the previous one

No call follows a symbolic link in the volume.
"""

from __future__ import annotations

import os

from quiesce.adapters.volumes import swap as whole
from quiesce.adapters.volumes.location import Place
from quiesce.adapters.volumes.swap import BEGIN, count, script
from quiesce.ports import VolumeSize

# $3 is the path, relative to the volume's root, with its bytes escaped by `_escaped`: an engine
# only accepts text. The x keeps line breaks at the end, which $() would remove.
_SUBPATH = (
    BEGIN
    + r"""
piece=$(printf '%bx' "$3")
piece=${piece%x}
p="./$piece"
parent=$(dirname -- "$p")
require_folders() {
    on=$(dirname -- "$1/$piece")
    while [ "$on" != "$1" ]; do
        is_folder "$on" || fail "there is no folder ${on#"$1"/} in $2"
        on=$(dirname -- "$on")
    done
}
require_place() {
    require_folders . "the volume: name one that exists, or restore its parent folder"
}
synced() { sync "$parent" "$h"; }
"""
)

_PICK = (
    _SUBPATH
    + r"""
# Checked here already, before any service stops.
require_place
if ! there "$h/piece"; then
    require_folders "$h/new" "the set"
    there "$h/new/$piece" || fail "there is no $piece in the set"
    mv -T "$h/new/$piece" "$h/piece"
    sync "$h"
fi
rm -rf -- "$h/new"
"""
)

_SWAP = (
    _SUBPATH
    + r"""
require_place
if ! there "$h/piece.begun"; then
    there "$h/piece" || fail "nothing is staged for this run"
    if there "$p"; then echo had; else echo none; fi >"$h/piece.begun.part"
    sync "$h/piece.begun.part"
    mv -T "$h/piece.begun.part" "$h/piece.begun"
    synced
fi
if there "$h/piece"; then
    if there "$p"; then
        if there "$h/piece.old"; then fail "something writes to the volume: $piece"; fi
        mv -T "$p" "$h/piece.old"
        synced
    fi
    mv -T -n "$h/piece" "$p"
    if there "$h/piece"; then fail "something writes to the volume: $piece"; fi
    synced
fi
"""
)

_PUT_BACK = (
    _SUBPATH
    + r"""
there "$h/piece.begun" || exit 0
if ! there "$h/piece" && there "$p"; then
    # Without a previous copy although there was one, it is put back already.
    if there "$h/piece.old" || [ "$(cat "$h/piece.begun")" = none ]; then
        mv -T "$p" "$h/piece"
        synced
    fi
fi
if there "$h/piece.old"; then
    if there "$p"; then fail "something writes to the volume: $piece"; fi
    mv -T "$h/piece.old" "$p"
    synced
fi
rm -f "$h/piece.begun"
sync "$h"
"""
)

_COUNT = "find \"$1\" ! -type s -printf '%y %s\\0'"


def pick(place: Place, run: str, path: str) -> VolumeSize:
    """Keep only this file or folder of the staged content, and return its size, including itself.

    Raise QuiesceError if the set has none of this name, or the volume no folder for it.
    """
    script(
        place, run, _PICK, f"looking for {path} in the set's volume {place.volume}", _escaped(path)
    )
    return count(place, _COUNT, f"{place.root}/.quiesce-{run}/piece")


def swap(place: Place, run: str, path: str) -> None:
    """Exchange the live and the staged file or folder, or complete an interrupted exchange. Without
    a path, exchange the whole content."""
    if not path:
        whole.swap(place, run)
        return
    script(place, run, _SWAP, f"exchanging {path} in volume {place.volume}", _escaped(path))


def put_back(place: Place, run: str, path: str) -> None:
    """Undo an exchange, of the whole content without a path, from any state. The staged content is
    staged again."""
    if not path:
        whole.put_back(place, run)
        return
    script(place, run, _PUT_BACK, f"putting back {path} in volume {place.volume}", _escaped(path))


def _escaped(path: str) -> str:
    """Return a path for the shell's `printf %b`, with everything but plain characters in octal."""
    return "".join(
        chr(byte)
        if (chr(byte).isascii() and chr(byte).isalnum()) or byte in b"/._-"
        else f"\\0{byte:03o}"
        for byte in os.fsencode(path)
    )
