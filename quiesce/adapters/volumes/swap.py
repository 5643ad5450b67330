"""Stages new content beside a volume's live content, exchanges them by renames, and undoes that.

Everything of a run is in one folder of the volume's root, on the same file system:

    .quiesce-<run>/
        new.part      being unpacked
        new           staged, complete, synced                root: live entries
        new and old   live entries are moved out one by one   root: live entries only
        in and old    staged entries are moved in one by one  root: staged entries only
        old           exchanged                               root: staged entries

`new` is renamed to `in` only while the root is empty, so these names alone identify the state at
any time: there is no journal, and a call that was killed is completed by calling it again, or
undone by the opposite call. Names cannot clash, because at any time the entries of one kind are all
in the root or in one folder, and no archive may contain such a folder in its root. `mv -n` refuses
to replace what another process created meanwhile.

The root itself cannot be renamed. Its owner, mode, times, attributes and ACL are stored as archives
of that one entry, `old.root` and `new.root`, and applied last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from quiesce.adapters.volumes.changes import records
from quiesce.adapters.volumes.location import ARCHIVE, Place, last_lines
from quiesce.adapters.volumes.tar_check import compression_of
from quiesce.errors import QuiesceError
from quiesce.exclusion import RUN_FOLDER, RUN_FOLDER_PREFIX, is_run_folder
from quiesce.ports import VolumeSize

_DECOMPRESS = {"zstd": ["--use-compress-program=zstd -q"], "gzip": ["--gzip"], "": []}
_ATTRIBUTES = "--xattrs --xattrs-include=* --acls --numeric-owner"
_EXTRACT = [
    "tar",
    "--extract",
    "--force-local",
    *_ATTRIBUTES.split(),
    "--sparse",
    "--same-permissions",
    "--same-owner",
    "--delay-directory-restore",
    "--warning=no-timestamp",
    "--quoting-style=escape",
]

# $1 the volume's root, $2 the run; `h` is the run's folder, relative to the root.
BEGIN = r"""
set -euf
cd "$1"
h="./.quiesce-$2"
fail() { echo "$1" >&2; exit 1; }
is_folder() { [ -d "$1" ] && [ ! -L "$1" ]; }
there() { [ -e "$1" ] || [ -L "$1" ]; }
if there "$h" && ! is_folder "$h"; then fail "$h exists and is not a folder"; fi
"""

_PREPARE = (
    BEGIN
    + r"""
is_folder "$h" || mkdir -m 700 "$h"
if there "$h/old" || there "$h/in" || there "$h/piece.begun"; then
    fail "an exchange of this run has already begun"
fi
rm -rf -- "$h/new.part" "$h/new" "$h/new.root" "$h/old.root" "$h/trash" "$h/piece"
mkdir -m 700 "$h/new.part"
# For archives without an entry for the root itself.
chown --reference=. "$h/new.part"
chmod --reference=. "$h/new.part"
chmod u+rwx "$h/new.part"
"""
)

# The sizes in the headers were checked, but a hole takes no bytes in the archive and many in the
# file.
_LIMITED = 'ulimit -f "$1" && shift && exec "$@"'
_FIND_LINKS = 'cd "$1" && find . -type l -printf "%p\\0"'
_REMOVE_GONE = 'cd "$1" && xargs -0 -r rm -rf -- <"$2"'
# Sync before the final name says that it is complete.
_PUBLISH = BEGIN + 'sync -f .\nmv -T "$h/new.part" "$h/new"\nsync "$h"\n'

# Only renames, never a copy: everything is on one file system.
_EXCHANGE = (
    BEGIN
    + f"attributes='{_ATTRIBUTES}'"
    + f"\nnot_ours='-regextype posix-extended ! -regex \\./{RUN_FOLDER}'"
    + r"""
# Entries leave the root only here: all except the folders of runs, whatever their names.
empty_root_into() {
    find . -mindepth 1 -maxdepth 1 $not_ours -exec mv -n -t "$1" -- {} +
    left=$(find . -mindepth 1 -maxdepth 1 $not_ours -print -quit)
    [ -z "$left" ] || fail "something writes to the volume: $left"
}
fill_root_from() {
    find "$1" -mindepth 1 -maxdepth 1 -exec mv -n -t . -- {} +
    left=$(find "$1" -mindepth 1 -maxdepth 1 -print -quit)
    [ -z "$left" ] || fail "something writes to the volume: $left"
}
keep_root_of() {
    tar --create $attributes --format=posix --no-recursion -C "$1" -f "$2.part" .
    mv -T "$2.part" "$2"
}
# Sync the renames before the next folder's name says that they were done.
synced() { sync . "$h" "$@"; }
give_root() { tar --extract $attributes --same-permissions --same-owner -f "$1"; }
"""
)

_SWAP = (
    _EXCHANGE
    + r"""
