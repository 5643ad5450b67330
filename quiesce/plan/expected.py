"""How much a new set will take on the disk. Pure.

The best estimate is the size of an earlier set of the same kind. For a source that no such set
contains, the estimate is based on its current size: its compressed size is unknown, so only a small
part counts as certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from quiesce.model import BackupSet, SetKind

#: The factor by which a set may exceed known amounts.
ROOM = 1.2
#: Data seldom compresses to less than one part in this many.
MOST_COMPRESSED = 10
#: The size of a database without any tables, which its dump does not contain.
EMPTY_DATABASE = 8 << 20
#: The journal reserves 256 KiB; manifest, documents and folders of the smallest set take the rest.
OWN = 320 << 10

Verdict = Literal["fits", "close", "short"]


@dataclass(frozen=True, slots=True)
class NewSet:
    """A set to be made, with databases and volumes by their keys.

    `encrypted`: its members are encrypted in place. `spooled`: a store gets encrypted copies of
    them, made one by one after the set is published.
    """

    kind: SetKind
    cold: bool
    databases: tuple[str, ...]
    volumes: tuple[str, ...]
    encrypted: bool = False
    spooled: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """Bytes that a set needs while it is made: `least` almost certainly, `about` with growth.

    `like` is the newest earlier set that was compared, "" if only sizes are known. The sizes of
    `unknown` are not in it.
    """

    least: int
    about: int
    like: str = ""
    unknown: tuple[str, ...] = ()

    def verdict(self, free: int) -> Verdict:
        """Return whether it fits into `free` bytes. `close` may fit or not."""
        if free < self.least:
            return "short"
        return "close" if free < self.about else "fits"

    def reason(self) -> str:
        """Return the basis of the numbers, in words."""
        how = f"judging by {self.like}" if self.like else "judging by the size of the data"
        unknown = f"; the size of {', '.join(self.unknown)} is unknown"
        return how + (unknown if self.unknown else "")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Current bytes by key: of databases on their server, and of the archived content of measured
    volumes."""

    databases: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)


def expect(instance: str, new: NewSet, sets: Sequence[BackupSet], sizes: Sizes) -> Expected:
    """Return the space that a new set of this instance needs. `sets` are all existing sets, oldest
    first."""
    earlier = tuple(
        found
        for found in reversed(sets)
        if found.manifest.instance == instance
        and not found.manifest.safety
        and found.manifest.kind == new.kind
        and (found.manifest.mode == "cold") == new.cold
    )
    parts: dict[str, Expected | None] = {}
    for key in new.databases:
        parts[key] = _database(_newest(earlier, key), key, sizes.databases.get(key))
    for key in new.volumes:
        parts[key] = _volume(_newest(earlier, key), key, sizes.volumes.get(key))
    known = [part for part in parts.values() if part is not None]
    rest = (_grown(_rest(found)) for found in earlier[:1])
    total = _sum((Expected(OWN, OWN), *known, *rest))
    # One member at a time exists twice, in the clear and encrypted.
    if new.encrypted:
        total = replace(total, least=total.least + max((p.least for p in known), default=0))
    if new.encrypted or new.spooled:
        total = replace(total, about=total.about + max((p.about for p in known), default=0))
    like = next((part.like for part in known if part.like), "")
    return replace(
        total, like=like, unknown=tuple(key for key, part in parts.items() if part is None)
    )


# ---------------------------------------------------------------------------------------- inside


def _newest(earlier: Iterable[BackupSet], key: str) -> BackupSet | None:
    return next((found for found in earlier if key in found.manifest.sources), None)


def _stored(found: BackupSet, key: str) -> int:
    kinds = ("database", "settings", "volume", "gone")
    members = found.manifest.members
    return sum(m.bytes for m in members if m.source == key and m.kind in kinds)


def _rest(found: BackupSet) -> int:
    """Return the bytes of everything that belongs to no database or volume."""
    kinds = ("globals", "stack", "document")
    return sum(m.bytes for m in found.manifest.members if m.kind in kinds)


def _grown(stored: int, like: str = "") -> Expected:
    return Expected(stored, int(stored * ROOM), like)


def _compressed(now: int) -> Expected:
    return Expected(now // MOST_COMPRESSED, now)


def _database(before: BackupSet | None, key: str, now: int | None) -> Expected | None:
    if before is not None:
        return _grown(_stored(before, key), before.name)
    return None if now is None else _compressed(max(0, now - EMPTY_DATABASE))


def _volume(before: BackupSet | None, key: str, now: int | None) -> Expected | None:
    """Return what a volume needs: what it took, adapted to its size then and `now`."""
    if before is None:
        return None if now is None else _compressed(now)
    stored = _stored(before, key)
    if now is None:
        return _grown(stored, before.name)
    then = next(record.bytes for record in before.manifest.volumes if record.key == key)
    if now < then:
        # What was removed may have been the part that did not compress.
        least, about = max(0, stored - (then - now)), stored * now // then
    else:
        least = stored + (now - then) // MOST_COMPRESSED
        about = stored + now - then
        about = min(about, stored * now // then) if then else about
    return Expected(least, int(about * ROOM), before.name)


def _sum(parts: Iterable[Expected]) -> Expected:
    parts = tuple(parts)
    return Expected(sum(p.least for p in parts), sum(p.about for p in parts))
