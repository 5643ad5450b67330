"""What is left out of level 0: found in the scan before it, and given to tar by name.

One matcher decides (`quiesce.exclusion`); tar compares names. An entry that only appears while tar
walks is not among them and comes into the archive: it is found in tar's list and removed again on
a restore. Tar walks by itself all the same: given the names of what to archive instead, it would
follow a folder that becomes a symbolic link meanwhile out of the volume.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from quiesce.adapters.volumes.changes import SLASH, exchanged, records
from quiesce.adapters.volumes.location import Place
from quiesce.exclusion import RUN_FOLDER, RUN_FOLDER_PREFIX, Exclusion, Tally
from quiesce.ports import VolumeSize, VolumeSurvey

#: Before `--exclude-from` with names as they are, and before one with quoted names.
AS_THEY_ARE = ("--anchored", "--no-wildcards")
QUOTED = ("--anchored", "--wildcards", "--no-wildcards-match-slash")


_PREFIX = exchanged(f"./{RUN_FOLDER_PREFIX}".encode())
_LIST = rf"""
cd "$1" && find . -mindepth 1 -ignore_readdir_race \
-regextype posix-extended -regex '\./{RUN_FOLDER}' -prune -o -printf '%y %s %p\0'
"""


def survey(place: Place, exclusion: Exclusion, path: str = "") -> VolumeSurvey:
    """Count what the volume holds, or this file or folder of it, and what each pattern leaves out
    of that, as it is now."""
    top = b"./" + os.fsencode(path) if path else b""
    listed = place.run(
        ["sh", "-c", _LIST, "survey", place.root], what=f"scanning volume {place.volume}"
    )
    tally, files, kept = Tally(exclusion), 0, 0
    for record in records(listed.output):
        kind, text, name = record.split(b" ", 2)
        if top and name != top and not name.startswith(top + b"/"):
            continue
        size = int(text) if kind == b"f" else 0
        found = exclusion.which(name)
        if found is not None:
            tally.add(found, name, kind, size)
        elif kind != b"s":
            files += 1
            kept += size
    return VolumeSurvey(VolumeSize(files, kept), tally.result(), tally.unmatched())


def left_out(scan: Iterable[bytes], exclusion: Exclusion, tally: Tally) -> Iterator[bytes]:
    """Yield the path of each entry of a scan that is left out, but for what is in a folder that
    is itself left out; count all of it in `tally`."""
    below = b"\0"
    for record in scan:
        kind, size, _, _, _, path = record.split(b" ", 7)[2:]
        found = exclusion.which(exchanged(path))
        if found is None:
            if path.startswith(_PREFIX) and path.find(SLASH, 2) < 0:
                tally.lookalikes.append(exchanged(path)[2:].decode(errors="backslashreplace"))
            continue
        tally.add(found, exchanged(path), kind, int(size))
        if not path.startswith(below):
            yield exchanged(path)
            below = path + SLASH


def for_tar(paths: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the lines for `--exclude-from` that name exactly these paths: names as they are, and
    patterns for names that tar cannot be given so, as it drops white space at the end of a line.
    """
    plain: list[bytes] = []
    quoted: list[bytes] = []
    for path in paths:
        if b"\n" in path or path[-1:].isspace():
            quoted.append(_SPECIAL.sub(_quoted_for_tar, path))
        else:
            plain.append(path)
    return plain, quoted


_SPECIAL = re.compile(rb"[*?\[\\\n]|\s\Z")


def _quoted_for_tar(match: re.Match[bytes]) -> bytes:
    if match[0] == b"\n":
        # All but every other character: a line cannot hold this one.
        return b"[!\x01-\x09\x0b-\xff]"
    return b"[" + match[0] + b"]" if match[0].isspace() else b"\\" + match[0]
