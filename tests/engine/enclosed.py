"""Engines in roots of their own: started and ended without touching any other engine.

Such an engine has its own mounts and its own network. Its data lies at the same path inside and
outside, so that the mountpoints it names can be read here. It sees /tmp and the folders of people,
because containers bind-mount them. Clients have to enter its network, see `entering`.
"""

from __future__ import annotations

import grp
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .daemon import end_process, engine_answers, engine_version, last_complaint
from .images import VARIABLES, ensure_images
from .machine import (
    ProcessMark,
    Unavailable,
    alone,
    find_program,
    mark_process,
    run,
    say,
    state_directory,
    with_system_paths,
)
from .named import NamedEngine
from .roots import engines_directory, ensure_root

_PROJECT = Path(__file__).parents[2]
_SCRIPTS = Path(__file__).parent / "scripts"
_SHARED = tuple(Path(name) for name in ("/tmp", "/home", "/root", "/srv", "/mnt"))
_SOCKETS = Path("/run/quiesce-engines")
#: Not the lock of the machine's engine: making a root takes a minute and touches nothing of it.
_LOCK = "engines.lock"
#: Engines that this process started and has to wait for when they end.
_CHILDREN: dict[str, subprocess.Popen[bytes]] = {}
_INSIDE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "GOGC": "800"}


@dataclass(frozen=True, slots=True)
class EnclosedEngine:
    """An engine that runs in a root of its own."""

    kind: NamedEngine
    pid: int
    root: Path
    socket: Path
    client: Path
    """A folder for DOCKER_CONFIG, with the suite's Compose as plugin."""
    images: dict[str, str]
    started: bool
    """Whether this call started it."""

    @property
    def variables(self) -> dict[str, str]:
        """What tests find in their environment."""
        return {
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.client),
            "QUIESCE_TEST_ENGINE": "1",
            "QUIESCE_TEST_ENGINE_NAME": self.kind.name,
            "QUIESCE_TEST_ENGINE_ROOT": str(self.root),
            **self.kind.client,
            **self.images,
        }

    @property
    def entering(self) -> list[str]:
        """The command that another command follows, to run it as a client of this engine.

        It runs in the engine's network, where ports are published. Whatever its environment, it
        finds the suite's docker command and Compose.
        """
        enter = ["nsenter", f"--net=/proc/{self.pid}/ns/net"]
        alone_here = ["unshare", "--mount", "--propagation=slave"]
        return [*enter, *alone_here, "sh", str(_SCRIPTS / "client.sh"), str(self.root)]

    @property
    def report(self) -> dict[str, object]:
        """What `tests.command` reads."""
        return {
            "docker_host": f"unix://{self.socket}",
            "started": self.started,
            "variables": self.variables,
            "entering": self.entering,
        }

    @property
    def shell(self) -> str:
        """The variables as lines for a shell, and how to enter the network."""
        lines = [f"export {name}={shlex.quote(text)}" for name, text in self.variables.items()]
        return "\n".join([*lines, f"# clients: {shlex.join(self.entering)} COMMAND"])


def start_enclosed(
    engine: NamedEngine, *, provision: bool, with_images: bool = True
) -> EnclosedEngine:
    """Return the engine, started if it does not run, with the tests' images in it.

    Raise `Unavailable` with the reason.
    """
    name = engine.name
    programs = ("unshare", "nsenter", "docker")
    if os.geteuid() != 0 or not all(find_program(program) for program in programs):
        raise Unavailable(f"{name} needs root, util-linux and a docker command")
    with alone(_LOCK):
        root = ensure_root(engine, provision=provision)
        data = engines_directory() / name
        data.mkdir(mode=0o711, exist_ok=True)
        socket = _SOCKETS / name / "engine.sock"
        mark = _running(name)
        started = mark is None
        if mark is None:
            mark = _start(engine, root, data, socket)
        if not (found := engine_version(f"unix://{socket}")).startswith(engine.version):
            raise Unavailable(f"the root of {name} has version {found}; name what it is now")
        client = _client(data, root)
        images: dict[str, str] = {}
        if with_images:
            with _talking_to(socket, client):
                images = ensure_images(may_bootstrap=True)
        return EnclosedEngine(engine, mark.pid, root, socket, client, images, started)


