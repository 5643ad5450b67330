"""Restores files that are not sets: SQL files, archives of pg_dump, and archives of an older
script.

Their content is put into the run's staging folder, read to its end there, and passed to the planner
as an `ImportSource`.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from quiesce.adapters import zstd
from quiesce.adapters.files import copy_within_room
from quiesce.adapters.postgres import sql_reader
from quiesce.adapters.postgres.dump_toc import MAGIC, read_archive
from quiesce.adapters.sets import crypt
from quiesce.app.file_target import LEGACY_DUMP, database_of_file
from quiesce.app.wiring import open_store
from quiesce.errors import QuiesceError, RequestError
from quiesce.execute.run import Ports
from quiesce.model import Database, ImportedDatabase, ImportedVolume, ImportSource, Stack
from quiesce.plan.capabilities import require

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: A `.sql.gz` in a `.tar.gz` in a file, and one more level.
_MOST_NESTED = 4
#: The parts of the older script's archive, by the form of their names.
_PARTS = {
    "db": LEGACY_DUMP,
    "media": re.compile(r"media_backup_[\w.-]+\.tar\.gz"),
    "static": re.compile(r"static_backup_[\w.-]+\.tar\.gz"),
}


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file to restore, and the options that name its target."""

    path: Path
    database: str | None
    volume: str | None


def as_source(
    stack: Stack, ports: Ports, run: str, wanted: ForeignFile, identity: Path | None
) -> ImportSource:
    """Put the file into the run's staging folder, read it to its end, and return it as a source.

    A file that ends in `.age` or `.gpg` is decrypted first. Raise RequestError, with a line number
    if possible, for a damaged or unsupported file, or one without a known database or volume.
    """
    folder = ports.store.scratch(run, "files")
    found = _Found(stack, ports, folder, wanted)
    try:
        path = wanted.path
        if path.suffix in (f".{crypt.AGE}", f".{crypt.GPG}"):
            path = folder.parent / wanted.path.stem
            crypt.decrypt(wanted.path, path, wanted.path.suffix[1:], identity)
        found.take(path)
    except (OSError, EOFError, tarfile.TarError, zstd.module().ZstdError) as error:
        raise RequestError(
            f"{wanted.path.name} cannot be read: {error}", "it is damaged; use another file"
        ) from error
    return found.source()


