"""An isolated copy of the stack, for testing sets.

    backups/.isolated/<run>/compose.json     the copy's model; 0600, and removed with it
    backups/.isolated/<run>/lock             locked while the copy is in use
    backups/.isolated/<run>/project          the copy's name on the engine
    backups/.isolated/<run>/binds            its folders; see `sandbox_folders`

A copy whose lock is free was left by a run that died, or by a drill's `setup` that keeps it: the
latter has a file `kept`, and is removed by `verify`, by the next drill, or after 24 hours.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.adapters.compose.sandbox_model import isolate
from quiesce.app.backups_folder import secure
from quiesce.app.sandbox_folders import CopiedFolders, with_places, write_places
from quiesce.app.wiring import compose_of
from quiesce.errors import QuiesceError, RequestError
from quiesce.plan.naming import suffix_of
from quiesce.private_files import make_private

if TYPE_CHECKING:
    from quiesce.model import Stack

KEPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Copy:
    """An isolated copy: its stack, and its folder."""

    stack: Stack
    folder: Path


def isolated_folder(stack: Stack) -> Path:
    """Return the folder of this stack's copies."""
    return stack.backups / ".isolated"


@contextmanager
def isolated(
    stack: Stack,
    run: str,
    *,
    network_open: bool = False,
    running: Collection[str] | None = None,
) -> Iterator[Copy]:
    """Create a copy's model, and remove the copy at the end in any case.

    Only the services in `running` (None: all) may be started, with what they depend on. Raise
    RequestError for a stack that cannot be copied.
    """
    if stack.instance.runtime != "compose":
        raise RequestError(
            "services of the host runtime have fixed ports, so they cannot run twice",
            "use 'inv drill --destructive' on a test instance: it removes and restores databases",
        )
    folder = isolated_folder(stack) / run
    secure(stack)
    make_private(isolated_folder(stack))
    make_private(folder)
    lock = _lock(folder)
    try:
        project = f"{stack.instance.project}-drill-{suffix_of(run)}"
        (folder / "project").write_text(project)
        _write_model(stack, folder, run, network_open=network_open, running=running)
        made = Copy(copied_stack(stack, folder, project), folder)
        try:
            yield made
        finally:
            if not (folder / "kept").exists():
                remove(made)
    finally:
        os.close(lock)


@contextmanager
def reopened(stack: Stack) -> Iterator[Copy | None]:
    """Yield the copy that a `setup` left, None if there is none; it is kept."""
    for folder in sorted(_folders(stack), reverse=True):
        if (folder / "kept").exists() and (lock := _try_lock(folder)) is not None:
            try:
                yield Copy(copied_stack(stack, folder, (folder / "project").read_text()), folder)
            finally:
                os.close(lock)
            return
    yield None


def keep(made: Copy) -> None:
    """Keep the copy when its run ends."""
    (made.folder / "kept").touch(mode=0o600)


def remove(made: Copy) -> None:
    """Remove all containers, volumes and networks of the copy, and its folder."""
    with compose_of(made.stack) as runtime:
        project = runtime.project()
        project.remove_project()
        for name in project.resources().volumes:
            project.remove_volume(name)
    shutil.rmtree(made.folder)


def remove_orphans(
    stack: Stack,
    *,
    kept_too: bool = False,
    only_look: bool = False,
    failed: Callable[[str, Exception], None] | None = None,
) -> tuple[str, ...]:
    """Remove copies of dead runs, with `kept_too` also one that a drill kept; return their names on
    the engine. Copies in use are kept. With `only_look`, nothing is removed.

    `failed` is called for each copy that cannot be removed; without it the error is raised.
    """
    removed = []
    for folder in _folders(stack):
        lock = _try_lock(folder)
        if lock is None:
            continue
        try:
            kept = folder / "kept"
            fresh = kept.exists() and time.time() - kept.stat().st_mtime < KEPT_SECONDS
            if fresh and not kept_too:
                continue
            try:
                project = (folder / "project").read_text()
            except OSError:  # it died before it recorded its name
                if not only_look:
                    shutil.rmtree(folder)
                continue
            if only_look:
                removed.append(project)
                continue
            remove(Copy(copied_stack(stack, folder, project), folder))
            removed.append(project)
        except (OSError, QuiesceError) as error:
            if failed is None:
                raise
            failed(folder.name, error)
        finally:
            os.close(lock)
    return tuple(removed)


def copied_stack(stack: Stack, folder: Path, project: str) -> Stack:
    """Return the stack of the copy: the same, but with nothing in the same place."""
    instance = replace(
        stack.instance,
        project=project,
        directory=folder,
        env_file=None,
        files=(folder / "compose.json",),
        profiles=(),
        state=folder / "state",
        # The values of the env file are in the copy's model already.
        environment={},
        throwaway=True,
    )
    file = folder / "stack.yaml"
    return replace(
        with_places(stack, folder),
        file=file,
        instance=instance,
        max_downtime=None,
        schedule=(),
        stores=(),
        notify=(),
        ping={},
        metrics=None,
    )


# ---------------------------------------------------------------------------------------- inside


def _write_model(
    stack: Stack,
    folder: Path,
    run: str,
    *,
    network_open: bool,
    running: Collection[str] | None,
) -> None:
    kept = {entry.key: entry.folder for entry in stack.folders if entry.folder is not None}
    folders = CopiedFolders(folder / "binds", kept)
    with compose_of(stack) as runtime:
        resolved = runtime.resolved_model()
        write_places(folder, folders.places(resolved))
        model = isolate(
            resolved,
            runtime.image_names(),
            run,
            copied=folders.of,
            kept=folders.is_kept,
            network_open=network_open,
            running=running,
        )
    (folder / "stack.yaml").write_bytes(stack.file.read_bytes())
    file = folder / "compose.json"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        # Compose interpolates the model again, so dollar signs are escaped.
        json.dump(model, out, indent=1)


def _folders(stack: Stack) -> list[Path]:
    top = isolated_folder(stack)
    if not top.is_dir():
        return []
    return [path for path in top.iterdir() if path.is_dir() and not path.is_symlink()]


def _lock(folder: Path) -> int:
    lock = _try_lock(folder, create=True)
    if lock is None:
        raise QuiesceError(f"{folder} is in use", "wait for the other run to end")
    return lock


def _try_lock(folder: Path, *, create: bool = False) -> int | None:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        lock = os.open(folder / "lock", flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
