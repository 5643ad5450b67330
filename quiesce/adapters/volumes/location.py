"""Where a volume's bytes are reached: a directory of this machine, or a helper container.

All work on volumes is done by GNU programs (tar, find, sort, mv) at a `Place`, so that both ways
do exactly the same. A program's output and errors go to files of the place's scratch folder,
which both sides see: nothing of it passes through pipes, log drivers or memory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quiesce.adapters.files import make_empty
from quiesce.adapters.process import program as process
from quiesce.errors import QuiesceError, RequestError
from quiesce.ports import Progress

#: Messages, sorting and dates are read by us: always the same language, order and zone. None of
#: the caller's variables reaches the programs (TAR_OPTIONS would change every archive).
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}

#: Sends what a program says to two files, then *becomes* the program: its status is its own.
_REDIRECT = 'exec >"$1" 2>"$2"; shift 2; exec "$@"'

#: Ends with 0 where everything is there that work on a volume needs.
_PROBE = """
case $(tar --version) in *"GNU tar"*) ;; *) exit 3 ;; esac
zstd --version && find / -maxdepth 0 -printf '' && sort -z /dev/null && sync -f / \
&& mv -n -t /tmp --version && xargs -0 -r true </dev/null && stat -f -c %T /
"""

#: Stands in an argv of tar for the file of this machine that it reads or writes, once and from
#: start to end.
ARCHIVE = "--file={archive}"

NEEDS = "GNU tar, GNU find, coreutils and zstd"
_DETAIL_LINES = 12
_HARDLY_ANY_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and the files with all it said, good until the place's next `run`."""

    exit_code: int
    output: Path
    errors: Path


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run at a place. What it says goes to `output` and `errors`.

    `ARCHIVE` in `argv` is the file it `reads` or `writes`; one of those at most is given.
    """

    argv: Sequence[str]
    what: str
    output: Path
    errors: Path
    reads: Path | None
    writes: Path | None

    def redirected(self, see: Callable[[Path], str]) -> list[str]:
        """Return the argv where the program itself opens its files, as it sees them."""
        archive = self.reads or self.writes
        named = [
            f"--file={see(archive)}" if archive and part == ARCHIVE else part for part in self.argv
        ]
        files = [see(self.output), see(self.errors)]
        return ["sh", "-c", _REDIRECT, "quiesce", *files, *named]


class Place(ABC):
    """A volume's root and the programs that work on it. `volume` is its real name.

    `folder` of this machine takes the scratch folder, which both sides see.
    """

    def __init__(self, volume: str, root: str, folder: Path) -> None:
        self.volume = volume
        self.root = root
        # One after the other: mkdir gives the mode to the last alone.
        for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            path.mkdir(mode=0o700, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=".volume-", dir=folder))

    @abstractmethod
    def see(self, path: Path) -> str:
        """How the programs see a file or folder of this machine."""

    @abstractmethod
    def _carry_out(self, program: Program) -> int:
        """Run it to its end and return its exit code, whatever that is."""

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        accept: Collection[int] = (0,),
        reads: Path | None = None,
        writes: Path | None = None,
    ) -> Ended:
        """Run a program to its end. Raise QuiesceError, with its last lines as details, when its
        exit code is not an accepted one. `what` says what it was for: "reading volume x"."""
        output, errors = self.output("output"), self.output("errors")
        code = self._carry_out(Program(argv, what, output, errors, reads, writes))
        check_end(code, accept, what, errors)
        return Ended(code, output, errors)

    def output(self, name: str) -> Path:
        """Make an empty scratch file, the caller's and 0600, for a program to write into."""
        return make_empty(self._scratch / name)

    def close(self) -> None:
        """Remove the scratch folder, and the helper with whatever it may still be doing."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def check_end(exit_code: int, accept: Collection[int], what: str, errors: Path) -> None:
    """Raise QuiesceError unless the exit code is an accepted one."""
    if exit_code in accept:
        return
    lines = last_lines(errors)
    if _is_full(errors.parent):
        # Then there was no room for what the program said about it either.
        lines.append(f"No space left on device: the disk of {errors.parent.parent} is full")
    if any("Wrote only" in line for line in lines):
        # What tar says of a disk that fills up in the middle of a block.
        lines.append("No space left on device: the disk it was written to is full")
    hint = "see the details; nothing was left half done, so you can run it again"
    if any("No space left" in line or "quota" in line for line in lines):
        hint = "free some space there, then try again"
    elif any("Permission denied" in line or "not permitted" in line for line in lines):
        hint = "run it as a user who may read and write everything in the volume, such as root"
        if os.geteuid() == 0:
            # A helper is root, too. What is left are attributes and file systems.
            hint = (
                "see the details: 'lsattr' shows what is immutable or append-only, 'mount' what is "
                "read-only; correct that, then try again"
            )
    how = f"was terminated by signal {exit_code - 128}" if exit_code > 128 else "failed"
    raise QuiesceError(f"{what} {how} (exit code {exit_code})", hint, details=lines)


def _is_full(folder: Path) -> bool:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < _HARDLY_ANY_BYTES or (disk.f_files > 0 == disk.f_favail)


def last_lines(path: Path, count: int = _DETAIL_LINES) -> list[str]:
    """Return the last lines of a file that may be large and hold any bytes."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 64 * 1024))
        lines = stream.read().decode(errors="backslashreplace").splitlines()
    return [line.strip() for line in lines if line.strip()][-count:]


class DirectPlace(Place):
    """A volume whose root is a folder of this machine that we may read and write."""

    def __init__(self, volume: str, root: Path, folder: Path) -> None:
        super().__init__(volume, os.fspath(root), folder)

    def see(self, path: Path) -> str:
        return os.fspath(path)

    def _carry_out(self, program: Program) -> int:
        environment = {**ENVIRONMENT, "PATH": os.environ.get("PATH", os.defpath)}
        command = program.redirected(self.see)
        every = range(256)
        ended = process.run(command, environment=environment, what=program.what, accept=every)
        return ended.exit_code


def is_suitable(place: Place) -> bool:
    """Tell whether everything is there that work on a volume needs."""
    every_code = range(256)
    return place.run(probe_command(), what="probing", accept=every_code).exit_code == 0


def probe_command() -> list[str]:
    """A command that ends with 0 only where the programs of `NEEDS` are."""
    return ["sh", "-c", _PROBE]


def refuse_unsuitable(where: str) -> RequestError:
    """The error for a place that lacks the programs."""
    return RequestError(
        f"{where} lacks {NEEDS}",
        "set 'helper_image' in stack.yaml to an image on this engine that has them",
    )


@contextmanager
def report_growth(path: Path, text: str, progress: Progress) -> Iterator[None]:
    """Tell how large a file has become, four times a second, while a program writes it."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(0.25):
            progress(text, path.stat().st_size)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
    progress(text, path.stat().st_size)