class _Found:
    """What was found in a file."""

    def __init__(self, stack: Stack, ports: Ports, folder: Path, wanted: ForeignFile) -> None:
        self.stack, self.ports, self.folder, self.wanted = stack, ports, folder, wanted
        self.databases: list[ImportedDatabase] = []
        self.volumes: list[ImportedVolume] = []
        self.rows_only = False
        self.legacy = False

    def take(self, path: Path, nested: int = 0) -> None:
        """Detect the file's type by its first bytes and add it. Archives may be nested, as `nested`
        counts, up to a limit."""
        if nested > _MOST_NESTED:
            raise OSError(f"more than {_MOST_NESTED} archives are nested inside each other")
        with path.open("rb") as stream:
            start = stream.read(8)
        if start.startswith(MAGIC):
            self._archive(path)
        elif start.startswith((_GZIP, _ZSTD)):
            self._compressed(path, start, nested)
        elif tarfile.is_tarfile(path):
            self._tar(path, nested)
        else:
            self._script(path)

    def source(self) -> ImportSource:
        """Return all of it."""
        return ImportSource(
            self.wanted.path.name,
            self.folder,
            tuple(self.databases),
            tuple(self.volumes),
            self.rows_only,
        )

    # ------------------------------------------------------------------------------ in parts

    def _compressed(self, path: Path, start: bytes, nested: int) -> None:
        with _unpacked(path, start) as stream:
            beginning = stream.read(512)
        if beginning[257:262] == b"ustar":
            self._tar(path, nested)
            return
        plain = self.folder / f"{path.name}.plain"
        with _unpacked(path, start) as stream:
            copy_within_room(stream, plain)
        self.take(plain, nested + 1)

    def _archive(self, path: Path) -> None:
        header = read_archive(path).database
        self._script(self.ports.databases.write_out(self._database(header), path), header)

    def _script(self, path: Path, header: str = "") -> None:
        name = self.wanted.path.name
        database = self._database(header)
        require([database], "scripts", "restore a set, or load the file with the server's client")
        if path.parent != self.folder:
            path = Path(shutil.copyfile(path, self.folder / path.name))
        path.chmod(0o600)
        facts = sql_reader.read_script(path, name)
        if not facts.has_schema and not facts.rows and not facts.inserts:
            raise RequestError(f"{name} is empty", "use another file")
        if not facts.has_schema and facts.inserts:
            raise RequestError(
                f"{name} contains INSERT statements, but not their tables",
                "create it again without --inserts, or with its schema",
            )
        self.rows_only = not facts.has_schema
        if facts.has_schema and (
            lacks := self.ports.databases.missing_for_script(database, path, name)
        ):
            raise RequestError(
                f"{name} cannot be loaded here: {lacks[0]}",
                "correct that, then try again; nothing was changed",
                details=lacks[1:],
            )
        found = ImportedDatabase(database.key, path.name, facts.revision, tuple(facts.sequences))
        self.databases.append(found)

    def _tar(self, path: Path, nested: int) -> None:
        name, legacy, wanted = self.wanted.path.name, self.stack.legacy, self.wanted.volume
        with tarfile.open(path) as archive:
            parts = _parts(archive, name)
            if not parts:
                self._volume_alone(path)
                return
            if wanted is not None and wanted not in {legacy.get(part) for part in parts}:
                raise RequestError(
                    f"{name} contains no {wanted}",
                    "according to 'legacy' in stack.yaml, it contains "
                    + ", ".join(legacy.get(part, part) for part in parts),
                )
            for part, member in parts.items():
                if part != "db" and part not in legacy:
                    continue
                if wanted is not None and legacy.get(part) != wanted:
                    continue
                target = self.folder / Path(member.name).name
                stream = archive.extractfile(member)
                if stream is None:
                    continue
                with stream:
                    copy_within_room(stream, target)
                if part == "db":
                    self.legacy = True
                    self.take(target, nested + 1)
                else:
                    self._volume(target, legacy[part])

    def _volume_alone(self, path: Path) -> None:
        """Use the tar as the content of the volume that its name or `--only` names."""
        name, wanted = self.wanted.path.name, self.wanted.volume
        part = next((part for part, form in _PARTS.items() if form.fullmatch(name)), "")
        named = self.stack.legacy.get(part)
        if wanted is not None and named is not None and wanted != named:
            raise RequestError(
                f"{name} is for volume {named} according to legacy in stack.yaml, but --only says "
                f"{wanted}",
                f"leave --only out, or rename the file if it belongs to {wanted}",
            )
        key = wanted or named
        if key is None:
            raise RequestError(
                f"{name} is a tar archive without db_backup, media_backup or static_backup",
                "for the content of one volume, name it with --only VOLUME",
            )
        self._volume(path, key)

    def _volume(self, path: Path, key: str) -> None:
        if path.parent != self.folder:
            path = Path(shutil.copyfile(path, self.folder / path.name))
        path.chmod(0o600)
        if unsafe := self.ports.volumes.check([path]):
            raise RequestError(
                f"{path.name} has members that must not be unpacked: {unsafe[0]}",
                "use another file; nothing was changed",
                details=unsafe[1:20],
            )
        self.volumes.append(ImportedVolume(key, path.name))

    def _database(self, header: str) -> Database:
        path = self.wanted.path
        return database_of_file(
            self.stack,
            path.name,
            self.wanted.database,
            legacy=self.legacy or bool(LEGACY_DUMP.fullmatch(path.name)),
            member_of=_in_a_set(self.stack, path),
            header=header,
        )


def _parts(archive: tarfile.TarFile, name: str) -> dict[str, tarfile.TarInfo]:
    """Return the parts of the older script's archive by kind. Raise RequestError for two of a
    kind."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        for part, form in _PARTS.items():
            if not member.isfile() or not form.fullmatch(member.name.removeprefix("./")):
                continue
            if part in found:
                raise RequestError(
                    f"{name} contains both {found[part].name} and {member.name}",
                    "unpack it, and restore the one that you want",
                )
            found[part] = member
    return found


def _in_a_set(stack: Stack, path: Path) -> str:
    """Return the key of the database if the file is its dump in a set, "" if it is not a member.

    Raise RequestError if the set belongs to another instance.
    """
    folder = path.resolve().parent.parent
    try:
        manifest = open_store(folder.parent).read(folder).manifest
    except (QuiesceError, OSError):
        return ""
    file = path.resolve().relative_to(folder).as_posix()
    sources = [m.source for m in manifest.members if m.kind == "database" and m.file == file]
    if sources and manifest.instance != stack.instance.name:
        raise RequestError(
            f"{path.name} belongs to a set of instance {manifest.instance}",
            f"restore it with --file {folder.name} --only {sources[0]} --from-instance "
            f"{manifest.instance}",
        )
    return sources[0] if sources else ""


def _unpacked(path: Path, start: bytes) -> IO[bytes]:
    opener: Any = gzip.open if start.startswith(_GZIP) else zstd.module().open
    return cast("IO[bytes]", opener(path, "rb"))
