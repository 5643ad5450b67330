"""Finds the entries to leave out of level 0 in the scan before it, and gives tar their names.

One matcher decides (`quiesce.exclusion`); tar only compares names. An entry that appears while tar
walks is archived; it is found in tar's list and removed again by a restore. Tar still walks the
volume itself: with a list of names to archive, it would follow a folder that is replaced by a
symbolic link out of the volume.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from quiesce.adapters.volumes.changes import SLASH, exchanged, records
from quiesce.adapters.volumes.location import Place
from quiesce.exclusion import RUN_FOLDER, RUN_FOLDER_PREFIX, Exclusion, Tally
from quiesce.ports import VolumeSize, VolumeSurvey

#: Options before `--exclude-from` with literal names, and with quoted names.
AS_THEY_ARE = ("--anchored", "--no-wildcards")
QUOTED = ("--anchored", "--wildcards", "--no-wildcards-match-slash")


_PREFIX = exchanged(f"./{RUN_FOLDER_PREFIX}".encode())
_LIST = rf"""
cd "$1" && find . -mindepth 1 -ignore_readdir_race \
-regextype posix-extended -regex '\./{RUN_FOLDER}' -prune -o -printf '%y %s %p\0'
"""


def survey(place: Place, exclusion: Exclusion, path: str = "") -> VolumeSurvey:
    """Count the entries and bytes of the volume, or of a file or folder in it, and what each
    pattern leaves out, as of now."""
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
    """Yield the path of each entry of a scan that is left out, except for the content of folders
    that are left out; count all of it in `tally`."""
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
    """Return the lines for `--exclude-from` that name exactly these paths: literal names, and
    patterns for names with white space at the end, which tar would drop."""
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
        # Matches any character except all others: a line cannot contain this one.
        return b"[!\x01-\x09\x0b-\xff]"
    return b"[" + match[0] + b"]" if match[0].isspace() else b"\\" + match[0]
