"""The only place that runs programs: a list of arguments, never a shell, one checked status.

Every child leads a session and a process group of its own, so a second Ctrl-C in the terminal
cannot reach the very command that puts services back, and its group can be ended as one. It gets
an empty input unless told otherwise, and dies with the run: see `process_child.tied_to_us`.
Errors name the program and its last lines of stderr, never its arguments or its environment.

`run` and `pipe` must be waited for by the thread that called them (they do that themselves):
the kernel ties a child's death to the *thread* that began it.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict, Unpack

from quiesce.adapters.process.child import (
    PATIENCE,
    TAIL_BYTES,
    Child,
    Reader,
    signal_group,
    started_at,
    tail,
    tied_to_us,
    wait_for_group,
)
from quiesce.errors import QuiesceError, RequestError
from quiesce.file_errors import hint_for, reason

#: Captured output beyond this is a mistake of ours: bulk data goes to a file.
OUTPUT_LIMIT = 64 * 1024 * 1024

Stream = int | IO[bytes]


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended.

    `exit_code` is 128 plus the signal's number when a signal ended it; `stderr` holds its last
    lines.
    """

    exit_code: int
    stdout: bytes
    stderr: tuple[str, ...]
    seconds: float


class Options(TypedDict, total=False):
    """How `run` and `pipe` run a program.

    `environment` is its whole environment (absent: ours); `stdin` is bytes, an open file or
    (absent) nothing. Output goes to the open file `stdout_to` or, up to 64 MiB, into the result.
    `timeout` is in seconds; `accept` are the good exit codes (absent: 0). `what` names the command
    in errors instead of the program, `hint` goes with a failure, and each of `secrets` is blotted
    out of what the program said.
    """

    environment: Mapping[str, str]
    cwd: Path
    stdin: bytes | Stream
    stdout_to: Stream
    timeout: float
    accept: Collection[int]
    what: str
    hint: str
    secrets: Collection[str]


def run(argv: Sequence[str], **options: Unpack[Options]) -> Completed:
    """Run a program to its end and return how it ended.

    Raise RequestError when the program is not there, QuiesceError when its exit code is not an
    accepted one or `timeout` did not suffice. Whatever this raises, signals included, the child's
    group has ended.
    """
    return pipe([argv], **options)[0]


def pipe(commands: Sequence[Sequence[str]], **options: Unpack[Options]) -> tuple[Completed, ...]:
    """Run programs, each reading what the one before writes, and check the status of every one.

    As `run` otherwise; only the last one's output is returned or goes to `stdout_to`. The error
    names the first program that failed of its own, not those that lost their reader to it.
    """
    begun = time.monotonic()
    deadline = begun + options["timeout"] if "timeout" in options else None
    running: list[_Running] = []
    try:
        for argv in commands[:-1]:
            running.append(_Running(argv, options, _source(running, options), subprocess.PIPE))
        output = options.get("stdout_to")
        running.append(_Running(commands[-1], options, _source(running, options), output))
        for child in running[:-1]:
            child.let_go_of_output()  # or a writer never learns that its reader died
        secrets = options.get("secrets", ())
        results = tuple(child.finish(begun, deadline, secrets) for child in running)
    except BaseException:
        for child in running:
            child.end()
        raise
    _check(results, [child.name for child in running], options)
    return results


