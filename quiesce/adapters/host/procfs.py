"""Processes of `runtime: host`: starts them, finds them again, ends them.

They outlive the command that started them, so their identity must be found outside of its memory. A
process number alone does not identify a process, because numbers are reused; so the start time is
compared too. A process that was started but not yet recorded is found by the marks in its
environment.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quiesce.adapters.process.child import signal_group
from quiesce.errors import QuiesceError, RequestError
from quiesce.file_errors import hint_for, reason

#: Marks in the environment of every process of an instance.
MARK_STATE = "QUIESCE_INSTANCE_STATE"
MARK_SERVICE = "QUIESCE_SERVICE"
MARK_RUN = "QUIESCE_RUN"
MARKS = frozenset({MARK_STATE, MARK_SERVICE, MARK_RUN})

LOOK_EVERY = 0.02
#: Seconds that child processes get when their parent has ended by itself; in a container they get
#: none.
HELPERS_PATIENCE = 1.0
#: Seconds for the kernel to deliver a SIGKILL; what remains then is waiting for a device.
KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Live:
    """A living process. `started` is in clock ticks since boot; `state` is the kernel's."""

    pid: int
    started: int
    parent: int
    group: int
    session: int
    state: str

    @property
    def identity(self) -> str:
        """Its `Unit.id`: number and start time, which are unique in this boot."""
        return f"{self.pid}:{self.started}"

    @property
    def leads(self) -> bool:
        """Whether it leads a session, as processes do that were started here, and their children do
        not."""
        return self.pid == self.session

    @property
    def paused(self) -> bool:
        return self.state == "T"

    @property
    def started_at(self) -> datetime:
        """When it was started."""
        return datetime.fromtimestamp(_booted() + self.started / os.sysconf("SC_CLK_TCK"), UTC)

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.started / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start. The environment may contain secrets, so none of it is shown."""

    argv: tuple[str, ...]
    arguments: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Launch({self.argv[0]!r})"


_begun: dict[tuple[int, int], subprocess.Popen[bytes]] = {}


def require_proc() -> None:
    """Raise RequestError if processes cannot be identified because there is no /proc."""
    if look(os.getpid()) is None:
        raise RequestError(
            "this system has no /proc, which 'runtime: host' needs to identify processes",
            "run it on Linux, or use 'runtime: compose'",
        )


def boot_id() -> str:
    """Return the id of this boot: process numbers of another boot mean nothing."""
    return _read(Path("/proc/sys/kernel/random/boot_id")).strip()


def _read(path: Path) -> str:
    """Return the content of a file of the kernel. Raise RequestError if it cannot be read: an empty
    result would make running services look stopped."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        raise
    except OSError as error:
        raise RequestError(f"cannot read {path}: {reason(error)}", hint_for(error, path)) from error


def begin(launch: Launch, log: Path) -> Live:
    """Start a process in a separate session, with its output appended to `log`.

    It has no terminal and continues when this process ends. Raise QuiesceError if it cannot be
    started.
    """
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        # A full disk must not keep a service down that a backup has stopped.
        output = os.open(os.devnull, os.O_WRONLY)
    try:
        child = subprocess.Popen(
            launch.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **launch.arguments,
        )
    except OSError as error:
        name = Path(launch.argv[0]).name
        missing = "check that its folder and program exist"
        hint = missing if error.errno == errno.ENOENT else hint_for(error, launch.argv[0])
        raise QuiesceError(f"{name} cannot be started: {reason(error)}", hint) from None
    finally:
        os.close(output)
    # It is a child that is not reaped yet, so its number is its own even if it has ended.
    started = int(_fields(child.pid)[19])
    _begun[child.pid, started] = child
    return Live(child.pid, started, os.getpid(), child.pid, child.pid, "R")


def exit_code(pid: int, started: int) -> int | None:
    """Return the exit code of a process that this process started, as a shell shows it; None if
    unknown."""
    child = _begun.get((pid, started))
    code = None if child is None else child.poll()
    return None if code is None else (128 - code if code < 0 else code)


def look(pid: int) -> Live | None:
    """Return the process with this number, None if it has ended (like a zombie)."""
    fields = _fields(pid)
    if not fields or fields[0] in ("Z", "X"):
        return None
    return Live(
        pid=pid,
        started=int(fields[19]),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        state=fields[0],
    )


def current(live: Live) -> Live | None:
    """Return the current state of the same process, None if it has ended."""
    now = look(live.pid)
    return now if now is not None and now.started == live.started else None


def all_processes() -> dict[int, Live]:
    """Return all processes by number."""
    numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return {live.pid: live for live in map(look, numbers) if live is not None}


