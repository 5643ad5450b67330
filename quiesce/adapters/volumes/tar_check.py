"""Finds members of a tar archive that must not be unpacked (rule 13).

Parses the headers itself: Python's `tarfile` takes twelve seconds for 60,000 members. If this code
and GNU tar could disagree about a header, the archive is refused. GNU tar, which has its own
safeguards, unpacks it; this check refuses it before any data changes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from quiesce.adapters import zstd
from quiesce.errors import QuiesceError
from quiesce.exclusion import is_run_folder
from quiesce.file_errors import hint_for, reason
from quiesce.ports import VolumeSize

_BLOCK = 512
_CHUNK = 1 << 20
_HEADER_LIMIT = 16 << 20
_MOST_REASONS = 1000
_MOST_FILLING = 64 << 20
#: Limit of consecutive headers that only extend the next one.
_MOST_EXTENDED = 32
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_HOLLOW = (b"GNU.sparse.realsize", b"GNU.sparse.size")
_WANTED = frozenset({b"path", b"linkpath", b"size", b"GNU.sparse.name", *_HOLLOW})
_NUMBERS = frozenset({b"size", *_HOLLOW})
_REGULAR = frozenset({b"0", b"\0", b"7", b"S"})
_HARD, _SYMBOLIC, _DIRECTORY = b"1", b"2", b"5"
_DEVICES = frozenset({b"3", b"4"})
_KNOWN = _REGULAR | _DEVICES | {_HARD, _SYMBOLIC, _DIRECTORY, b"6"}


@dataclass(frozen=True, slots=True)
class Header:
    """One member: its type's letter, its name, its link target, its stored bytes, and the bytes of
    the unpacked file, which are more if it has holes. `sparse`: the stored bytes are not simply its
    content."""

    type: bytes
    name: bytes
    link: bytes
    size: int
    unpacked: int = 0
    sparse: bool = False


@dataclass(slots=True)
class Taken:
    """How many bytes of the current member's content the caller of `read_headers` has read."""

    count: int = 0


class Damaged(Exception):
    """The file is not a tar archive that can be read to its end."""


def compression_of(path: Path) -> str:
    """Return `zstd`, `gzip` or "", by the file's first bytes. Raise QuiesceError if it cannot be
    read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise QuiesceError(
            f"{path} cannot be read: {reason(error)}", hint_for(error, path)
        ) from error
    if start == _ZSTD:
        return "zstd"
    return "gzip" if start[:2] == _GZIP else ""


def check_archives(
    archives: Sequence[Path], *, allow_devices: bool, most: VolumeSize | None = None
) -> tuple[str, ...]:
    """Return every member that must not be unpacked, with its reason; at most a thousand.

    The archives are unpacked one over the other, so a link in the first counts for the next. Each
    is read to its end, but not beyond `most` entries and bytes in total. Raise QuiesceError for a
    damaged one.
    """
    files = size = 0
    judge = Judge(allow_devices)
    for path in archives:
        try:
            with opened(path) as stream:
                for header in read_headers(stream):
                    judge.judge(header)
                    files += bool(components(header.name))
                    size += header.unpacked
                    if most is not None and (files > most.files or size > most.bytes):
                        return (*judge.verdict(), _too_much(path, most))
                _read_to_end(stream)
        except unreadable() as error:
            raise QuiesceError(
                f"{path.name} is not a readable tar archive: {error}",
                "restore another set; 'inv verify' shows whether this one was changed",
            ) from error
    return judge.verdict()


def _too_much(path: Path, most: VolumeSize) -> str:
    return (
        f"{path.name} unpacks to more than the {most.files} entries and {most.bytes} bytes that "
        "are allowed"
    )


def _read_to_end(stream: IO[bytes]) -> None:
    """Read to the end, where the compressed data has its checksum, after the padding blocks."""
    for _ in range(_MOST_FILLING // _CHUNK):
        if not stream.read(_CHUNK):
            return
    raise Damaged("data follows its end")


# ----------------------------------------------------------------------------------- the rules


@dataclass(slots=True)
class Judge:
    """Checks members in the order in which they are unpacked, and collects the problems."""

    allow_devices: bool
    _reasons: list[str] = field(default_factory=list)
    _count: int = 0
    _links: set[bytes] = field(default_factory=set)

    def judge(self, header: Header) -> None:
        """Check one member and record whether its name is a symbolic link now."""
        reason = self._reason(header)
        if reason:
            self._count += 1
            if len(self._reasons) < _MOST_REASONS:
                shown = header.name.decode(errors="backslashreplace")
                self._reasons.append(f"{shown!r}: {reason}")
            return
        name = b"/".join(components(header.name))
        target = b"/".join(components(header.link))
        if header.type == _SYMBOLIC or (header.type == _HARD and target in self._links):
            self._links.add(name)
        else:
            self._links.discard(name)

    def verdict(self) -> tuple[str, ...]:
        more = self._count - len(self._reasons)
        return (*self._reasons, *([f"and {more} more"] if more else []))

    def _reason(self, header: Header) -> str:
        parts = components(header.name)
        if reason := self._reason_of_name(header.name, parts):
            return reason
        if not parts and header.type != _DIRECTORY:
            return "is the root, but not a directory"
        if parts[:1] and is_run_folder(parts[0].decode("latin-1")):
            return "has a name that is reserved for Quiesce"
        if header.type not in _KNOWN:
            return f"is of the unknown type {header.type!r}"
        if header.size and header.type not in _REGULAR:
            return "has content, which its type cannot have"
        if header.type in _DEVICES:
            return "" if self.allow_devices else "is a device node"
        return self._reason_of_target(header.link) if header.type == _HARD else ""

    def _reason_of_target(self, link: bytes) -> str:
        target = components(link)
        reason = self._reason_of_name(link, target)
        if not reason and not target:
            reason = "is the root"
        return f"is a hard link whose target {reason}" if reason else ""

    def _reason_of_name(self, name: bytes, parts: Sequence[bytes]) -> str:
        if not name:
            return "has no name"
        if name.startswith(b"/"):
            return "is absolute"
        if b".." in parts:
            return "points outside of the volume"
        if self._links:
            for depth in range(1, len(parts)):
                parent = b"/".join(parts[:depth])
                if parent in self._links:
                    shown = parent.decode(errors="backslashreplace")
                    return f"passes through the symbolic link {shown!r}"
        return ""


def components(name: bytes) -> list[bytes]:
    """Return the parts of a member's name."""
    return [part for part in name.split(b"/") if part not in (b"", b".")]


