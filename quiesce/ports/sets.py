"""Where backup sets are kept, here and elsewhere."""

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
    """Stores away from here, by the names they have in `stack.yaml`.

    A set exists in a store when its index does, which is written last and never over another.
    Everything that comes from a store is hostile until it was checked. Every method raises
    QuiesceError when the store cannot be reached or refuses; none of that holds a credential.
    """

    def sets(self, store: str) -> tuple[OffsiteSet, ...]:
        """The sets of this instance, oldest first."""
        ...

    def unreadable(self, store: str) -> tuple[tuple[str, str], ...]:
        """Names and reasons of what has an index that cannot be understood."""
        ...

    def trust(self, store: str, name: str) -> Trust:
        """Who sent the set, as far as can be proven here. Raise RequestError for a signing key
        that cannot be used."""
        ...

    def lost(self, store: str) -> tuple[str, ...]:
        """The sets that were sent from here, were not removed by us, and are not there any more;
        oldest first."""
        ...

    def accepted(self, store: str) -> frozenset[str]:
        """The sets sent from here of which `accept` said that they rightly hold so little."""
        ...

    def accept(self, store: str, name: str) -> None:
        """Remember that a set sent from here rightly holds so little."""
        ...

    def damaged(self, store: str) -> frozenset[str]:
        """The sets there of which `note_damage` said that they are damaged."""
        ...

    def note_damage(self, store: str, name: str, *, damaged: bool) -> None:
        """Remember what came of reading this set there, until another one has its name."""
        ...

    def push(self, store: str, backup: BackupSet, progress: Progress) -> bool:
        """Bring a set there, unless it is, signed with this installation's key, which is made
        where there is none. What an earlier attempt left there is used when it is right. Every
        object is read back before the set exists. Whether anything was sent."""
        ...

    def verify(self, store: str, name: str, progress: Progress) -> tuple[str, ...]:
        """Read every object of the set to its end; return what is wrong, naming the member."""
        ...

    def pull(self, store: str, name: str, directory: Path, progress: Progress) -> Path:
        """Bring a set into a new folder below `directory`, decrypted and compared with its own
        sums, and return the folder. Raise CheckFailed naming each member that is wrong."""
        ...

    def remove(self, store: str, name: str) -> None:
        """No set of this name exists there. Its index goes first."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished file of a staged set that was read for its sum.

    `member` is what it is in the manifest, `identity` what tells the file that was read from one
    that was written since.
    """

    member: Member
    identity: tuple[int, ...]


class BackupStore(Protocol):
    """Sets on disk: staged, sealed, published at once, listed, checked, removed.

    It remembers nothing of a set in the making: whoever makes one keeps what `measure` returned.
    """

    def sets(self) -> tuple[BackupSet, ...]:
        """Complete sets of the stack's `backups/`, oldest first by creation."""
        ...

    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Folders that look like sets and are not readable ones: name and reason."""
        ...

    def open(self, run: str, name: str) -> Path:
        """Make (or find) the staging folder of a set and return it."""
        ...

    def names(self) -> frozenset[str]:
        """Every name that a new set must not take."""
        ...

    def scratch(self, run: str, name: str) -> Path:
        """Make (or find) a private folder for files of a run that may have no journal."""
        ...

    def hold(self, run: str) -> None:
        """Make (or find) the folder of a run, and mark it as in use until this process ends."""
        ...

    def abandoned(self, keep: Collection[str]) -> tuple[str, ...]:
        """The runs that died and left such a folder, without those in `keep`."""
        ...

    def read(self, path: Path) -> BackupSet:
        """Return the set in this folder, wherever it lies. Raise RequestError for any other."""
        ...

    def write(self, run: str, name: str, file: str, content: bytes) -> None:
        """The file of a staged set has this content, for its owner alone."""
        ...

    def measure(self, run: str, name: str, file: str, kind: MemberKind, source: str) -> Measured:
        """Sync a finished file of a staged set and read it back for its sum."""
        ...

    def encrypt(self, run: str, name: str, plain: Measured, recipients: Recipients) -> Measured:
        """This member of a staged set is encrypted, synced, and nowhere in the clear. Return what
        it is now."""
        ...

    def decrypted(
        self, run: str, backup: BackupSet, identity: Path | None, progress: Progress
    ) -> BackupSet:
        """The set with its members in the clear, in a folder of this run; as it is where it is
        not encrypted. Raise RequestError where there is no key for it."""
        ...

    def seal(
        self,
        run: str,
        manifest: Manifest,
        documents: Mapping[str, bytes],
        measured: Collection[Measured] = (),
    ) -> BackupSet:
        """Write documents, sums and manifest, sync everything, publish with one rename that
        never replaces. Already published by this run: return it.

        A member that is not the file that was `measured` is read again, and must be the same."""
        ...

    def verify(self, backup: BackupSet, progress: Progress) -> tuple[str, ...]:
        """Everything wrong with the set, each naming the member. Empty when good."""
        ...

    def adopt(self, path: Path) -> BackupSet:
        """List a whole set that lies in a folder of a run, by one rename that never replaces."""
        ...

    def publish_file(
        self, staged: Path, name: str, *, compress: bool, recipients: Recipients
    ) -> Path:
        """Make a finished file `name` of the folder, compressed with zstd if asked and encrypted
        if it is for somebody: private, synced, named last, never in place of another one. Return
        where it is."""
        ...

    def remember(self, name: str, state: SetState) -> None:
        """Keep the set's mutable facts."""
        ...

    def remove(self, name: str) -> None:
        """No set of this name: invisible first, then removed."""
        ...

    def half_removed(self) -> tuple[str, ...]:
        """Names of sets whose removal was interrupted: invisible already, not yet gone."""
        ...

    def discard(self, run: str) -> None:
        """No staging folder of this run."""
        ...
