"""Compares the entries of a volume with those of level 0: the T0 rule (rule 12). Pure.

GNU find writes one record per entry, GNU sort orders them by the bytes of their names, and the code
here reads two sorted files side by side, so memory use does not depend on the number of entries. A
record is `CTIME LINKS TYPE SIZE MTIME DEVICE INODE PATH`, ended by NUL. The part from TYPE on is
the *identity*, which is compared as text. Paths start with `./`, and in records their slashes and
bytes 1 are swapped, so that a folder sorts directly before its content, and tar, which sets a
folder's times when it leaves it, gets names in an order that it can restore.

Level 0 is described by a file of the same form, made from two sources, because neither is enough:
tar's own list says what really is in the archive (type, size and mtime as tar saw them), and the
scan before it provides the inode. If the two differ, the record has no inode, so that level 1
archives the entry again.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import IO

from quiesce.exclusion import Exclusion, Tally

#: Format for find. `%y` is the type's letter, times are seconds with a fraction.
FORMAT = r"%C@ %n %y %s %T@ %D %i %p\0"
#: Sort key: the path is the eighth field and may contain spaces.
SORT_KEY = "-k8"

#: For tr: the bytes that are swapped in a record, both ways.
EXCHANGE = (r"/\001", r"\001/")

_EXCHANGE = bytes.maketrans(b"/\x01", b"\x01/")
#: The byte that stands for a slash in a record.
SLASH = b"\x01"
_CHUNK = 1 << 20
#: Replaces ctime and links in a record of level 0; the second one marks an entry with extended
#: attributes, which find does not print.
_PLAIN, _WITH_ATTRIBUTES = b"0 0", b"0 x"
#: Time stamps of files are up to a tick older than the clock, and clocks are adjusted.
MARGIN_SECONDS = 2.0


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file, without their NUL. Raise ValueError if the last one is cut
    off."""
    with path.open("rb") as stream:
        yield from _split(stream)


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(_CHUNK):
        parts = (rest + chunk).split(b"\0")
        rest = parts.pop()
        yield from parts
    if rest:
        raise ValueError("the list of entries is cut off")


def exchanged(path: bytes) -> bytes:
    """Convert a path to its form in a record, or back."""
    return path.translate(_EXCHANGE)


def _path_of(identity: bytes) -> bytes:
    return identity.split(b" ", 5)[5]


# ------------------------------------------------------------------------- what tar says it wrote