def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    output: Stream,
    with_run: bool = False,
) -> tuple[Child, subprocess.Popen[bytes]]:
    """Begin a program that goes on by itself, its output and errors going to `output`.

    It outlives the run (a service of the host runtime) unless `with_run`. Who keeps the handle
    must wait for it, or it stays behind as a zombie until we end.
    """
    command = _located(argv, environment, argv[0], "")
    popen = subprocess.Popen(
        tied_to_us(command) if with_run else command,
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Child(popen.pid, started_at(popen.pid), _name(argv)), popen


def attach(
    argv: Sequence[str], connection: socket.socket, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Begin a program whose input and output are this connection; it dies with the run.

    The connection ends for the peer when the program does and ours was closed. Must be called by
    a thread that lives as long as the program.
    """
    return subprocess.Popen(
        tied_to_us(_located(argv, environment, argv[0], "")),
        env=dict(environment),
        stdin=connection.fileno(),
        stdout=connection.fileno(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def watch(listener: Callable[[Child], None]) -> None:
    """Tell `listener` of every child of `run` and `pipe` begun from now on (for the journal)."""
    _listeners.append(listener)


def unwatch(listener: Callable[[Child], None]) -> None:
    """Tell `listener` no more."""
    _listeners.remove(listener)


def children() -> tuple[Child, ...]:
    """Return the children of `run` and `pipe` that have not ended yet, of all threads."""
    with _guard:
        return tuple(running.child for running in _children.values())


def end_children() -> None:
    """End every child of `run` and `pipe`, of all threads. Their callers raise."""
    with _guard:
        running = tuple(_children.values())
    for child in running:
        child.end()


# ------------------------------------------------------------------------------- one running child

_children: dict[int, _Running] = {}
_guard = threading.Lock()
_listeners: list[Callable[[Child], None]] = []


class _Running:
    """One child, the threads that read what it says, and its end."""

    def __init__(
        self,
        argv: Sequence[str],
        options: Options,
        source: bytes | Stream | None,
        output: Stream | None,
    ) -> None:
        self.name = options.get("what") or _name(argv)
        hint = options.get("hint", "")
        command = _located(argv, options.get("environment"), self.name, hint)
        text = source if isinstance(source, bytes) else None
        stdin = subprocess.PIPE if isinstance(source, bytes) else source
        try:
            self.popen = subprocess.Popen(
                tied_to_us(command),
                env=options.get("environment"),
                cwd=options.get("cwd"),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE if output is None else output,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            # The caller's hint is about a program that is not there.
            true = hint if error.errno == errno.ENOENT else hint_for(error, argv[0])
            raise QuiesceError(f"{self.name} cannot be started: {reason(error)}", true) from None
        self.child = Child(self.popen.pid, started_at(self.popen.pid), _name(argv))
        with _guard:
            _children[self.popen.pid] = self
        self.captures = output is None
        captured = self.popen.stdout if self.captures else None
        self.output = Reader(captured, OUTPUT_LIMIT, keep_end=False)
        self.errors = Reader(self.popen.stderr, TAIL_BYTES, keep_end=True)
        if text is not None and self.popen.stdin is not None:
            threading.Thread(target=_feed, args=(self.popen.stdin, text), daemon=True).start()
        for listener in tuple(_listeners):
            listener(self.child)

    def let_go_of_output(self) -> None:
        if self.popen.stdout is not None and not self.captures:
            self.popen.stdout.close()

    def finish(self, begun: float, deadline: float | None, secrets: Collection[str]) -> Completed:
        try:
            self.popen.wait(_remaining(deadline))
            # Whoever inherited its output may still be writing: the program is not done before.
            self.output.wait(_remaining(deadline))
        except (subprocess.TimeoutExpired, TimeoutError):
            seconds = time.monotonic() - begun
            raise QuiesceError(f"{self.name} did not end within {seconds:.0f} seconds") from None
        # A daemon it left behind may keep stderr open for ever; what it says no longer matters.
        self.errors.wait(1.0, strict=False)
        self._forget()
        if self.output.overflowed:
            raise QuiesceError(f"{self.name} wrote more than {OUTPUT_LIMIT} bytes")
        code = self.popen.returncode
        return Completed(
            exit_code=128 - code if code < 0 else code,
            stdout=self.output.content,
            stderr=tail(self.errors.content, secrets),
            seconds=time.monotonic() - begun,
        )

    def end(self) -> None:
        """TERM, then KILL, to the whole group. A second interruption does not wait."""
        try:
            if self._still_there():
                signal_group(self.popen.pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            while self._still_there() and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            # The leader is not reaped yet, so its number cannot be another group's.
            if self.popen.returncode is None:
                signal_group(self.popen.pid, signal.SIGKILL)
                self.popen.wait()
                wait_for_group(self.popen.pid, seconds=1.0)
            self.let_go_of_output()
            self._forget()

    def _still_there(self) -> bool:
        if self.popen.returncode is not None:
            return False
        try:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.popen.pid, options) is None
        except ChildProcessError:
            return False

    def _forget(self) -> None:
        with _guard:
            _children.pop(self.popen.pid, None)


def _source(running: Sequence[_Running], options: Options) -> bytes | Stream | None:
    return running[-1].popen.stdout if running else options.get("stdin")


def _check(results: Sequence[Completed], names: Sequence[str], options: Options) -> None:
    accept = options.get("accept", (0,))
    bad = [i for i, result in enumerate(results) if result.exit_code not in accept]
    if not bad:
        return
    lost_reader = 128 + signal.SIGPIPE
    first = next((i for i in bad if results[i].exit_code != lost_reader), bad[0])
    code = results[first].exit_code
    how = (
        f"was terminated by {_signal_name(code)}" if code > 128 else f"failed with exit code {code}"
    )
    hint = options.get("hint", "")
    raise QuiesceError(f"{names[first]} {how}", hint, details=results[first].stderr)


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return f"exit code {code}"


def _feed(stream: IO[bytes], content: bytes) -> None:
    try:
        with stream:
            stream.write(content)
    except BrokenPipeError:
        pass  # it ended without reading everything; its exit code says whether that matters


def _remaining(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _name(argv: Sequence[str]) -> str:
    return Path(argv[0]).name


def _located(
    argv: Sequence[str], environment: Mapping[str, str] | None, name: str, hint: str
) -> list[str]:
    """Return argv with the program's full path. Raise RequestError when there is no such one."""
    variables = os.environ if environment is None else environment
    found = shutil.which(argv[0], path=variables.get("PATH", os.defpath))
    if found is None:
        program = _name(argv)
        help_ = hint or f"install {program} and make sure that it is on PATH"
        raise RequestError(f"{name}: the program {program} is not on this machine", help_)
    return [found, *argv[1:]]
