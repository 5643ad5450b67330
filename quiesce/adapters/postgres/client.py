"""Runs the clients of a dump or load beside the server; their files are complete or removed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from quiesce.adapters.postgres.client_args import (
    GZIP,
    ZSTD,
    ZSTD_SINCE,
    client_environment,
    dump_arguments,
    lacks_zstd,
)
from quiesce.adapters.postgres.snapshot import ExportedSnapshot
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database, SetKind
from quiesce.ports import Runtime


class Client:
    """Runs pg_dump and similar clients through the runtime, with the right environment."""

    def __init__(self, runtime: Runtime, run: str) -> None:
        self._runtime = runtime
        self._run = run
        self._without_zstd: set[str] = set()

    def run(
        self,
        database: Database,
        argv: Sequence[str],
        *,
        name: str,
        version: int,
        directory: Path,
        writable: bool,
        what: str,
        interrupted: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a client on database `name`. `interrupted` is called if it did not succeed.

        Raise QuiesceError that says what failed, with the client's messages as details.
        """
        try:
            self._runtime.run_tool(
                database.service,
                argv,
                environment=client_environment(database, name, self._run, version),
                directory=directory,
                writable=writable,
                label=self._run,
            )
        except QuiesceError as problem:
            interrupted()
            if problem.exit_code != 1:
                raise
            reason = _reason(problem.details) or problem.fact
            raise QuiesceError(
                f"{what} failed: {reason}", problem.hint, details=problem.details
            ) from problem
        except BaseException:
            interrupted()
            raise

    def dump(
        self,
        database: Database,
        held: ExportedSnapshot,
        kind: SetKind,
        directory: Path,
        partial: Path,
        interrupted: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        """Dump the exported snapshot to `partial`, with zstd if this server's pg_dump supports it.

        zstd is simply tried: a client without it fails before it connects.
        """
        file = partial.relative_to(directory).as_posix()

        def attempt(compression: str, when_failed: Callable[[], None]) -> None:
            self.run(
                database,
                dump_arguments(kind, file, held.snapshot, compression),
                name=database.name,
                version=held.session.version,
                directory=directory,
                writable=True,
                what=f"the dump of database {database.key}",
                interrupted=when_failed,
            )

        if held.session.version >= ZSTD_SINCE and database.service not in self._without_zstd:
            try:
                attempt(ZSTD, lambda: None)
            except QuiesceError as problem:
                if not lacks_zstd(problem.details):
                    interrupted()
                    raise
                self._without_zstd.add(database.service)
            except BaseException:
                interrupted()
                raise
            else:
                return
        note("compressed with gzip, because this server's pg_dump has no zstd")
        attempt(GZIP, interrupted)

    @contextlib.contextmanager
    def writing(self, directory: Path, file: str) -> Iterator[Path]:
        """Yield the temporary path for `file`; it is removed at the end."""
        partial = inside(directory, f"{file}.partial")
        partial.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


def inside(directory: Path, file: str) -> Path:
    """Return `directory/file`; raise RequestError for a file that is not below the directory."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise RequestError(f"{file} is not a file of its set", "use another set")
    return directory / path


def checked_file(directory: Path, file: str) -> Path:
    """Return the path of a dump that exists and is not empty."""
    path = inside(directory, file)
    if not path.is_file() or path.stat().st_size == 0:
        raise RequestError(f"{path} is missing or empty", "run 'inv verify' on the set")
    return path


@contextlib.contextmanager
def linked(path: Path, scratch: Path) -> Iterator[Path]:
    """Yield a link to the file in `scratch`, so that a client sees only that folder.

    Not in the folder of the set, where a client must not write.
    """
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    here = scratch / path.name
    if here == path:
        yield path
        return
    here.unlink(missing_ok=True)
    try:
        os.link(path, here)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, here)
    try:
        yield here
    finally:
        here.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Rename a finished file to its final name and sync it: the file first, then its folder."""
    partial.chmod(0o600)
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _reason(said: Sequence[str]) -> str:
    """Return the reason from a client's messages: the server's message, else the client's first
    error."""
    for sign in ("ERROR: ", "FATAL: ", "error: "):
        for line in said:
            _, found, reason = line.partition(sign)
            if found:
                return reason.strip()
    return ""


def end_of(path: Path, most: int = 400) -> bytes:
    """Return the last bytes of a file."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - most))
        return stream.read()
