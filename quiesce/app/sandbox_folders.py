"""The folders of a copy, which replace the folders of this machine that services mount.

    backups/.isolated/<run>/binds/<number>-<name>   what stands for a folder or file
    backups/.isolated/<run>/paths.json              the copy's folder for each entry of `paths`

An entry of `paths` begins empty, with owner and mode of the original: a restore fills it. All
services of the copy that mount one folder share its copy.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.private_files import read_private

if TYPE_CHECKING:
    from quiesce.model import Stack

#: A larger folder that services may write to is empty in a copy.
MOST_COPIED = 64 * 1024 * 1024


class CopiedFolders:
    """Copies what services mount into `into`, each once. `kept` are the folders of `paths` by
    key."""

    def __init__(self, into: Path, kept: Mapping[str, Path]) -> None:
        self._into = into
        self._kept = {key: _real(folder) for key, folder in kept.items()}
        self._made: dict[Path, Path] = {}

    def is_kept(self, source: str) -> bool:
        """Whether this is a folder of `paths`, or in one."""
        mounted = _real(Path(source))
        return any(mounted.is_relative_to(folder) for folder in self._kept.values())

    def of(self, source: str) -> str:
        """Return the copy of a host path, made at the first call."""
        mounted = _real(Path(source))
        for folder in self._kept.values():
            if mounted.is_relative_to(folder):
                inner = mounted.relative_to(folder)
                return str(self._place_of(folder) / inner)
        return str(self._copy(mounted))

    def places(self, model: Mapping[str, Any]) -> dict[str, str]:
        """Return the copy of each entry of `paths`, by key.

        Folders of the model that contain one are copied first: the copy of the entry is then in
        the copy of that folder, as services of both expect.
        """
        for source in sorted(_sources(model)):
            mounted = _real(Path(source))
            if any(folder.is_relative_to(mounted) for folder in self._kept.values()):
                self.of(source)
        return {key: str(self._place_of(folder)) for key, folder in self._kept.items()}

    def _place_of(self, folder: Path) -> Path:
        """Return the copy of a kept folder: a part of the copy of one that contains it, if there is
        one."""
        for outer, made in self._made.items():
            if folder.is_relative_to(outer):
                inner = made / folder.relative_to(outer)
                _make_empty(inner, folder)
                return inner
        made = self._new(folder.name)
        _make_empty(made, folder)
        self._made[folder] = made
        return made

    def _copy(self, source: Path) -> Path:
        if source not in self._made:
            inner = [f for f in self._kept.values() if f.is_relative_to(source)]
            self._made[source] = _copied(source, self._new(source.name), inner)
        return self._made[source]

    def _new(self, name: str) -> Path:
        self._into.mkdir(mode=0o711, exist_ok=True)
        return self._into / f"{len(self._made)}-{name}"


def write_places(folder: Path, places: Mapping[str, str]) -> None:
    """Record the copy's folders."""
    (folder / "paths.json").write_text(json.dumps(places))


def with_places(stack: Stack, folder: Path) -> Stack:
    """Return the stack with the copy's folders in place of its own."""
    try:
        places: Mapping[str, str] = json.loads(read_private(folder / "paths.json"))
    except FileNotFoundError:
        places = {}
    volumes = tuple(
        v if v.folder is None else replace(v, folder=Path(places.get(v.key, folder / "absent")))
        for v in stack.volumes
    )
    entries = tuple(
        entry if entry.key not in places else replace(entry, path=Path(places[entry.key]))
        for entry in stack.paths
    )
    return replace(stack, volumes=volumes, paths=entries)


# ---------------------------------------------------------------------------------------- inside


def _sources(model: Mapping[str, Any]) -> set[str]:
    """Return the folders and files that services of a resolved model may write to."""
    return {
        str(mount.get("source") or "")
        for service in (model.get("services") or {}).values()
        for mount in service.get("volumes") or ()
        if isinstance(mount, dict) and mount.get("type") == "bind" and not mount.get("read_only")
    }


def _copied(source: Path, target: Path, left_out: Iterable[Path]) -> Path:
    """Copy a path that a service may write to, with owner and mode, and with its content unless it
    is large; without the content of what is left out."""
    if not source.exists():
        target.mkdir()
        return target
    skipped = set(left_out)
    whole = source.is_file() or _size(source, skipped) <= MOST_COPIED
    if source.is_file():
        shutil.copy2(source, target)
    elif whole:
        shutil.copytree(
            source,
            target,
            symlinks=True,
            ignore_dangling_symlinks=True,
            ignore=lambda folder, names: [n for n in names if Path(folder, n) in skipped],
        )
    else:
        target.mkdir()
    for path in (target, *(target.rglob("*") if target.is_dir() else ())):
        was = (source / path.relative_to(target)) if path != target else source
        _own_as(path, was)
    if not whole:
        target.chmod(source.stat().st_mode & 0o7777)
    return target


def _make_empty(target: Path, original: Path) -> None:
    """Create an empty folder with owner and mode of the original, if that exists."""
    if target.exists():
        return
    target.mkdir(parents=True)
    if original.is_dir():
        target.chmod(original.stat().st_mode & 0o7777)
        _own_as(target, original)


def _own_as(path: Path, original: Path) -> None:
    if os.geteuid() == 0 and not path.is_symlink():
        status = original.stat()
        os.chown(path, status.st_uid, status.st_gid)


def _size(folder: Path, skipped: Iterable[Path]) -> int:
    total = 0
    without = set(skipped)
    for at, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(at, name) not in without]
        total += sum(Path(at, name).lstat().st_size for name in files)
    return total


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