_LINE = re.compile(
    rb"(.)[-rwxsStT]{9}(.) +\S+ +(\d+|\d+,\d+) "
    rb"(\d+)-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d+))? *(\./.*)",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_LETTERS |= {b"v": b"\v"}
_TYPES = {b"-": b"f", b"C": b"f"}
#: Marks after the permissions: attributes, or an access list, which hides whether there are any.
_MARKS = (b"*", b"+")
_SEPARATORS = {b"l": b" -> ", b"h": b" link to ./"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `tar -vv`. A hard link has type `h`; `target` is the target of a link.

    The name of a link may look like a name and a target: `others` are the other possible paths.
    """

    type: bytes
    size: int
    mtime: bytes
    path: bytes
    target: bytes
    has_attributes: bool
    others: tuple[bytes, ...] = ()

    @property
    def paths(self) -> tuple[bytes, ...]:
        return (self.path, *self.others)


def parse_listing(lines: Iterable[bytes]) -> Iterator[Listed]:
    """Parse the output of `tar -c -vv --full-time --utc --quoting-style=escape` in the C locale.

    Raise ValueError for a line of another form: a list that is only partly understood proves
    nothing.
    """
    for line in lines:
        match = _LINE.fullmatch(line.rstrip(b"\n"))
        if match is None:
            raise ValueError(f"tar listed {line[:120]!r}")
        letter, mark, size, *date, name = match.groups()
        kind = _TYPES.get(letter, letter)
        names, target = [name], b""
        if kind in _SEPARATORS:
            names, target = _split_link(name, _SEPARATORS[kind])
        elif kind == b"d":
            names = [name.rstrip(b"/")]
        yield Listed(
            type=kind,
            size=int(size) if b"," not in size else 0,
            mtime=_timestamp(tuple(date)),
            path=unquote(names[0]),
            target=unquote(target),
            has_attributes=mark in _MARKS,
            others=tuple(map(unquote, names[1:])),
        )


def _split_link(text: bytes, separator: bytes) -> tuple[list[bytes], bytes]:
    """Return every name that the text may begin with, and what follows the first of them."""
    parts = text.split(separator)
    names = [separator.join(parts[:count]) for count in range(1, len(parts))]
    # The target of a hard link is a path of the archive, which begins with ./
    ending = b"./" if separator.endswith(b"./") else b""
    return names or [text], ending + separator.join(parts[1:])


def unquote(name: bytes) -> bytes:
    """Undo tar's quoting style `escape`."""
    return _ESCAPE.sub(_unquoted, name) if b"\\" in name else name


def _unquoted(match: re.Match[bytes]) -> bytes:
    text = match[1]
    return bytes([int(text, 8) & 0xFF]) if len(text) == 3 else _LETTERS.get(text, text)


def _timestamp(date: tuple[bytes | None, ...]) -> bytes:
    """Return the time as find prints it with `%T@`: ten digits of fraction."""
    year, month, day, hour, minute, second, fraction = date
    minutes = _minutes(year, month, day, hour, minute)
    return b"%d.%s" % (minutes + int(second or 0), (fraction or b"").ljust(10, b"0"))


@lru_cache(maxsize=4096)
def _minutes(*fields: bytes | None) -> int:
    year, month, day, hour, minute = (int(text or 0) for text in fields)
    return timegm((year, month, day, hour, minute, 0))


# ------------------------------------------------------------------------------------ level 0


def listing_records(entry: Listed) -> Iterator[bytes]:
    """Return tar's line of an entry in the form of records, to be sorted like a scan: one for each
    path that it may have, of unknown type if there are several."""
    mark = _WITH_ATTRIBUTES if entry.has_attributes else _PLAIN
    kind = b"?" if entry.others else entry.type
    for path in entry.paths:
        yield b"%s %s %d %s 0 0 %s" % (mark, kind, entry.size, entry.mtime, exchanged(path))


def level_zero_records(listed: Iterable[bytes], scanned: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the records of level 0 in order, from tar's list and the scan made before it, both
    sorted."""
    scan = _Cursor(scanned)
    for path, same_path in groupby(listed, key=lambda record: record[4:].split(b" ", 5)[5]):
        # Tar lists each path once: if one record is certain, the others belong to other paths.
        record = min(same_path, key=lambda found: found[4:5] == b"?")
        mark, (kind, size, mtime) = record[:3], record[4:].split(b" ", 3)[:3]
        seen = scan.find(path)
        if not seen or kind == b"?":
            same = False
        elif kind == b"d":
            # Level 1 contains every directory anyway; only its identity matters.
            same = seen.startswith(b"d")
        elif kind == b"h":
            # Tar shows neither type nor size of a hard link's inode.
            same = seen.split(b" ", 3)[2] == mtime
        else:
            same = seen.split(b" ", 3)[:3] == [kind, size, mtime]
        if not same:
            seen = b"%s 0 0 0 0 %s" % (b"?" if kind == b"h" else kind, path)
        yield b"%s %s" % (mark, seen)


class _Cursor:
    """Sorted records that are searched for paths in the same order."""

    def __init__(self, sorted_records: Iterable[bytes]) -> None:
        self._rest = iter(sorted_records)
        self.advance()

    def advance(self) -> None:
        self.record = next(self._rest, b"")
        self.identity = self.record.split(b" ", 2)[2] if self.record else b""
        self.path = _path_of(self.identity) if self.record else b""

    def find(self, path: bytes, passed: Callable[[bytes], object] = len) -> bytes:
        """Return the identity of this path, or b""; call `passed` for each path before it."""
        while self.record and self.path < path:
            passed(self.path)
            self.advance()
        return self.identity if self.path == path else b""


# ------------------------------------------------------------------------------------ level 1


@dataclass(slots=True)
class Difference:
    """Finds the entries for level 1 and the deleted entries, and passes them to `take` and `drop`.

    Both get paths in record form, in order. The paths of `linked` must be archived too, in their
    place in that order; they are known only at the end.

    `files` and `size` (bytes) are those of the whole volume after a restore; `dropped` is the
    number of deleted entries, `devices` are device nodes, which a restore would refuse, `tally`
    counts what patterns leave out.
    """

    take: Callable[[bytes], object]
    drop: Callable[[bytes], object]
    files: int = 0
    size: int = 0
    dropped: int = 0
    devices: list[bytes] = field(default_factory=list)
    tally: Tally = field(default_factory=lambda: Tally(Exclusion(())))
    _again: tuple[bytes, ...] = ()
    _linked: dict[tuple[bytes, bytes], _Names] = field(default_factory=dict)

    def compare(
        self,
        before: Iterable[bytes],
        now: Iterable[bytes],
        since: float,
        exclusion: Exclusion,
        writing: Container[tuple[bytes, bytes]] = (),
    ) -> None:
        """Compare level 0 and the current scan side by side.

        `since` is T0 minus the margin, in seconds by the clock of the volume's file system; files
        that were open for `writing` then (device and inode) are archived whatever their times are.
        With an empty `before` everything is archived.
        """
        self.tally = Tally(exclusion)
        old = _Cursor(before)
        for record in now:
            ctime, links, identity = record.split(b" ", 2)
            path = old.path if identity == old.identity else _path_of(identity)
            kind, size, mtime, device, inode, _ = identity.split(b" ", 5)
            pattern = exclusion.which(exchanged(path))
            if pattern is not None:
                self.tally.add(pattern, exchanged(path), kind, int(size))
                continue
            known = path == old.path or bool(old.find(path, self._drop))
            recent = float(ctime) >= since or float(mtime) >= since
            recent = recent or (device, inode) in writing
            entry = _Entry(path, links, kind, size, device, inode, recent)
            changed = entry.recent or identity != old.identity
            self._judge(entry, old.record if known else b"", changed=changed)
            if known:
                old.advance()
        while old.record:
            self._drop(old.path)
            old.advance()

    def linked(self) -> list[bytes]:
        """Return all names of the files with several names of which at least one is archived, in
        order."""
        return sorted(path for n in self._linked.values() if n.taken for path in n.paths)

    def _judge(self, entry: _Entry, known: bytes, *, changed: bool) -> None:
        if entry.type == b"s":  # a socket belongs to a process, not to a backup
            if known:
                self._drop(entry.path)
            return
        self.files += entry.path != b"."
        if entry.type == b"f":
            self.size += int(entry.size)
        if entry.type in (b"b", b"c"):
            self.devices.append(exchanged(entry.path))
        if known and known.split(b" ", 3)[2] != entry.type:
            # Remove the old entry before the new one is unpacked: it could be a symbolic link.
            self._drop(entry.path)
        if entry.type == b"d":
            self._take_directory(entry, known)
        elif entry.links != b"1":
            # Archive all names of an inode together, or a restore would create several files.
            names = self._linked.setdefault((entry.device, entry.inode), _Names())
            names.paths.append(entry.path)
            names.taken = names.taken or changed or entry.path.startswith(self._again)
        elif changed or entry.path.startswith(self._again):
            self.take(entry.path)

    def _take_directory(self, entry: _Entry, known: bytes) -> None:
        # The folder had attributes, and was replaced or changed. They may be gone, which an archive
        # cannot express, so it is recreated with its content. (A new folder often has the old
        # inode.)
        had_attributes = known.startswith(_WITH_ATTRIBUTES) and entry.path != b"."
        another = known.split(b" ", 7)[5:7] != [entry.device, entry.inode]
        if had_attributes and (another or entry.recent):
            self._drop(entry.path)
            self._again = (*self._again, entry.path + SLASH)
        self.take(entry.path)

    def _drop(self, path: bytes) -> None:
        self.dropped += 1
        self.drop(path)


@dataclass(slots=True)
class _Entry:
    path: bytes
    links: bytes
    type: bytes
    size: bytes
    device: bytes
    inode: bytes
    recent: bool


@dataclass(slots=True)
class _Names:
    """The names of an inode with several names."""

    paths: list[bytes] = field(default_factory=list)
    taken: bool = False
