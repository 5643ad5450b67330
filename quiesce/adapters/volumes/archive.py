"""Archives a volume in two levels: everything while services run, then only what changed.

For level 0, GNU tar walks the volume itself with open directories, so a directory that is replaced
by a symbolic link cannot lead it out of the volume. Level 1 gets a list of names and is made while
nothing writes: every warning of tar is an error there. `changes` compares the two.

Both are plain tar archives (pax: nanoseconds, long names) with zstd. Tar runs the compressor and
checks its exit code, so that no pipe can hide a failure.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quiesce.adapters.files import make_empty
from quiesce.adapters.growth import report_growth
from quiesce.adapters.volumes.changes import (
    EXCHANGE,
    FORMAT,
    MARGIN_SECONDS,
    SORT_KEY,
    Difference,
    exchanged,
    level_zero_records,
    listing_records,
    parse_listing,
    records,
)
from quiesce.adapters.volumes.exclusion import AS_THEY_ARE, QUOTED, for_tar, left_out
from quiesce.adapters.volumes.location import ARCHIVE, Ended, Place, last_lines
from quiesce.adapters.volumes.open_files import Writing
from quiesce.adapters.volumes.tar_listing import Size, is_serious, lines_of
from quiesce.errors import QuiesceError
from quiesce.exclusion import RESERVED, RUN_FOLDER, Exclusion, LeftOut, Tally
from quiesce.model import VolumeRecord
from quiesce.observed import VolumeState
from quiesce.ports import Progress

COMPRESSION = "zstd"
#: File systems that the T0 rule is known to hold on, including writes through mmap during level 0.
#: On any other (the clock of a file server, a tmpfs that does not date such writes) level 1 is the
#: whole volume.
PROVEN_FILESYSTEMS = frozenset({"ext2/ext3", "xfs", "btrfs"})
#: If the two clocks differ by more than this since T0, one of them was set.
STEP_SECONDS = 1.0

_KEEP_ALL = "--xattrs --xattrs-include=* --acls --sparse --numeric-owner".split()
_CREATE = [
    "tar",
    "--create",
    "--force-local",  # a colon in the path does not mean a host
    # Records of 32 KiB instead of 10 save a sixth of the time.
    "--blocking-factor=64",
    "--format=posix",
    "--pax-option=delete=atime,delete=ctime",
    *_KEEP_ALL,
    # The label belongs to this host; another host could not set it.
    "--xattrs-exclude=security.selinux",
    "--use-compress-program=zstd -T0 -1 -q",
    "--warning=no-file-ignored",  # sockets
    "--quoting-style=escape",
]
_LIVE = ["--ignore-failed-read", "--verbose", "--verbose", "--full-time", "--utc"]

_CLOCKS = """
cd "$1" && date +%s.%N && cut -d ' ' -f 1 /proc/uptime && stat -f -c %T . && stat -c %d:%i .
"""
# A live scan only provides inodes: what it misses is archived again, so it may be incomplete. The
# folder of a restore is as large as the volume, and is left out anyway.
_SCAN = f"""
cd "$1" || exit
find . -regextype posix-extended -regex '\\./{RUN_FOLDER}' -prune -printf "$5" -o \\
-printf "$5" >"$2" || [ "$6" = live ] || exit
tr "$8" "$9" <"$2" >"$3" || exit
rm -f "$2"
sort -z -s -t ' ' "$7" -S 64M -T "$4" -o "$3" "$3"
"""
_SORT = 'sort -z -s -t " " "$4" -S 64M -T "$3" -o "$2" "$1"'


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clock of the volume's file system, the clock since boot, and the file system's type."""

    now: float
    uptime: float
    filesystem: str
    root: str

    def stepped_since(self, earlier: Clocks) -> bool:
        """Whether the clock was set between two readings."""
        drift = (self.now - earlier.now) - (self.uptime - earlier.uptime)
        return abs(drift) > STEP_SECONDS


