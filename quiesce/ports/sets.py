"""Where backup sets are kept: locally and in off-site stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quiesce.model import (
    BackupSet,
    Manifest,
    Member,
    MemberKind,
    OffsiteSet,
    Recipients,
    SetState,
    Trust,
)
from quiesce.ports.runtime import Progress


class Offsite(Protocol):
    """Off-site stores, by their names in `stack.yaml`.

    A set exists in a store if its index does, which is written last and never overwritten.
    Everything that comes from a store is untrusted until it was checked. Every method raises
    QuiesceError if the store cannot be reached or refuses; no message contains a credential.
    """

    def sets(self, store: str) -> tuple[OffsiteSet, ...]:
        """The sets of this instance, oldest first."""
        ...

    def unreadable(self, store: str) -> tuple[tuple[str, str], ...]:
        """Return names of sets whose index cannot be read, with the reasons."""
        ...

    def trust(self, store: str, name: str) -> Trust:
        """Return who uploaded the set, as far as this can be proven. Raise RequestError for a
        signing key that cannot be used."""
        ...

    def lost(self, store: str) -> tuple[str, ...]:
        """Return sets that were uploaded from here, are missing now and were not removed by this
        installation; oldest first."""
        ...

    def accepted(self, store: str) -> frozenset[str]:
        """Return the sets for which `accept` was called."""
        ...

    def accept(self, store: str, name: str) -> None:
        """Record that a user confirmed the small content of a set uploaded from here."""
        ...

    def damaged(self, store: str) -> frozenset[str]:
        """Return the sets in the store that `note_damage` recorded as damaged."""
        ...

    def note_damage(self, store: str, name: str, *, damaged: bool) -> None:
        """Record the result of verifying this set in the store, until its name is reused."""
        ...

    def push(self, store: str, backup: BackupSet, progress: Progress) -> bool:
        """Upload a set unless it is there already, signed with this installation's key, which is
        created if necessary. Correct objects of an earlier attempt are reused. Every object is
        read back before the index is written. Return whether anything was sent."""
        ...

    def verify(self, store: str, name: str, progress: Progress) -> tuple[str, ...]:
        """Read every object of the set completely; return the problems, each with the member's
        name."""
        ...

    def pull(self, store: str, name: str, directory: Path, progress: Progress) -> Path:
        """Download a set into a new folder below `directory`, decrypt it, compare it with its own
        sums, and return the folder. Raise CheckFailed naming each member that is wrong."""
        ...

    def remove(self, store: str, name: str) -> None:
        """Remove the set of this name from the store, its index first."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished file of a staged set that was read for its sum.

    `member` is its entry in the manifest. `identity` (inode, size, times) changes if the file is
    written again.
    """

    member: Member
    identity: tuple[int, ...]


class BackupStore(Protocol):
    """Sets on disk: staged, sealed, published at once, listed, checked, removed.

    It keeps no state of a set that is being made: the caller keeps what `measure` returned.
    """

    def sets(self) -> tuple[BackupSet, ...]:
        """Complete sets of the stack's `backups/`, oldest first by creation."""
        ...

    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Return folders that look like sets but cannot be read, with the reasons."""
        ...

    def open(self, run: str, name: str) -> Path:
        """Create (or find) the staging folder of a set and return it."""
        ...

    def names(self) -> frozenset[str]:
        """Every name that a new set must not take."""
        ...

    def scratch(self, run: str, name: str) -> Path:
        """Create (or find) a private folder for files of a run that may have no journal."""
        ...

    def hold(self, run: str) -> None:
        """Create (or find) the folder of a run, and lock it until this process ends."""
        ...

    def abandoned(self, keep: Collection[str]) -> tuple[str, ...]:
        """Return the dead runs that left a folder made by `hold`, except those in `keep`."""
        ...

    def read(self, path: Path) -> BackupSet:
        """Return the set in this folder. Raise RequestError if it is not a readable set."""
        ...

    def write(self, run: str, name: str, file: str, content: bytes) -> None:
        """Write this content to a file of a staged set, with mode 0600."""
        ...

    def measure(self, run: str, name: str, file: str, kind: MemberKind, source: str) -> Measured:
        """Sync a finished file of a staged set and read it back for its sum."""
        ...

    def encrypt(self, run: str, name: str, plain: Measured, recipients: Recipients) -> Measured:
        """Encrypt and sync this member of a staged set, and delete the plaintext. Return the
        encrypted member."""
        ...

    def decrypted(
        self, run: str, backup: BackupSet, identity: Path | None, progress: Progress
    ) -> BackupSet:
        """Return the set with decrypted members in a folder of this run, or unchanged if it is
        not encrypted. Raise RequestError if there is no key for it."""
        ...

    def seal(
        self,
        run: str,
        manifest: Manifest,
        documents: Mapping[str, bytes],
        measured: Collection[Measured] = (),
    ) -> BackupSet:
        """Write documents, sums and manifest, sync everything, and publish with one rename that
        never replaces another set. If this run has already published the set, return it.

        Raise QuiesceError if the content of a member has changed since it was `measured`. A member
        is read again only if its inode, size or times differ."""
        ...

    def verify(self, backup: BackupSet, progress: Progress) -> tuple[str, ...]:
        """Return every problem of the set, each with the member's name; nothing for a good set."""
        ...

    def adopt(self, path: Path) -> BackupSet:
        """Publish a complete set from a folder of a run, by one rename that never replaces."""
        ...

    def publish_file(
        self, staged: Path, name: str, *, compress: bool, recipients: Recipients
    ) -> Path:
        """Publish a finished file as `name` in the folder, compressed with zstd if requested and
        encrypted if there are recipients: mode 0600, synced, renamed last, never replacing
        another file. Return its path."""
        ...

    def remember(self, name: str, state: SetState) -> None:
        """Store the set's mutable facts."""
        ...

    def remove(self, name: str) -> None:
        """Remove the set of this name: hidden by a rename first, then deleted."""
        ...

    def half_removed(self) -> tuple[str, ...]:
        """Return names of sets whose removal was interrupted: hidden, but not yet deleted."""
        ...

    def discard(self, run: str) -> None:
        """Remove the staging folder of this run."""
        ...

    def discard_set(self, run: str, name: str) -> None:
        """Remove the unfinished set of this name from the staging folder of this run."""
        ...
