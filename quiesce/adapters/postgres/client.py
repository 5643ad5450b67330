"""The clients of a dump or load: run beside the server, their files complete or gone."""

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
    """Runs pg_dump and its kin through the runtime, with the right environment."""

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
        """Run a client on database `name`. `interrupted` is called when it did not end well.

        Raise QuiesceError that says what failed, with the client's own words as details.
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
                f"the {what} failed: {reason}", problem.hint, details=problem.details
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
        """Write the held snapshot to `partial`, with zstd where this server's pg_dump has it.

        It is tried rather than asked: a client without it says so before it connects.
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
                what=f"dump of database {database.key}",
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
        """Yield the path to write `file` to first; nothing is left of it when this ends."""
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
    """Return the path of a dump that is there and not empty."""
    path = inside(directory, file)
    if not path.is_file() or path.stat().st_size == 0:
        raise RequestError(f"{path} is missing or empty", "run 'inv verify' on the set")
    return path


@contextlib.contextmanager
def linked(path: Path, scratch: Path) -> Iterator[Path]:
    """Yield the file as it is in `scratch`, so that a client sees that folder and no other.

    Not in the set's own: what a client writes has no place there.
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
    """Give a finished file its name, on disk: the file first, then the folder that names it."""
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
    """What was wrong, from a client's words: what the server said, else its own first error."""
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
