"""Python programs that start at once: forked from a process that has imported Quiesce already.

Importing takes most of the processor time of a short `inv`, and the tests start some thousands. One
server per test process imports once; `Popen` here has it fork a child per program. The child gets
its own arguments, folder, environment, streams and session, as if it had been started; what differs
is that its command line is the server's, and that Quiesce comes from this checkout also where the
program runs in a copy of it. `./inv` itself, and `python -m invoke`, are tried without this in
tests/e2e/test_wrapper.py, test_importable.py and others.

Run as `python -m tests.support.preloaded`, it is the server: requests come on file descriptor 0.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import json
import os
import random
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: What most programs import. Compiled parts that start threads when they are loaded stay out.
MODULES = (
    "invoke.main",
    "alembic.config",
    "docker",
    "psycopg2",
    "rich.console",
    "yaml",
    *(
        f"quiesce.{part}"
        for part in (
            *("menu", "config", "app", "observe", "report", "execute.executor"),
            *("commands.backup", "commands.restore", "commands.status", "commands.recover"),
            *("commands.verify", "commands.drill", "commands.clean", "commands.lifecycle"),
            *("commands.retention", "commands.report", "commands.check", "commands.exec"),
            *("adapters.compose.runtime", "adapters.host.runtime", "adapters.postgres.admin"),
            *("adapters.volumes.io", "adapters.sets.local", "adapters.migrations"),
        )
    ),
)
_SIZE = struct.Struct("!I")


# ------------------------------------------------------------------------------------- the client


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` for `[sys.executable, "-m", MODULE, …]`, forked and not started."""

    _channel: socket.socket

    def _execute_child(self, *given: Any) -> None:  # type: ignore[override]
        call = inspect.signature(subprocess.Popen._execute_child).bind(self, *given).arguments
        argv = list(map(os.fsdecode, call["args"]))
        if argv[:2] != [sys.executable, "-m"]:
            raise ValueError(f"not a module for this Python: {argv}")
        environment = os.environ if call["env"] is None else call["env"]
        request = {
            "argv": argv[2:],
            "cwd": os.fspath(call["cwd"] or Path.cwd()),
            "env": {os.fsdecode(k): os.fsdecode(v) for k, v in environment.items()},
            "session": call["start_new_session"],
        }
        streams = [
            given if given != -1 else own
            for own, given in enumerate((call["p2cread"], call["c2pwrite"], call["errwrite"]))
        ]
        self._channel, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(_server(), [_packed(request)], [*streams, theirs.fileno()])
        answer = _received(self._channel)
        self.pid = int(answer["pid"])
        self._child_created = True
        self._close_pipe_fds(
            *(call[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite")),
            *(call[name] for name in ("errread", "errwrite")),
        )

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:  # type: ignore[override]
        self._channel.setblocking(wait_flags != os.WNOHANG)
        try:
            answer = _received(self._channel)
        except BlockingIOError:
            return 0, 0
        finally:
            self._channel.setblocking(True)
        self._channel.close()
        return self.pid, int(answer["status"])

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(argv: list[str], *, input: Any = None, timeout: float | None = None, **given: Any) -> Any:  # noqa: A002
    """`subprocess.run` with `Popen` from here, for what is captured."""
    given["stdin"] = subprocess.PIPE if input is not None else given.get("stdin")
    if given.pop("capture_output", False):
        given |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    given.pop("check", None)
    with Popen(argv, **given) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


@dataclass(frozen=True)
class _Server:
    """The server of this test process, and the connection to it."""

    process: subprocess.Popen[bytes]
    requests: socket.socket
    of: int

    @classmethod
    def start(cls) -> _Server:
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-m", "tests.support.preloaded"]
            process = subprocess.Popen(argv, cwd=ROOT, stdin=theirs, start_new_session=True)
        made = cls(process, ours, os.getpid())
        atexit.register(made.end)
        return made

    def end(self) -> None:
        self.requests.close()
        if os.getpid() == self.of:
            self.process.wait()


@cache
def _server_of(_: int) -> _Server:
    return _Server.start()


def _server() -> socket.socket:
    """The connection to the server of this process, started when first asked for."""
    return _server_of(os.getpid()).requests


# ------------------------------------------------------------------------------------- both sides


def _packed(value: Any) -> bytes:
    content = json.dumps(value).encode()
    return _SIZE.pack(len(content)) + content


def _exactly(channel: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        more = channel.recv(count - len(content))
        if not more:
            raise EOFError("the server of preloaded programs has ended")
        content += more
    return content


def _received(channel: socket.socket) -> Any:
    first = channel.recv(_SIZE.size)  # may raise BlockingIOError, then nothing was taken
    channel.setblocking(True)
    first += _exactly(channel, _SIZE.size - len(first))
    return json.loads(_exactly(channel, _SIZE.unpack(first)[0]))


# -------------------------------------------------------------------------------------- the server


def serve() -> None:
    """Fork a program for each request, report how each ended, until the client is gone."""
    for name in MODULES:
        importlib.import_module(name)
    # What is imported stays: a program that looks through it for garbage, at its end if not before,
    # copies all of it, which took 0.45 s of a processor.
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=os.dup(0))
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is not requests:
                child, channel = key.data
                _, status = os.waitpid(child, 0)
                waiting.unregister(key.fileobj)
                os.close(key.fd)
                _send_quietly(channel, {"status": status})
                channel.close()
                continue
            head, fds, _, _ = socket.recv_fds(requests, _SIZE.size, 8)
            if not head:
                return
            head += _exactly(requests, _SIZE.size - len(head))
            request = json.loads(_exactly(requests, _SIZE.unpack(head)[0]))
            *streams, channel_fd = fds
            channel = socket.socket(fileno=channel_fd)
            child = os.fork()
            if child == 0:
                _become(request, streams)
                return
            for stream in streams:
                os.close(stream)
            _send_quietly(channel, {"pid": child})
            waiting.register(os.pidfd_open(child), selectors.EVENT_READ, (child, channel))


def _send_quietly(channel: socket.socket, value: Any) -> None:
    # An error here means that nobody waits for this program any more.
    with contextlib.suppress(OSError):
        channel.sendall(_packed(value))


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Be the program that was asked for, as a new process would be."""
    if request["session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    random.seed()
    signal.set_wakeup_fd(-1)
    module, *arguments = request["argv"]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        errors = "backslashreplace" if name == "stderr" else "strict"
        text = open(  # noqa: SIM115
            number,
            "w",
            encoding="utf-8",
            errors=errors,
            closefd=False,
            buffering=1 if name == "stderr" or os.isatty(number) else -1,
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    sys.path[0] = request["cwd"]
    sys.argv = ["-m", *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise  # a message, which Python prints
        code = end.code or 0
    _end(code)


def _end(code: int) -> None:
    """End as Python does, but without freeing everything that was imported: 0.1 s."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python's own end says what is wrong, and with which exit code
    os._exit(code & 0xFF)


if __name__ == "__main__":
    serve()