if ! there "$h/old"; then
    is_folder "$h/new" || fail "nothing is staged for this run"
    keep_root_of . "$h/old.root"
    there "$h/new.root" || keep_root_of "$h/new" "$h/new.root"
    sync "$h/old.root" "$h/new.root"
    mkdir -m 700 "$h/old"
    synced
fi
if there "$h/new"; then
    empty_root_into "$h/old"
    synced "$h/old"
    mv -T "$h/new" "$h/in"
    synced
fi
if there "$h/in"; then
    fill_root_from "$h/in"
    give_root "$h/new.root"
    synced "$h/in"
    rmdir "$h/in"
    synced
fi
"""
)

_PUT_BACK = (
    _EXCHANGE
    + r"""
there "$h/old" || exit 0
if ! there "$h/new"; then
    is_folder "$h/in" || mkdir -m 700 "$h/in"
    empty_root_into "$h/in"
    synced "$h/in"
    mv -T "$h/in" "$h/new"
    synced
fi
fill_root_from "$h/old"
give_root "$h/old.root"
synced "$h/old"
rmdir "$h/old"
synced
"""
)

# $3 is `old` or `new`, whose root was kept aside: as a folder it has another owner and mode.
_SHOW = (
    _EXCHANGE
    + r"""
if there "$h/in" || ! is_folder "$h/$3"; then fail "an exchange of this run left no $3"; fi
if there "$h/$3.root"; then
    tar --extract $attributes --same-permissions --same-owner -C "$h/$3" -f "$h/$3.root"
    sync "$h/$3"
fi
"""
)

_SETTLE = (
    BEGIN
    + r"""
there "$h" || exit 0
clear() {
    # In parallel: one after the other takes twice as long on a disk.
    find "$1" -mindepth 2 -maxdepth 2 -print0 2>/dev/null |
        xargs -0 -r -n 200 -P 4 rm -rf -- 2>/dev/null || :
    # An ordinary user cannot empty a folder that its owner may not write in.
    rm -rf -- "$1" 2>/dev/null || { find "$1" -type d -exec chmod u+rwx {} \; ; rm -rf -- "$1"; }
}
if there "$h/old"; then
    if there "$h/new" || there "$h/in"; then fail "an exchange of this run is half done"; fi
    clear "$h/trash"
    # In one rename: half of the live content must never be put back.
    mv -T "$h/old" "$h/trash"
fi
if there "$h/piece.begun"; then
    if there "$h/piece"; then fail "an exchange of this run is half done"; fi
    # First, for the same reason.
    rm -f "$h/piece.begun"
    sync "$h"
fi
for part in trash new.part new new.root old.root new.root.part old.root.part \
    piece piece.old piece.begun.part; do
    clear "$h/$part"
done
# The root's time stamp is content of the volume; removing the run's folder would change it.
touch -r . "$3"
rmdir "$h"
touch -r "$3" .
sync .
"""
)

_MEASURE = rf"""
cd "$1" && find . -mindepth 1 -ignore_readdir_race \
-regextype posix-extended -regex '\./{RUN_FOLDER}' -prune -o ! -type s -printf '%y %s\0'
"""

_MEASURE_IF_THERE = f'[ -d "$1" ] || exit 0; {_MEASURE}'

_EMPTY = rf"""
cd "$1" && find . -mindepth 1 -maxdepth 1 \
-regextype posix-extended ! -regex '\./{RUN_FOLDER}' \
-exec rm -rf --one-file-system -- {{}} + && sync -f .
"""


def measure(place: Place, folder: str = "") -> VolumeSize:
    """Count the entries and bytes of the volume, or of one of Quiesce's folders in it."""
    root = f"{place.root}/{folder}" if folder else place.root
    return count(place, _MEASURE, root)


def count(place: Place, listing: str, root: str) -> VolumeSize:
    """Count what a script lists of `root`: per entry its type's letter and its bytes."""
    found = place.run(
        ["sh", "-c", listing, "measure", root], what=f"scanning volume {place.volume}"
    )
    files = size = 0
    for record in records(found.output):
        files += 1
        if record.startswith(b"f"):
            size += int(record[2:])
    return VolumeSize(files, size)


def leftover_size(place: Place, run: str) -> VolumeSize:
    """Return the size of what `finish_swap` would remove."""
    return count(place, _MEASURE_IF_THERE, f"{place.root}/{_folder(run)}")