@dataclass(frozen=True, slots=True)
class LevelZero:
    """What level 1 needs from level 0."""

    archive: Path
    clocks: Clocks
    records: Path
    writing: Writing
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Archived:
    """The result of one call: the archives that a restore needs in order, and their content.
    `remarks` are shown to the user."""

    files: int
    bytes: int
    levels: tuple[Path, ...]
    gone: Path | None
    excluded: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    level_0: tuple[int, int] | None = None

    def record(self, volume: VolumeState, directory: Path) -> VolumeRecord:
        """Return the record of the volume for a set in this directory."""
        gone = self.gone
        return VolumeRecord(
            key=volume.key,
            name=volume.name,
            files=self.files,
            bytes=self.bytes,
            levels=tuple(str(path.relative_to(directory)) for path in self.levels),
            gone=str(gone.relative_to(directory)) if gone is not None else None,
            compression=COMPRESSION,
            excluded=self.excluded,
            level_0=self.level_0,
        )


@dataclass(frozen=True, slots=True)
class Archiver:
    """Writes the archives of one volume at one place to `<stem>.<level>.tar.zst`."""

    place: Place
    stem: Path
    exclusion: Exclusion
    allow_devices: bool
    progress: Progress
    #: Returns the files that are open for writing in the volume now.
    writing: Callable[[], Writing]

    def level_zero(self) -> tuple[Archived, LevelZero]:
        """Archive everything while services run, and record what the archive really contains."""
        place, archive = self.place, self._archive(0)
        clocks = self._clocks()
        # After T0: write out pages that were dirty before it, so that the next write to them, also
        # through mmap, is dated after T0.
        self._run(["sync", "-f", place.root])
        # Also after T0 and before tar: a write that neither time stamps nor the open files reveal
        # began after T0, or ended before tar read the file.
        writing = self.writing()
        scan = self._scan(live=True)
        listing, tally = place.output("listing"), Tally(self.exclusion)
        arguments = [*_LIVE, f"--index-file={place.see(listing)}", *self._exclusions(scan, tally)]
        with _removed_on_failure(archive):
            ended = self._tar(archive, [*arguments, "--directory", place.root, "."], (0, 1))
            self._refuse_unread(ended)
            size, records_file = self._read_listing(listing, scan)
            self._refuse_restore(size.late)
        gone = self._gone(size.late) if size.late else None
        remarks = tuple(map(_lookalike, tally.lookalikes))
        whole = (size.all_files, size.all_bytes)
        archived = Archived(
            size.files, size.bytes, (archive,), gone, tally.result(), remarks, whole
        )
        return archived, LevelZero(archive, clocks, records_file, writing, whole)

    def level_one(self, zero: LevelZero | None, fresh: Callable[[], Place | None]) -> Archived:
        """Archive what differs from level 0, or everything if the T0 rule does not hold.

        `fresh` opens the volume through a separate mount, if possible.
        """
        clocks = self._clocks()
        if zero is not None and (zero.writing.unseen or _is_unproven(clocks, zero.clocks)):
            return self._everything(zero)
        lost_root = zero is not None and clocks.root != zero.clocks.root
        difference, take, gone = self._compare(None if lost_root else zero)
        if lost_root or (difference.files == 0 and difference.dropped > 0):
            # An unmounted volume looks like an empty root.
            other = fresh()
            if other is not None:
                return self._at(other).level_one(zero, lambda: None)
            if lost_root:
                raise QuiesceError(
                    f"volume {self.place.volume} is no longer the same folder as when level 0 was "
                    "made",
                    "see whether it is still mounted, then run the backup again",
                )
        return self._write_level_one(zero, difference, take, gone)

    def add(self, tree: Path, names: Iterable[bytes]) -> Path:
        """Write level 1 from these files (`./a/b`) of another folder, which only Quiesce uses."""
        archive, take = self._archive(1), self.place.output("take")
        take.write_bytes(b"".join(name + b"\0" for name in names))
        listed = ["--null", "--no-unquote", "--no-recursion"]
        listed += ["--directory", self.place.see(tree), f"--files-from={self.place.see(take)}"]
        with _removed_on_failure(archive):
            self._tar(archive, listed, (0,))
        return archive

    def _everything(self, zero: LevelZero) -> Archived:
        difference, take, _ = self._compare(None)
        archived = self._write_level_one(None, difference, take, None)
        zero.archive.unlink()
        if not zero.writing.unseen:
            return archived
        remark = (
            "all of it was archived again while services were stopped, because writes in progress "
            f"could have been missed: {zero.writing.unseen}"
        )
        return replace(archived, remarks=(remark,))

    def _write_level_one(
        self, zero: LevelZero | None, difference: Difference, take: Path, gone: Path | None
    ) -> Archived:
        self._refuse_devices(difference.devices)
        archive = self._archive(1)
        names = ["--null", "--no-unquote", "--no-recursion"]
        names += ["--directory", self.place.root, f"--files-from={self.place.see(take)}"]
        with _removed_on_failure(archive):
            self._tar(archive, names, (0,))
        excluded = difference.tally.result()
        kept = self._gone(())
        if zero is None or gone is None:
            kept.unlink()
            return Archived(difference.files, difference.size, (archive,), None, excluded)
        with gone.open("rb") as source, kept.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        levels = (zero.archive, archive)
        return Archived(
            difference.files, difference.size, levels, kept, excluded, level_0=zero.size
        )

    # ------------------------------------------------------------------------------- looking

    def _clocks(self) -> Clocks:
        ended = self._run(["sh", "-c", _CLOCKS, "clocks", self.place.root])
        now, uptime, filesystem, root = ended.output.read_text().split("\n")[:4]
        return Clocks(float(now), float(uptime), filesystem, root)

    def _scan(self, *, live: bool) -> Path:
        place = self.place
        raw, scan = place.output("raw"), place.output("scan-live" if live else "scan")
        script = ["sh", "-c", _SCAN, "scan", place.root, place.see(raw), place.see(scan)]
        folder = place.see(scan.parent)
        self._run([*script, folder, FORMAT, "live" if live else "", SORT_KEY, *EXCHANGE])
        raw.unlink(missing_ok=True)
        return scan

    def _compare(self, zero: LevelZero | None) -> tuple[Difference, Path, Path]:
        found, gone = self.place.output("found"), self.place.output("gone")
        before: Iterable[bytes] = records(zero.records) if zero is not None else ()
        since = zero.clocks.now - MARGIN_SECONDS if zero is not None else 0.0
        writing = zero.writing if zero is not None else Writing()
        scan = self._scan(live=False)
        with found.open("wb") as taken, gone.open("wb") as dropped:
            difference = Difference(
                take=lambda path: taken.write(path + b"\0"),
                drop=lambda path: dropped.write(exchanged(path) + b"\0"),
            )
            difference.compare(before, records(scan), since, self.exclusion, writing)
        take = self.place.output("take")
        with take.open("wb") as names:
            for path in heapq.merge(records(found), difference.linked()):
                names.write(exchanged(path) + b"\0")
        return difference, take, gone

    def _read_listing(self, listing: Path, scan: Path) -> tuple[Size, Path]:
        """Return the size of the archive's content, and the file of its records for level 1."""
        place, size = self.place, Size()
        raw, ordered = place.output("raw"), place.output("listed")
        which = self.exclusion.which
        with raw.open("wb") as target, listing.open("rb") as lines:
            for entry in parse_listing(lines):
                size.add(entry, [p for p in entry.paths if which(p) is not None])
                target.writelines(record + b"\0" for record in listing_records(entry))
        self._refuse_devices(size.devices)
        with listing.open("rb") as lines:
            size.add_links(parse_listing(lines))
        folder = place.see(ordered.parent)
        sort = ["sh", "-c", _SORT, "sort", place.see(raw), place.see(ordered), folder, SORT_KEY]
        self._run(sort)
        known = place.output("level-0")
        with known.open("wb") as target:
            for record in level_zero_records(records(ordered), records(scan)):
                target.write(record + b"\0")
        for file in (raw, ordered, listing, scan):
            file.unlink()
        return size, known

    # ------------------------------------------------------------------------------- running

    def _run(self, argv: Sequence[str]) -> Ended:
        return self.place.run(argv, what=f"scanning volume {self.place.volume}")

    def _tar(self, archive: Path, arguments: Sequence[str], accept: Sequence[int]) -> Ended:
        what = f"archiving volume {self.place.volume}"
        argv = [*_CREATE, ARCHIVE, *arguments]
        with report_growth(lambda: [archive], what, self.progress):
            return self.place.run(argv, what=what, accept=accept, writes=archive)

    def _exclusions(self, scan: Path, tally: Tally) -> list[str]:
        """Return the options that make tar leave out these entries, by name."""
        options: list[str] = []
        for mode, lines in zip(
            (AS_THEY_ARE, QUOTED),
            for_tar(left_out(records(scan), self.exclusion, tally)),
            strict=True,
        ):
            if lines:
                file = self.place.output(f"exclude-{len(options)}")
                file.write_bytes(b"".join(line + b"\n" for line in lines))
                options += [*mode, f"--exclude-from={self.place.see(file)}"]
        return options

    def _gone(self, paths: Iterable[bytes]) -> Path:
        """Write the list of entries that a restore removes after level 0."""
        file = make_empty(self.stem.with_name(f"{self.stem.name}.gone"))
        file.write_bytes(b"".join(path + b"\0" for path in paths))
        return file

    def _archive(self, level: int) -> Path:
        return make_empty(self.stem.with_name(f"{self.stem.name}.{level}.tar.zst"))

    def _at(self, place: Place) -> Archiver:
        return replace(self, place=place)

    def _refuse_unread(self, ended: Ended) -> None:
        """Entries may vanish and change while they are read. Anything else is an error already in
        level 0: level 1 would fail too, and without a level 1 nobody would notice."""
        if not any(map(is_serious, lines_of(ended.errors))):
            return
        raise QuiesceError(
            f"not everything in volume {self.place.volume} could be read",
            "see the details: grant the right to read it, repair the disk, or exclude it",
            details=last_lines(ended.errors),
        )

    def _refuse_restore(self, late: Sequence[bytes]) -> None:
        if any(self.exclusion.which(path) == RESERVED for path in late):
            raise QuiesceError(
                f"a restore of volume {self.place.volume} began while it was archived",
                "wait until it has ended, then run the backup again",
            )

    def _refuse_devices(self, devices: Sequence[bytes]) -> None:
        if devices and not self.allow_devices:
            raise QuiesceError(
                f"volume {self.place.volume} contains device nodes, which a restore refuses",
                "exclude them in stack.yaml",
                details=[path.decode(errors="backslashreplace") for path in devices[:20]],
            )


def _lookalike(name: str) -> str:
    return (
        f"{name} in its root is archived, although it is named like the working folders of "
        "restores: rename it to avoid confusion"
    )


def _is_unproven(now: Clocks, then: Clocks) -> bool:
    return now.stepped_since(then) or now.filesystem not in PROVEN_FILESYSTEMS


def archive_copy(
    place: Place, stem: Path, exclude: Sequence[str], progress: Progress, *, devices: bool
) -> Archived:
    """Archive a folder in which nobody writes, such as what an exchange left, in one level.
    `devices`: device files are permitted."""
    stem.parent.mkdir(mode=0o700, exist_ok=True)
    archived, _ = Archiver(place, stem, Exclusion(exclude), devices, progress, Writing).level_zero()
    return archived


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
