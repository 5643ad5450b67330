"""The only module that runs programs: with a list of arguments, never a shell, and a checked exit
code.

Every child has a separate session and process group, so a second Ctrl-C in the terminal cannot
reach the very command that restarts services, and its group can be terminated as one. It has an
empty input by default, and is terminated with the run: see `child.tied_to_us`. Errors contain the
program's name and its last lines of stderr, never its arguments or its environment.

`run` and `pipe` wait for their children in the calling thread: the kernel ties a child's death to
the *thread* that started it.
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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict, Unpack

from quiesce.adapters.process.child import (
    PATIENCE,
    TAIL_BYTES,
    TAIL_LINES,
    Reader,
    signal_group,
    tail,
    tied_to_us,
    wait_for_group,
)
from quiesce.errors import QuiesceError, RequestError
from quiesce.file_errors import hint_for, reason

#: More captured output than this is a bug: bulk data goes to a file.
OUTPUT_LIMIT = 64 * 1024 * 1024

Stream = int | IO[bytes]


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a program.

    `exit_code` is 128 plus the signal's number if a signal ended it; `stderr` contains its last
    lines.
    """

    exit_code: int
    stdout: bytes
    stderr: tuple[str, ...]
    seconds: float


class Options(TypedDict, total=False):
    """Options of `run` and `pipe`.

    `environment` is the complete environment (default: that of this process); `stdin` is bytes or
    an open file (default: empty). Output goes to the open file `stdout_to` or, up to 64 MiB, into
    the result. `timeout` is in seconds; `accept` are the accepted exit codes (default: 0). `what`
    names the command in errors instead of the program, `hint` is the hint of a failure, `secrets`
    are masked in the output, and the last `lines` of stderr are kept (default: 20).
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
    lines: int


def run(argv: Sequence[str], **options: Unpack[Options]) -> Completed:
    """Run a program to its end and return its result.

    Raise RequestError if the program does not exist, QuiesceError if its exit code is not accepted
    or `timeout` is exceeded. Whatever this raises, signals included, the child's group has ended.
    """
    return pipe([argv], **options)[0]


def pipe(commands: Sequence[Sequence[str]], **options: Unpack[Options]) -> tuple[Completed, ...]:
    """Run programs as a pipeline, and check the exit code of each.

    Otherwise like `run`; only the last one's output is returned or goes to `stdout_to`. The error
    names the first program that failed by itself, not those that failed because their reader ended.
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
        results = tuple(child.finish(begun, deadline, options) for child in running)
    except BaseException:
        for child in running:
            child.end()
        raise
    _check(results, [child.name for child in running], options)
    return results


def attach(
    argv: Sequence[str], connection: socket.socket, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program whose input and output are this connection; it is terminated with the run.

    The peer sees the end of the connection when the program ends and this side was closed. Must be
    called by a thread that lives as long as the program.
    """
    return subprocess.Popen(
        tied_to_us(_located(argv, environment, argv[0], "")),
        env=dict(environment),
        stdin=connection.fileno(),
        stdout=connection.fileno(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


# ------------------------------------------------------------------------------- one running child


class _Running:
    """One child, the threads that read its output, and its end."""

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
            # The caller's hint is for a program that does not exist.
            true = hint if error.errno == errno.ENOENT else hint_for(error, argv[0])
            raise QuiesceError(f"{self.name} cannot be started: {reason(error)}", true) from None
        self.captures = output is None
        captured = self.popen.stdout if self.captures else None
        self.output = Reader(captured, OUTPUT_LIMIT, keep_end=False)
        self.errors = Reader(self.popen.stderr, TAIL_BYTES, keep_end=True)
        if text is not None and self.popen.stdin is not None:
            threading.Thread(target=_feed, args=(self.popen.stdin, text), daemon=True).start()

    def let_go_of_output(self) -> None:
        if self.popen.stdout is not None and not self.captures:
            self.popen.stdout.close()

    def finish(self, begun: float, deadline: float | None, options: Options) -> Completed:
        try:
            self.popen.wait(_remaining(deadline))
            # A process that inherited its output may still be writing.
            self.output.wait(_remaining(deadline))
        except (subprocess.TimeoutExpired, TimeoutError):
            seconds = time.monotonic() - begun
            raise QuiesceError(f"{self.name} did not end within {seconds:.0f} seconds") from None
        # A daemon that it started may keep stderr open forever; its messages do not matter.
        self.errors.wait(1.0, strict=False)
        if self.output.overflowed:
            raise QuiesceError(f"{self.name} wrote more than {OUTPUT_LIMIT} bytes")
        code = self.popen.returncode
        return Completed(
            exit_code=128 - code if code < 0 else code,
            stdout=self.output.content,
            stderr=tail(
                self.errors.content, options.get("secrets", ()), options.get("lines", TAIL_LINES)
            ),
            seconds=time.monotonic() - begun,
        )

    def end(self) -> None:
        """Send TERM, then KILL, to the whole group. A second interruption does not wait."""
        try:
            if self._still_there():
                signal_group(self.popen.pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            while self._still_there() and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            # The leader is not reaped yet, so its number cannot belong to another group.
            if self.popen.returncode is None:
                signal_group(self.popen.pid, signal.SIGKILL)
                self.popen.wait()
                wait_for_group(self.popen.pid, seconds=1.0)
            self.let_go_of_output()

    def _still_there(self) -> bool:
        if self.popen.returncode is not None:
            return False
        try:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.popen.pid, options) is None
        except ChildProcessError:
            return False


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
    """Return argv with the program's full path. Raise RequestError if it does not exist."""
    variables = os.environ if environment is None else environment
    found = shutil.which(argv[0], path=variables.get("PATH", os.defpath))
    if found is None:
        program = _name(argv)
        help_ = hint or f"install {program} and make sure that it is on PATH"
        raise RequestError(f"{name}: the program {program} is not on this machine", help_)
    return [found, *argv[1:]]