def empty(place: Place) -> None:
    """Remove everything in the volume except folders of unfinished restores.

    The root itself is kept: a new one would have another owner and mode.
    """
    what = f"emptying volume {place.volume}"
    place.run(["sh", "-c", _EMPTY, "empty", place.root], what=what)


def stage(
    place: Place,
    run: str,
    archives: Sequence[Path],
    gone: Path | None,
    most: VolumeSize | None = None,
) -> VolumeSize:
    """Unpack the archives, one over the other, into a folder of the run, and return its size.

    The entries in `gone` are removed after the first. Any output of tar is an error: content that
    was not unpacked exactly must not become live. A repeated call starts again.
    """
    what = f"unpacking volume {place.volume}"
    script(place, run, _PREPARE, what)
    part = f"{_folder(run)}/new.part"
    for number, archive in enumerate(archives):
        limit = ["sh", "-c", _LIMITED, "limited", str(most.bytes // 512 + 1)] if most else []
        options = [*_DECOMPRESS[compression_of(archive)], ARCHIVE]
        where = ["--directory", f"{place.root}/{part}"]
        ended = place.run([*limit, *_EXTRACT, *options, *where], what=what, reads=archive)
        if said := last_lines(ended.errors):
            raise QuiesceError(
                f"{what}: not everything was unpacked as it was archived",
                "see the details; unpack as root, on a file system of the same type as before",
                details=said,
            )
        if number == 0 and gone is not None:
            _remove_gone(place, f"{place.root}/{part}", gone, what)
    size = measure(place, part)
    script(place, run, _PUBLISH, what)
    return size


def swap(place: Place, run: str) -> None:
    """Exchange live and staged content, or complete an interrupted exchange."""
    script(place, run, _SWAP, f"exchanging the content of volume {place.volume}")


def put_back(place: Place, run: str) -> None:
    """Undo an exchange from any state. The staged content is staged again."""
    script(place, run, _PUT_BACK, f"putting back the content of volume {place.volume}")


def finish_swap(place: Place, run: str) -> None:
    """Remove the run's folder. Raise QuiesceError if an exchange is half done."""
    what = f"removing the previous copy in volume {place.volume}"
    script(place, run, _SETTLE, what, place.see(place.output("times")))


def show_copy(place: Place, copy: str) -> None:
    """Give a folder that an exchange left (`previous_copy`, `replaced_copy`) the owner, mode and
    times that its content's root had. Raise QuiesceError if there is none."""
    folder, _, which = copy.rpartition("/")
    if not is_run_folder(folder) or which not in ("old", "new"):
        raise ValueError(f"{copy!r} is not a folder that an exchange leaves")
    run = folder.removeprefix(RUN_FOLDER_PREFIX)
    what = f"looking for the copy of volume {place.volume} in {copy}"
    script(place, run, _SHOW, what, which)


def script(place: Place, run: str, text: str, what: str, *more: str) -> None:
    """Run a script on the volume's root (`$1`) for a run (`$2`), with more arguments."""
    _folder(run)
    place.run(["sh", "-c", text, "volume", place.root, run, *more], what=what)


def _folder(run: str) -> str:
    folder = f"{RUN_FOLDER_PREFIX}{run}"
    if not is_run_folder(folder):
        raise ValueError(f"{run!r} is not the id of a run")
    return folder


def _remove_gone(place: Place, part: str, gone: Path, what: str) -> None:
    """Remove the listed entries. Nothing outside is removed, not even through a link in the
    archive."""
    parents: set[bytes] = set()
    for name in _names(gone):
        components = name.split(b"/")
        if components[0] != b"." or len(components) < 2 or not _are_plain(components[1:]):
            raise _refused(gone, f"{name!r} is not the name of an entry in the volume")
        parents.update(b"/".join(components[:depth]) for depth in range(2, len(components)))
    links = place.run(["sh", "-c", _FIND_LINKS, "links", part], what=what)
    for link in records(links.output):
        if link in parents:
            raise _refused(gone, f"a name passes through the symbolic link {link!r}")
    place.run(["sh", "-c", _REMOVE_GONE, "gone", part, place.see(gone)], what=what)


def _are_plain(components: Sequence[bytes]) -> bool:
    return not any(part in (b"", b".", b"..") for part in components)


def _names(gone: Path) -> Iterator[bytes]:
    try:
        yield from records(gone)
    except (OSError, ValueError) as error:
        raise _refused(gone, f"it cannot be read ({error})") from error


def _refused(gone: Path, reason: str) -> QuiesceError:
    return QuiesceError(
        f"the list of deleted entries, {gone.name}, cannot be used: {reason}",
        "restore another set; this one was changed, or not made by Quiesce",
    )