def marks(live: Live) -> Mapping[str, str]:
    """Return the marks of a process; none if its environment cannot be read."""
    try:
        content = Path(f"/proc/{live.pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in content.split(b"\0"))
    return {name: value for name, _, value in pairs if name in MARKS}


def roots(found: Collection[Live], everybody: Mapping[int, Live]) -> tuple[Live, ...]:
    """Return the processes without an ancestor among those found, the oldest first.

    The others are their children.
    """
    numbers = {live.pid for live in found}
    tops = [live for live in found if not _ancestors(live, everybody) & numbers]
    return tuple(sorted(tops, key=lambda live: (live.started, live.pid)))


def in_folder(folder: Path, name: str) -> tuple[Live, ...]:
    """Return the processes of this name whose working directory this is."""
    wanted = folder.resolve()
    found = []
    for live in all_processes().values():
        with contextlib.suppress(OSError):
            if name_of(live) == name and Path(f"/proc/{live.pid}/cwd").readlink() == wanted:
                found.append(live)
    return tuple(found)


def end(live: Live, number: signal.Signals, patience: float, *, group: bool) -> bool:
    """End a process and its children; return whether it had to be killed.

    The signal goes to its whole group if `group`, else only to the process. After `patience`
    seconds it is killed with its children. Children that outlive it by a second are killed. Raise
    QuiesceError if any process survives that.
    """
    helpers = _family(live)
    # Two signals: a paused process handles none before it is continued.
    _send(live, number, group=group)
    _send(live, signal.SIGCONT, group=group)
    killed = not wait_until(lambda: current(live) is None, patience)
    helpers |= _family(live)
    if killed:
        _send(live, signal.SIGKILL, group=group)
        wait_until(lambda: current(live) is None, KILL_SECONDS)
        helpers |= _family(live)  # started while it was being killed
    else:
        wait_until(lambda: not _any_lives(helpers), HELPERS_PATIENCE)
    if group and any(helper.group == live.pid for helper in helpers if current(helper)):
        signal_group(live.pid, signal.SIGKILL)
    for helper in helpers:
        _send(helper, signal.SIGKILL, group=False)
    exit_code(live.pid, live.started)  # reap it if it is a child
    if not wait_until(lambda: not _any_lives({live, *helpers}), KILL_SECONDS):
        raise QuiesceError(
            f"process {live.pid} still runs after it was killed",
            f"it may belong to another user or wait for a device: see 'ps -l {live.pid}'",
        )
    return killed


def pause(live: Live) -> None:
    """Pause a process with its group."""
    _send(live, signal.SIGSTOP, group=True)
    wait_until(lambda: (now := current(live)) is None or now.paused, 1.0)


def unpause(live: Live) -> None:
    """Continue a paused process."""
    _send(live, signal.SIGCONT, group=True)
    wait_until(lambda: (now := current(live)) is None or not now.paused, 1.0)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds, at most this long; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_EVERY)
    return True


def belongs_to_us(live: Live) -> bool:
    """Whether the process runs as the current user."""
    try:
        return Path(f"/proc/{live.pid}").stat().st_uid == os.geteuid()
    except OSError:
        return False


def name_of(live: Live) -> str:
    """Return the name of its program."""
    try:
        return Path(f"/proc/{live.pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "process"


# ------------------------------------------------------------------------------------------ inside


def _send(live: Live, number: signal.Signals, *, group: bool) -> None:
    if current(live) is None:
        return
    if group and live.group == live.pid:
        signal_group(live.pid, number)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(live.pid, number)


def _family(live: Live) -> set[Live]:
    """Return its children: its descendants and the members of its session, even if it has just
    ended."""
    everybody = all_processes()
    now = everybody.get(live.pid)
    if now is not None and now.started != live.started:
        return set()  # the number and its session belong to another process now
    return {
        other
        for other in everybody.values()
        if other.pid != live.pid
        and (live.pid in _ancestors(other, everybody) or (live.leads and other.session == live.pid))
    }


@functools.cache
def _booted() -> int:
    """Return when this machine was booted, in seconds; read once, because setting the clock changes
    it."""
    lines = _read(Path("/proc/stat")).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))


def _ancestors(live: Live, everybody: Mapping[int, Live]) -> set[int]:
    found: set[int] = set()
    parent = live.parent
    while parent > 1 and parent not in found:
        found.add(parent)
        above = everybody.get(parent)
        parent = above.parent if above is not None else 0
    return found


def _any_lives(processes: Iterable[Live]) -> bool:
    return any(current(live) is not None for live in processes)


def _fields(pid: int) -> Sequence[str]:
    """Return the fields of /proc/<pid>/stat from the state on.

    The name before it may contain any characters, including parentheses.
    """
    try:
        text = _read(Path(f"/proc/{pid}/stat"))
    except OSError:
        return ()
    return text.rpartition(")")[2].split()