def stop_enclosed(engine: NamedEngine) -> bool:
    """End the engine with its containers; tell whether it ran. No other is touched."""
    name = engine.name
    with alone(_LOCK):
        mark = _running(name)
        if mark is None:
            return False
        namespace = os.readlink(f"/proc/{mark.pid}/ns/mnt")
        if engine.program == "podman":
            # Its containers do not end with it.
            host = f"unix://{_SOCKETS / name / 'engine.sock'}"
            stop = 'docker -H "$1" ps -q | xargs -r docker -H "$1" stop -t 2'
            run(["sh", "-c", stop, "sh", host], timeout=120)
        end_process(mark, patience=90)
        if child := _CHILDREN.pop(name, None):
            child.wait()
        _end_those_in(namespace)
        shutil.rmtree(_SOCKETS / name, ignore_errors=True)
        _memory(name).unlink(missing_ok=True)
        return True


def _running(name: str) -> ProcessMark | None:
    try:
        mark = ProcessMark(**json.loads(_memory(name).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return mark if mark_process(mark.pid) == mark else None


def _memory(name: str) -> Path:
    return state_directory() / f"{name}.json"


def _start(engine: NamedEngine, root: Path, data: Path, socket: Path) -> ProcessMark:
    say(f"starting {engine.name}")
    socket.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    log = data / "log"
    shared = [str(path) for path in (*_SHARED, _project_top()) if path.is_dir()]
    enter = ["unshare", "--mount", "--net", "sh", str(_SCRIPTS / "engine.sh")]
    arguments = [engine.program, str(root), str(data), str(socket), str(_docker_group())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*enter, *arguments, *shared],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_INSIDE, **engine.environment, "OPTIONS": " ".join(engine.options)},
            start_new_session=True,
            cwd="/",
        )
    _CHILDREN[engine.name] = process
    mark = mark_process(process.pid)
    if mark is None:
        raise Unavailable(f"{engine.name} ended at once: {last_complaint(log)}")
    _memory(engine.name).write_text(json.dumps(asdict(mark)))
    deadline = time.monotonic() + 90
    while not engine_answers(f"unix://{socket}"):
        if process.poll() is not None:
            raise Unavailable(f"{engine.name} ended at once: {last_complaint(log)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise Unavailable(f"{engine.name} did not answer within 90 s, see {log}")
        time.sleep(0.2)
    return mark


def _project_top() -> Path:
    """Return the first folder on the way to this project, as containers may mount files of it."""
    top = Path(*_PROJECT.parts[:2])
    return _PROJECT if top in (Path("/usr"), Path("/var"), Path("/opt"), Path("/run")) else top


def _docker_group() -> int:
    """Return the number that group `docker` has here; in the root it may be another."""
    try:
        return grp.getgrnam("docker").gr_gid
    except KeyError:
        return 0


def _client(data: Path, root: Path) -> Path:
    config = data / "client"
    plugin = config / "cli-plugins" / "docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(root / "usr/libexec/docker/cli-plugins/docker-compose")
    return config


@contextmanager
def _talking_to(socket: Path, client: Path) -> Iterator[None]:
    """Let docker commands of this process mean that engine, and its images be the tests' own."""
    before = dict(os.environ)
    for name in (*VARIABLES, "DOCKER_CONTEXT"):
        os.environ.pop(name, None)
    os.environ.update(with_system_paths(os.environ))
    os.environ.update(DOCKER_HOST=f"unix://{socket}", DOCKER_CONFIG=str(client))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _end_those_in(namespace: str) -> None:
    """End what the engine left in its mounts, which nobody else is in."""
    for kind, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + patience
        while left := _processes_in(namespace):
            for pid in left:
                try:
                    os.kill(pid, kind)
                except ProcessLookupError:
                    continue
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        else:
            return


def _processes_in(namespace: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "ns/mnt") == namespace:
                found.append(int(path.name))
        except OSError:
            continue
    return found