# --------------------------------------------------------------------------------- the headers


def read_headers(stream: IO[bytes], taken: Taken | None = None) -> Iterator[Header]:
    """Yield the members of a tar archive: v7, ustar, pax and GNU, sparse files of every kind.

    After each, the first `size` bytes of the stream are its content. A caller that reads some of
    them adds their number to `taken`.
    """
    shared: dict[bytes, bytes] = {}
    own: dict[bytes, bytes] = {}
    extended = 0
    while block := stream.read(_BLOCK):
        if len(block) < _BLOCK:
            raise Damaged("it ends in the middle of a header")
        if not block.strip(b"\0"):
            return
        _check_sum(block)
        letter, size = block[156:157], _number(block[124:136])
        if letter in b"xXgLK":
            extended += 1
            if extended > _MOST_EXTENDED:
                raise Damaged("it has too many extended headers in a row")
            body = _body(stream, size)
            if letter == b"L":
                own[b"path"] = body.split(b"\0", 1)[0]
            elif letter == b"K":
                own[b"linkpath"] = body.split(b"\0", 1)[0]
            else:
                (shared if letter == b"g" else own).update(_pax_records(body))
            continue
        # Most members have only one header.
        known = {**shared, **own} if shared or own else own
        name = known.get(b"GNU.sparse.name") or known.get(b"path") or _name(block)
        link = known.get(b"linkpath") or _text(block[157:257])
        size = int(known[b"size"]) if b"size" in known else size
        hollow = [int(known[key]) for key in _HOLLOW if key in known]
        if letter == b"S":
            hollow.append(_number(block[483:495]))
            _skip_sparse_map(stream, block)
        yield Header(letter, name, link, size, max([size, *hollow]), bool(hollow))
        _skip(stream, -(-size // _BLOCK) * _BLOCK - (taken.count if taken else 0))
        if taken:
            taken.count = 0
        own, extended = {}, 0
    # Tar ends every archive with empty blocks: without them, it may be cut off.
    raise Damaged("it has no end")


def _check_sum(block: bytes) -> None:
    wanted = _number(block[148:156])
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != wanted:
        raise Damaged("a header has a wrong checksum")


def _number(field_: bytes) -> int:
    if field_[0] & 0x80:
        value = int.from_bytes(field_, "big") & ~(0x80 << 8 * (len(field_) - 1))
        if value >> 63:
            raise Damaged("a number in a header is out of range")
        return value
    text = field_.strip(b" \0") or b"0"
    # Python would also accept signs, prefixes and underscores, where tar stops reading.
    if text.strip(b"01234567"):
        raise Damaged("a number in a header is invalid")
    return int(text, 8)


def _text(field_: bytes) -> bytes:
    return field_.split(b"\0", 1)[0]


def _name(block: bytes) -> bytes:
    name = _text(block[:100])
    # Old GNU archives ("ustar" and two spaces) use the prefix field for something else.
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _body(stream: IO[bytes], size: int) -> bytes:
    if size > _HEADER_LIMIT:
        raise Damaged("a header is larger than any name or attribute can be")
    body = stream.read(-(-size // _BLOCK) * _BLOCK)
    if len(body) < size:
        raise Damaged("it ends in the middle of a header")
    return body[:size]


def _pax_records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 20)
        digits = body[position:space] if space > position else b""
        length = int(digits) if digits.isdigit() else 0
        record = body[space + 1 : position + length]
        if length <= space - position or not record.endswith(b"\n"):
            raise Damaged("an extended header cannot be read")
        key, _, value = record[:-1].partition(b"=")
        if key in _WANTED:
            if b"\0" in value or (key in _NUMBERS and not value.isdigit()):
                raise Damaged("an extended header contains an impossible value")
            yield key, value
        position += length


def _skip_sparse_map(stream: IO[bytes], block: bytes) -> None:
    extended = block[482]
    while extended:
        extended = _body(stream, _BLOCK)[504]


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        chunk = stream.read(min(count, _CHUNK))
        if not chunk:
            raise Damaged("it ends in the middle of a member")
        count -= len(chunk)


# ------------------------------------------------------------------------------- decompression


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open an archive for reading, decompressed."""
    kind = compression_of(path)
    with path.open("rb") as raw:
        if kind == "zstd":
            with zstd.module().open(raw, "rb") as stream:
                yield cast("IO[bytes]", stream)
        elif kind == "gzip":
            with gzip.open(raw, "rb") as unzipped:
                yield cast("IO[bytes]", unzipped)
        else:
            yield raw


def unreadable() -> tuple[type[Exception], ...]:
    """Return the errors of an archive that is damaged or cannot be read."""
    return (OSError, EOFError, Damaged, zlib.error, zstd.module().ZstdError)
