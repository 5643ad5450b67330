"""One file or folder of a volume exchanged with that of a set, and undone.

Like the exchange of a whole volume (`volume_stage`), by renames in the run's folder, whose names
alone tell how far it got:

    .quiesce-<run>/
        piece         staged: the set's file or folder
        piece.begun   the exchange began; says whether there was a live one (`had`, `none`)
        piece.old     the live one, aside

No call follows a symbolic link in the volume.
"""

from __future__ import annotations

import os

from quiesce.adapters.volumes.location import Place
from quiesce.adapters.volumes.swap import BEGIN, count, script
from quiesce.ports import VolumeSize

# $3 is the piece's path, relative to the volume's root, its bytes as `_escaped` has them: an engine
# takes text only. The x keeps line breaks at the end, which $() would take away.
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
# Here already: it is asked for before any service stops.
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
    # With nothing aside, and one that was there before, it is put back already.
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
    """Keep of what is staged this file or folder alone, and return its size, itself counted.

    Raise QuiesceError when the set has none of this name, or the volume no folder for it.
    """
    script(
        place, run, _PICK, f"looking for {path} in the set's volume {place.volume}", _escaped(path)
    )
    return count(place, _COUNT, f"{place.root}/.quiesce-{run}/piece")


def swap_subpath(place: Place, run: str, path: str) -> None:
    """Exchange the live piece and the staged one, or finish an exchange that was begun."""
    script(place, run, _SWAP, f"exchanging {path} in volume {place.volume}", _escaped(path))


def put_back_subpath(place: Place, run: str, path: str) -> None:
    """Undo an exchange, however far it had got. What was staged is staged again."""
    script(place, run, _PUT_BACK, f"putting back {path} in volume {place.volume}", _escaped(path))


def _escaped(path: str) -> str:
    """A path for the shell's `printf %b`: everything but plain characters in octal."""
    return "".join(
        chr(byte)
        if (chr(byte).isascii() and chr(byte).isalnum()) or byte in b"/._-"
        else f"\\0{byte:03o}"
        for byte in os.fsencode(path)
    )
