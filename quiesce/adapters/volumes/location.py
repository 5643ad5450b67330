"""The place where a volume is accessed: a local folder, or a helper container.

All work on volumes is done by GNU programs (tar, find, sort, mv) at a `Place`, so that both kinds
behave identically. A program's output and errors go to files in the place's scratch folder, which
both sides see, and not through pipes, log drivers or memory.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from quiesce.adapters.files import make_empty
from quiesce.adapters.process import program as process
from quiesce.errors import QuiesceError, RequestError

#: Messages, sorting and dates are parsed, so language, order and time zone are fixed. None of the
#: caller's variables reaches the programs (TAR_OPTIONS would change every archive).
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}

#: Redirects a program's output to two files, then execs it, so that its exit status is kept.
_REDIRECT = 'exec >"$1" 2>"$2"; shift 2; exec "$@"'

#: Exits with 0 if all programs that work on a volume exist.
_PROBE = """
case $(tar --version) in *"GNU tar"*) ;; *) exit 3 ;; esac
zstd --version && find / -maxdepth 0 -printf '' && sort -z /dev/null && sync -f / \
&& mv -n -t /tmp --version && xargs -0 -r true </dev/null && stat -f -c %T /
"""

#: In an argv of tar, stands for the local file that it reads or writes, once and sequentially.
ARCHIVE = "--file={archive}"

NEEDS = "GNU tar, GNU find, coreutils and zstd"
_DETAIL_LINES = 12
#: How chown and tar say that a file system, such as NFS with root_squash, refuses owners.
_REFUSED_OWNER = re.compile(
    r"(changing ownership of|[Cc]annot change ownership|chown).*Operation not permitted"
)
_HARDLY_ANY_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code of a program, and the files with its output, valid until the place's next
    `run`."""

    exit_code: int
    output: Path
    errors: Path


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run at a place. Its output goes to `output` and `errors`.

    `ARCHIVE` in `argv` is the file that it `reads` or `writes`; at most one of them is given.
    """

    argv: Sequence[str]
    what: str
    output: Path
    errors: Path
    reads: Path | None
    writes: Path | None

    def redirected(self, see: Callable[[Path], str]) -> list[str]:
        """Return the argv with which the program opens its files itself, under the paths that it
        sees."""
        archive = self.reads or self.writes
        named = [
            f"--file={see(archive)}" if archive and part == ARCHIVE else part for part in self.argv
        ]
        files = [see(self.output), see(self.errors)]
        return ["sh", "-c", _REDIRECT, "quiesce", *files, *named]


class Place(ABC):
    """A volume's root and the programs that work on it. `volume` is its real name.

    The scratch folder is created in the local `folder`, which both sides see.
    """

    def __init__(self, volume: str, root: str, folder: Path) -> None:
        self.volume = volume
        self.root = root
        # One after the other: mkdir sets the mode only of the last one.
        for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            path.mkdir(mode=0o700, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=".volume-", dir=folder))

    @abstractmethod
    def see(self, path: Path) -> str:
        """Return the path under which the programs see a local file or folder."""

    @abstractmethod
    def _carry_out(self, program: Program) -> int:
        """Run a program to its end and return its exit code."""

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        accept: Collection[int] = (0,),
        reads: Path | None = None,
        writes: Path | None = None,
    ) -> Ended:
        """Run a program to its end. Raise QuiesceError, with its last lines as details, unless its
        exit code is accepted. `what` describes the operation: "reading volume x"."""
        output, errors = self.output("output"), self.output("errors")
        code = self._carry_out(Program(argv, what, output, errors, reads, writes))
        check_end(code, accept, what, errors)
        return Ended(code, output, errors)

    def output(self, name: str) -> Path:
        """Create an empty scratch file, owned by the caller with mode 0600, for a program to write
        into."""
        return make_empty(self._scratch / name)

    def close(self) -> None:
        """Remove the scratch folder, and the helper with anything that still runs in it."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def check_end(exit_code: int, accept: Collection[int], what: str, errors: Path) -> None:
    """Raise QuiesceError unless the exit code is an accepted one."""
    if exit_code in accept:
        return
    lines = last_lines(errors)
    if _is_full(errors.parent):
        # Then there was no room for the program's message either.
        lines.append(f"No space left on device: the disk of {errors.parent.parent} is full")
    if any("Wrote only" in line for line in lines):
        # Tar's message when the disk fills up in the middle of a block.
        lines.append("No space left on device: the disk it was written to is full")
    hint = "see the details; nothing was left incomplete, so you can run it again"
    if any("No space left" in line or "quota" in line for line in lines):
        hint = "free some space there, then try again"
    elif any("Permission denied" in line or "not permitted" in line for line in lines):
        hint = "run it as a user who may read and write everything in the volume, such as root"
        if os.geteuid() == 0:
            # A helper is root too. What remains are attributes and file systems.
            hint = (
                "see the details: 'lsattr' shows what is immutable or append-only, 'mount' what is "
                "read-only; correct that, then try again"
            )
            if any(_REFUSED_OWNER.search(line) for line in lines):
                hint = (
                    "its file system does not let root set owners: if it is NFS, export it to this "
                    "machine with 'no_root_squash', then try again"
                )
    how = f"was terminated by signal {exit_code - 128}" if exit_code > 128 else "failed"
    raise QuiesceError(f"{what} {how} (exit code {exit_code})", hint, details=lines)


def _is_full(folder: Path) -> bool:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < _HARDLY_ANY_BYTES or (disk.f_files > 0 == disk.f_favail)


def last_lines(path: Path, count: int = _DETAIL_LINES) -> list[str]:
    """Return the last lines of a file that may be large and contain any bytes."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 64 * 1024))
        lines = stream.read().decode(errors="backslashreplace").splitlines()
    return [line.strip() for line in lines if line.strip()][-count:]


class DirectPlace(Place):
    """A volume whose root is a local folder that this process may read and write."""

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
    """Whether all programs that work on a volume exist."""
    every_code = range(256)
    return place.run(probe_command(), what="probing", accept=every_code).exit_code == 0


def probe_command() -> list[str]:
    """Return a command that exits with 0 only if the programs of `NEEDS` exist."""
    return ["sh", "-c", _PROBE]


def refuse_unsuitable(where: str) -> RequestError:
    """Return the error for a place that lacks the programs."""
    return RequestError(
        f"{where} lacks {NEEDS}",
        "set 'helper_image' in stack.yaml to an image on this engine that has them",
    )
