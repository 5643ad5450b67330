"""Sets in offsite stores: uploaded completely or not at all, read back, pulled, removed.

    <instance>/<set>/<member>     as in the set, or with the suffix `.age` or `.gpg`
    <instance>/<set>/README.txt   how to decrypt by hand, if it is encrypted
    <instance>/<set>/set.json     the index, written last and never overwritten

The index lists the objects of the set, with size and sum of each as stored. Anyone who can write to
a store can write an index too, so it is signed (see `signing`), recorded locally (see
`upload_records`), and what is pulled is also compared with the sums in the set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from quiesce.adapters import files
from quiesce.adapters.sets import crypt
from quiesce.adapters.sets.earlier_versions import completed
from quiesce.adapters.sets.object_store import AlreadyThere, Objects, sum_of_object
from quiesce.adapters.sets.open_store import open_objects
from quiesce.adapters.sets.published import MANIFEST, read_set, verify
from quiesce.adapters.sets.signing import FIELD, SigningKey
from quiesce.adapters.sets.upload import Upload, in_order
from quiesce.adapters.sets.upload_records import DamageNotes, OffsiteNotes, Sent
from quiesce.codec import NotDecodable, decode, encode
from quiesce.errors import CheckFailed, QuiesceError, RequestError
from quiesce.model import BackupSet, OffsiteObject, OffsiteSet, OffsiteStore, Trust
from quiesce.plan.naming import SET_NAME
from quiesce.ports import Progress
from quiesce.suggest import suggest

FORMAT = 1
INDEX = "set.json"
READ_ME = "README.txt"
#: An index lists a few dozen objects.
LARGEST_INDEX = 4 * 1024**2

_TRUST: Mapping[str, Trust] = {
    "good": "signed", "absent": "unsigned", "foreign": "foreign", "bad": "changed",
}  # fmt: skip

Opener = Callable[[OffsiteStore], Objects]


class OffsiteStores:
    """Implements `ports.Offsite` for one instance.

    `scratch` is the folder for files while they are encrypted or decrypted, `notes` records which
    parts of an encrypted set were uploaded already; `identity` decrypts what is pulled. `key` signs
    uploads and checks signatures; `sent` is the folder for records of uploads. Without them nothing
    is signed and nothing is recorded.
    """

    def __init__(
        self,
        stores: Sequence[OffsiteStore],
        instance: str,
        scratch: Path,
        notes: Path,
        *,
        identity: Path | None = None,
        opener: Opener | None = None,
        key: SigningKey | None = None,
        sent: Path | None = None,
    ) -> None:
        self._stores = {store.name: store for store in stores}
        self._instance = instance
        self._scratch = scratch
        self._notes = notes
        self._identity = identity
        self._key = key
        self._sent = sent
        self._opener = opener or open_objects
        self._opened: dict[str, Objects] = {}
        #: Each index is read only once, so that what was checked is what is used.
        self._indexes: dict[tuple[str, str], bytes] = {}

    # ------------------------------------------------------------------------------- looking

    def sets(self, store: str) -> tuple[OffsiteSet, ...]:
        found = [s for s in self._read_all(store).values() if isinstance(s, OffsiteSet)]
        return tuple(sorted(found, key=lambda s: (s.created_at, s.name)))

    def unreadable(self, store: str) -> tuple[tuple[str, str], ...]:
        found = self._read_all(store).items()
        return tuple((name, result) for name, result in found if isinstance(result, str))

    def trust(self, store: str, name: str) -> Trust:
        body = self._index_bytes(store, name)
        noted = self._noted(store).get(name)
        if noted is not None:
            return "noted" if hashlib.sha256(body).hexdigest() == noted.sha256 else "changed"
        if self._key is None or not self._key.exists():
            return "unknown"
        raw = json.loads(body)
        return _TRUST[self._key.check(raw if isinstance(raw, dict) else {})]

    def lost(self, store: str) -> tuple[str, ...]:
        there = self._read_all(store)
        gone = [
            (sent.created_at, name)
            for name, sent in self._noted(store).items()
            if name not in there
        ]
        return tuple(name for _, name in sorted(gone))

    def accepted(self, store: str) -> frozenset[str]:
        return frozenset(name for name, sent in self._noted(store).items() if sent.accepted)

    def accept(self, store: str, name: str) -> None:
        if self._sent is not None:
            OffsiteNotes(self._sent, store).accept(name)

    def damaged(self, store: str) -> frozenset[str]:
        noted = {} if self._sent is None else DamageNotes(self._sent, store).read()
        there = self._read_all(store)
        return frozenset(
            name
            for name, sha256 in noted.items()
            if name in there
            and hashlib.sha256(self._index_bytes(store, name)).hexdigest() == sha256
        )

    def note_damage(self, store: str, name: str, *, damaged: bool) -> None:
        if self._sent is not None:
            sha256 = hashlib.sha256(self._index_bytes(store, name)).hexdigest()
            DamageNotes(self._sent, store).note(name, sha256 if damaged else None)

    def verify(self, store: str, name: str, progress: Progress) -> tuple[str, ...]:
        there = self._read(store, name)
        objects, wrong = self._objects(store), []
        sizes = objects.list(self._prefix(name))
        for entry in there.objects:
            place = self._place(name, entry.object)
            if place not in sizes:
                wrong.append(f"{entry.file}: is missing")
            elif sizes[place] != entry.bytes:
                wrong.append(f"{entry.file}: has {sizes[place]} bytes instead of {entry.bytes}")
            elif _sum(objects, place, f"reading {entry.file}", progress)[0] != entry.sha256:
                wrong.append(f"{entry.file}: its content has changed")
        return tuple(wrong)

    # ------------------------------------------------------------------------------- sending

    def push(self, store: str, backup: BackupSet, progress: Progress) -> bool:
        target, objects = self._store(store), self._objects(store)
        crypt.check_recipients(target.recipients)
        there = objects.list(self._prefix(backup.name))
        if self._place(backup.name, INDEX) in there:
            self._require_this_set(store, backup)
            return False
        sending = Upload(
            target,
            backup,
            objects,
            there,
            place=lambda name: self._place(backup.name, name),
            scratch=self._scratch_file,
            note=self._notes / f"{store}-{backup.name}.json",
            progress=progress,
        )
        entries = tuple(sending.send(file) for file in in_order(backup))
        index = self._index(target, backup, entries)
        if index.encryption:
            place = self._place(backup.name, READ_ME)
            if place not in there:
                objects.create(place, _read_me(index).encode())
        body = self._signed(index)
        try:
            objects.create(self._place(backup.name, INDEX), body)
        except AlreadyThere:
            raise QuiesceError(
                f"store {store}: another machine or run has just pushed {backup.name}",
                f"see 'inv verify --store {store} --file {backup.name}'",
            ) from None
        if self._sent is not None:
            sent = Sent(
                hashlib.sha256(body).hexdigest(), index.created_at.isoformat(), index.kind,
                accepted=backup.state.accepted,
            )  # fmt: skip
            OffsiteNotes(self._sent, store).add(backup.name, sent)
        sending.forget()
        return True

    def _require_this_set(self, store: str, backup: BackupSet) -> None:
        """Raise CheckFailed unless the object of this name is this set, pushed from here.

        Names are easy to guess: an index that somebody else stored before would count as a copy.
        """
        if self._key is not None:
            self._key.make()
        there, trust = self._read(store, backup.name), self.trust(store, backup.name)
        # Earlier versions did not sign: their unencrypted sets are recognized by their sums.
        older = trust == "unsigned" and not there.encryption
        if not there.describes(backup) or not (trust in ("signed", "noted", "unknown") or older):
            raise CheckFailed(
                f"store {store}: the stored {backup.name} was not pushed from here",
                f"find out who put {self._place(backup.name, INDEX)} there and whether anybody "
                "needs it; once it is out of the store, run 'inv push' again",
            )

    def _signed(self, index: OffsiteSet) -> bytes:
        document = encode(index)
        if self._key is not None:
            self._key.make()
            document[FIELD] = self._key.sign(document)
        return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"

    def _index(
        self, target: OffsiteStore, backup: BackupSet, entries: tuple[OffsiteObject, ...]
    ) -> OffsiteSet:
        manifest = backup.manifest
        held = manifest.sources
        method = target.recipients.method
        if method:
            # The content of an encrypted set is hidden; retention only needs to know which sets
            # have the same content.
            held = (hashlib.sha256("\0".join(held).encode()).hexdigest()[:16],)
        pinned = backup.state.pinned
        amounts = {
            f"{unit} {self._source(source, secret=bool(method))}": amount
            for (unit, source), amount in backup.amounts.items()
        }
        return OffsiteSet(
            FORMAT, backup.name, manifest.instance, manifest.created_at, manifest.kind,
            held, pinned, method, entries, amounts, safety=manifest.safety,
        )  # fmt: skip

    def _source(self, source: str, *, secret: bool) -> str:
        if not secret:
            return source
        if self._key is None:
            return hashlib.sha256(source.encode()).hexdigest()[:16]
        self._key.make()
        return self._key.pseudonym(source)

    # -------------------------------------------------------------------- bringing back, removing

    def pull(self, store: str, name: str, directory: Path, progress: Progress) -> Path:
        there = self._read(store, name)
        folder = directory / name
        folder.mkdir(mode=0o700, parents=True)
        # The manifest first, so that a wrong key is found before anything large is fetched.
        first = sorted(there.objects, key=lambda entry: (entry.file != MANIFEST, entry.file))
        for entry in first:
            self._fetch(store, there, entry, folder, progress)
        # Files that were not decrypted had their sums computed while they were fetched.
        sums = {} if there.encryption else {entry.file: entry.sha256 for entry in first}
        if wrong := verify(read_set(folder), progress, sums):
            raise CheckFailed(
                f"store {store}: {name} differs from what was pushed: {wrong[0]}",
                f"pull another set; 'inv backups --store {store}' lists them",
                details=wrong[1:],
            )
        files.sync_folders(folder)
        return folder

    def remove(self, store: str, name: str) -> None:
        objects = self._objects(store)
        self._indexes.pop((store, name), None)
        places = objects.list(self._prefix(name))
        index = self._place(name, INDEX)
        for place in sorted(places, key=lambda place: place != index):
            objects.remove(place)
        if self._sent is not None:
            OffsiteNotes(self._sent, store).forget(name)
            DamageNotes(self._sent, store).note(name, None)

    def _fetch(
        self, store: str, there: OffsiteSet, entry: OffsiteObject, folder: Path, progress: Progress
    ) -> None:
        target = folder / entry.file
        if not files.is_inside(folder, entry.file):
            raise CheckFailed(
                f"store {store}: {there.name} names {entry.file!r}, which is outside the set",
                "use another set",
            )
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        came = target if not there.encryption else self._scratch_file(entry.object)
        digest = hashlib.sha256()
        place = self._place(there.name, entry.object)
        with files.new_private(came) as out:
            for chunk in self._objects(store).read(place):
                digest.update(chunk)
                out.write(chunk)
                if out.tell() > entry.bytes:
                    break
                progress(f"pulling {entry.file}", out.tell())
        if digest.hexdigest() != entry.sha256:
            raise CheckFailed(
                f"store {store}: {there.name}/{entry.file}: its content has changed",
                f"pull another set; 'inv backups --store {store}' lists them",
            )
        if there.encryption:
            try:
                crypt.decrypt(came, target, there.encryption, self._identity)
            finally:
                came.unlink()

    # ------------------------------------------------------------------------------------ inside

    def _read_all(self, store: str) -> Mapping[str, OffsiteSet | str]:
        names = self._objects(store).list(self._instance)
        found: dict[str, OffsiteSet | str] = {}
        for place in names:
            parts = place.split("/")
            if len(parts) == 3 and parts[2] == INDEX:
                try:
                    found[parts[1]] = self._read(store, parts[1])
                except CheckFailed as error:
                    found[parts[1]] = error.fact
        return found

    def _read(self, store: str, name: str) -> OffsiteSet:
        content = self._index_bytes(store, name)
        try:
            raw = json.loads(content)
            number = raw.get("format") if isinstance(raw, dict) else None
            if number != FORMAT:
                fact = f"{name}: {INDEX} has format {number}, this version reads format {FORMAT}"
                raise CheckFailed(fact, "use a newer version of Quiesce")
            found: OffsiteSet = decode(OffsiteSet, completed(raw))
        except (ValueError, NotDecodable, RecursionError) as error:
            raise CheckFailed(f"{name}: {INDEX} is damaged", "use another set") from error
        if len({o.file for o in found.objects}) != len(found.objects) or (
            found.created_at.tzinfo is None
        ):
            raise CheckFailed(f"{name}: {INDEX} is damaged", "use another set")
        plain = all(_is_plain(o.file) and _is_plain(o.object) for o in found.objects)
        if found.name != name or found.instance != self._instance or not plain:
            raise CheckFailed(f"{name}: {INDEX} is not the index of this set", "use another set")
        return found

    def _index_bytes(self, store: str, name: str) -> bytes:
        if not SET_NAME.fullmatch(name):
            raise CheckFailed(f"{name!r} is not the name of a set", "use another set")
        if (store, name) in self._indexes:
            return self._indexes[store, name]
        content = bytearray()
        for chunk in self._objects(store).read(self._place(name, INDEX)):
            content += chunk
            if len(content) > LARGEST_INDEX:
                raise CheckFailed(f"{name}: {INDEX} is too large", "use another set")
        self._indexes[store, name] = bytes(content)
        return self._indexes[store, name]

    def _noted(self, store: str) -> Mapping[str, Sent]:
        return {} if self._sent is None else OffsiteNotes(self._sent, store).read()

    def _store(self, name: str) -> OffsiteStore:
        if name not in self._stores:
            fact = f"instance {self._instance} has no store {name}"
            raise RequestError(fact, suggest(name, self._stores))
        return self._stores[name]

    def _objects(self, name: str) -> Objects:
        if name not in self._opened:
            self._opened[name] = self._opener(self._store(name))
        return self._opened[name]

    def _prefix(self, name: str) -> str:
        return f"{self._instance}/{name}"

    def _place(self, name: str, file: str) -> str:
        return f"{self._prefix(name)}/{file}"

    def _scratch_file(self, name: str) -> Path:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._scratch / name.replace("/", "_")


def _sum(objects: Objects, place: str, what: str, progress: Progress) -> tuple[str, int]:
    return sum_of_object(objects, place, lambda done: progress(what, done))


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return all(part not in ("", ".", "..") for part in parts) and "\0" not in name


def _read_me(index: OffsiteSet) -> str:
    how = (
        "age --decrypt --identity KEY.txt --output FILE FILE.age"
        if index.encryption == crypt.AGE
        else "gpg --output FILE --decrypt FILE.gpg"
    )
    return (
        f"{index.name}: a backup set of Quiesce, encrypted.\n\n"
        "With Quiesce and its stack.yaml: inv pull --store NAME --file " + index.name + "\n"
        "By hand: fetch every file below this folder and decrypt each with\n\n"
        f"    {how}\n\n"
        "then compare with: sha256sum --check SHA256SUMS\n"
        "then follow RESTORE.md, which is one of them.\n"
    )
