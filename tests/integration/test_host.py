"""The host runtime against real processes: found again, ended whole, never mistaken for others."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from quiesce.adapters.host import health, procfs
from quiesce.adapters.host import services as host_units
from quiesce.adapters.host.procfs import MARK_RUN, MARK_SERVICE, MARK_STATE
from quiesce.adapters.host.runtime import HostRuntime
from quiesce.errors import QuiesceError, RequestError, ServiceFailed
from quiesce.model import HostService
from quiesce.observed import Dependency, Mount, Service, Unit
from tests.support.builders import a_volume
from tests.support.host import a_host_service, a_host_stack, end_everything

PATIENCE = 30.0
READY = "import signal, sys, time\n"
#: Says that it is ready when its handlers are in place, and then waits for signals.
DEAF = READY + (
    "signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n"
    "print('ready', flush=True)\n"
    "while True: signal.pause()\n"
)
SLOW = READY + (
    "def end(*_):\n"
    "    time.sleep(0.7)\n"
    "    sys.exit(5)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))\n"
    "print('ready', flush=True)\n"
    "while True: signal.pause()\n"
)
#: A leader with one helper, whose number it prints; the helper does not hear SIGTERM.
WITH_HELPER = READY + (
    "import subprocess\n"
    "deaf = 'import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()'\n"
    "helper = subprocess.Popen([sys.executable, '-c', deaf], stdout=subprocess.PIPE)\n"
    "helper.stdout.readline()\n"
    "print('helper', helper.pid, flush=True)\n"
    "print('ready', flush=True)\n"
    "signal.pause()\n"
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., HostRuntime]]:
    """Make a runtime of these services; whatever it began is ended afterwards."""

    def runtime(*services: HostService, **fields: object) -> HostRuntime:
        return HostRuntime(a_host_stack(tmp_path, *services, **fields))

    yield runtime
    end_everything(tmp_path / ".quiesce" / "core")


def state_of(folder: Path) -> Path:
    """Return where the instance keeps its files."""
    return folder / ".quiesce" / "core"


def service(runtime: HostRuntime, name: str) -> Service:
    """Return a service as it is now."""
    return next(entry for entry in runtime.services() if entry.name == name)


def unit(runtime: HostRuntime, name: str) -> Unit:
    """Return the only unit of a service as it is now."""
    (found,) = service(runtime, name).units
    return found


def pid_of(found: Unit) -> int:
    """Return the unit's process number."""
    return int(found.id.partition(":")[0])


def lives(pid: int) -> bool:
    """Whether this process has not ended."""
    return procfs.look(pid) is not None


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail at the deadline."""
    assert procfs.wait_until(condition, PATIENCE), "waited in vain"


def script(name: str, folder: Path, text: str, **fields: object) -> HostService:
    """A service that is a small Python program."""
    return a_host_service(name, folder, command=("python", "-c", text), **fields)


def up_and_ready(runtime: HostRuntime, name: str) -> Unit:
    """Start a service that says `ready` when its handlers are in place."""
    runtime.up([name], build=False)
    wait_until(lambda: "ready" in runtime.logs(name, 10))
    return unit(runtime, name)


def in_a_killed_fork(action: Callable[[], None]) -> None:
    """Do this in another process, which has to end by SIGKILL."""

    def act() -> None:
        try:
            action()
        finally:
            os._exit(1)

    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def kill_self(*_: object) -> None:
    """End as `kill -9` ends it."""
    os.kill(os.getpid(), signal.SIGKILL)


# ------------------------------------------------------------------------------------- declarations


def test_a_service_says_what_it_needs_and_mounts(make, tmp_path: Path):
    """The condition follows from the other's health check; a volume is a folder by its variable."""
    runtime = make(
        a_host_service("web", tmp_path, depends_on=("db", "job"), volumes={"data": "DATA_DIR"}),
        a_host_service("db", tmp_path, health=("true",)),
        a_host_service("job", tmp_path),
    )
    web, db, job = runtime.services()
    assert web.depends_on == (Dependency("db", "healthy"), Dependency("job", "started"))
    folder = state_of(tmp_path) / "volumes" / "data"
    assert web.mounts == (Mount("data", str(folder), "DATA_DIR", True),)
    assert (web.has_health, db.has_health) == (False, True)
    assert (web.units, job.image) == ((), "sleep")
    assert not state_of(tmp_path).exists(), "looking makes nothing"


def test_a_declared_volume_that_no_service_uses_does_not_exist(make, tmp_path: Path):
    """One stack.yaml serves Compose and host: the host may use fewer volumes."""
    volumes = (a_volume("data"), a_volume("cache"))
    runtime = make(a_host_service("web", tmp_path, volumes={"data": "D"}), volumes=volumes)
    runtime.up(["web"], build=False)
    found = {volume.key: volume for volume in runtime.volumes(volumes)}
    assert (found["data"].exists, found["cache"].exists) == (True, False)
    assert found["data"].mountpoint == state_of(tmp_path) / "volumes" / "data"
    assert found["data"].mountpoint.stat().st_mode & 0o777 == 0o700


def test_the_environment_is_small_and_layered(make, tmp_path: Path):
    """Ours does not leak; the env file's variables, then its own, then its volumes' folders."""
    found = "[dict(os.environ), sys.executable, sys.stdin.read()]"
    text = f"import os, json, sys; print(json.dumps({found}))"
    declared = script(
        "web", tmp_path, text, environment={"LEVEL": "service"}, volumes={"data": "DATA"}
    )
    stack = a_host_stack(tmp_path, declared)
    variables = {"LEVEL": "env file", "DATA": "env file", "FILE": "yes"}
    instance = dataclasses.replace(stack.instance, environment=variables)
    outer = {"PATH": "/bin:/usr/bin", "HOME": "/home/me", "OUR_SECRET": "x", "DOCKER_HOST": "y"}
    runtime = HostRuntime(dataclasses.replace(stack, instance=instance), environment=outer)
    runtime.up(["web"], build=False)
    wait_until(lambda: "]" in runtime.logs("web", 1))
    found, interpreter, given = json.loads(runtime.logs("web", 1))
    found.pop("LC_CTYPE", None)  # Python's own addition
    assert found == {
        "PATH": "/bin:/usr/bin",
        "HOME": "/home/me",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "LEVEL": "service",
        "FILE": "yes",
        "DATA": str(state_of(tmp_path) / "volumes" / "data"),
        MARK_STATE: str(state_of(tmp_path)),
        MARK_SERVICE: "web",
    }
    assert interpreter == sys.executable
    assert given == ""


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"command": ("no-such-program",)}, "no-such-program is not on this machine"),
        ({"command": ("./absent",)}, "absent is not on this machine"),
        ({"cwd": Path("/no/such/folder")}, "there is no folder /no/such/folder"),
    ],
)
def test_what_cannot_be_started_is_named(make, tmp_path: Path, fields, expected: str):
    """With a hint. It keeps none of the others down, so it is no wrong request."""
    runtime = make(a_host_service("web", tmp_path, **fields))
    with pytest.raises(ServiceFailed, match=expected) as refusal:
        runtime.up(["web"], build=False)
    assert refusal.value.hint
    assert service(runtime, "web").units == ()


# ----------------------------------------------------------------------------------- found again


def test_a_service_outlives_the_command_that_began_it(make, tmp_path: Path):
    """It leads a session of its own, and another process finds it by the same id and stops it."""
    runtime = make(script("web", tmp_path, SLOW))

    reading, writing = os.pipe()  # what stands for a terminal's input

    def start_and_die() -> None:
        os.dup2(reading, 0)
        runtime.up(["web"], build=False)
        kill_self()

    in_a_killed_fork(start_and_die)
    wait_until(lambda: "ready" in runtime.logs("web", 10))
    found = unit(runtime, "web")
    live = procfs.look(pid_of(found))
    assert live is not None
    assert live.session == live.pid == live.group
    os.close(reading)
    os.close(writing)
    assert Path(f"/proc/{live.pid}/fd/0").readlink() == Path(os.devnull)
    # Field 7 of stat: the controlling terminal; none.
    assert Path(f"/proc/{live.pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"
    again = HostRuntime(a_host_stack(tmp_path, script("web", tmp_path, SLOW)))
    again.up(["web"], build=False)
    assert unit(again, "web") == found
    (result,) = again.stop([found], 0.0)
    assert result.exit_code is None, "nobody can know how another's child ended"
    assert not lives(live.pid)
    assert unit(again, "web").state == "exited"


def test_a_tool_killed_before_it_wrote_anything_leaves_no_unknown_process(
    make, tmp_path: Path, monkeypatch
):
    """Between the start and its record: found by its marks, not started twice, stopped."""
    runtime = make(a_host_service("web", tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(host_units.HostUnits, "_write", kill_self)
        in_a_killed_fork(lambda: runtime.up(["web"], build=False))
    assert not (state_of(tmp_path) / "services" / "web.json").exists()
    found = unit(runtime, "web")
    assert found.state == "running"
    runtime.up(["web"], build=False)
    assert unit(runtime, "web") == found
    runtime.stop([found], 0.0)
    assert not lives(pid_of(found))
    stopped = unit(runtime, "web")
    assert (stopped.id, stopped.state) == (found.id, "exited")


@pytest.mark.parametrize("wrong", [{"started": 1}, {"boot": "of-another-boot"}])
def test_a_number_that_is_anothers_now_is_left_alone(make, tmp_path: Path, wrong):
    """A record names a process of the past; the one with its number today is somebody's."""
    runtime = make(a_host_service("web", tmp_path))
    runtime.up(["web"], build=False)
    runtime.stop([unit(runtime, "web")], 0.0)
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        live = procfs.look(stranger.pid)
        file = state_of(tmp_path) / "services" / "web.json"
        record = json.loads(file.read_text())
        record |= {"pid": live.pid, "started": live.started, "exit_code": None, **wrong}
        file.write_text(json.dumps(record))
        found = unit(runtime, "web")
        assert (found.state, found.exit_code) == ("exited", None)
        claimed = dataclasses.replace(found, id=live.identity, state="running")
        (result,) = runtime.stop([claimed], 0.0)
        assert stranger.poll() is None
        assert result.exit_code is None
        runtime.remove(["web"])
        assert stranger.poll() is None
        # And the same record with nothing wrong is believed, so this test can fail.
        file.write_text(json.dumps({**record, "started": live.started, "boot": procfs.boot_id()}))
        assert unit(runtime, "web").id == live.identity
        file.unlink()
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "null"])
def test_a_torn_record_is_no_record(make, tmp_path: Path, content: str):
    """What runs is found by its marks all the same."""
    runtime = make(a_host_service("web", tmp_path))
    runtime.up(["web"], build=False)
    found = unit(runtime, "web")
    (state_of(tmp_path) / "services" / "web.json").write_text(content)
    assert unit(runtime, "web") == found
    runtime.stop([found], 0.0)
    assert not lives(pid_of(found))


def test_a_full_disk_does_not_keep_a_service_down(make, tmp_path: Path, monkeypatch):
    """Neither log nor record can be written, and the service runs again."""
    runtime = make(a_host_service("web", tmp_path))
    runtime.up(["web"], build=False)
    runtime.stop([unit(runtime, "web")], 0.0)
    before = unit(runtime, "web")
    opened = os.open

    def full(path, flags, *rest, **named):
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, flags, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(procfs.os, "open", full)
        runtime.start([before])
    now = unit(runtime, "web")
    assert now.state == "running"
    assert now.id != before.id


def test_a_service_that_is_no_longer_declared_is_still_seen_and_stopped(make, tmp_path: Path):
    """It was taken out of stack.yaml while it ran: it writes all the same."""
    make(a_host_service("web", tmp_path), a_host_service("old", tmp_path)).up([], build=False)
    runtime = make(a_host_service("web", tmp_path))
    assert [entry.name for entry in runtime.services()] == ["web", "old"]
    old = unit(runtime, "old")
    runtime.stop([old], 0.0)
    assert not lives(pid_of(old))
    assert unit(runtime, "web").state == "running"


def test_another_instance_is_another_world(make, tmp_path: Path):
    """The same services in another folder: neither seen nor touched."""
    runtime = make(a_host_service("web", tmp_path))
    runtime.up(["web"], build=False)
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other = HostRuntime(a_host_stack(other_folder, a_host_service("web", tmp_path)))
    assert service(other, "web").units == ()
    assert other.engine().id != runtime.engine().id
    other.remove([])
    assert unit(runtime, "web").state == "running"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_an_instance_of_another_user_is_not_taken_for_one_that_is_down(make, tmp_path: Path):
    """His processes cannot be seen, so nothing is said of them and nothing is started."""
    runtime = make(a_host_service("web", tmp_path))
    runtime.up(["web"], build=False)
    found = unit(runtime, "web")
    os.chown(state_of(tmp_path), 4711, -1)
    for ask in (runtime.engine, runtime.services, lambda: runtime.up(["web"], build=False)):
        with pytest.raises(RequestError, match=r"belongs to another user \(4711\)"):
            ask()
    os.chown(state_of(tmp_path), 0, -1)
    assert unit(runtime, "web") == found


# -------------------------------------------------------------------------------------- the end


def test_what_does_not_hear_is_killed_when_its_time_is_up(make, tmp_path: Path):
    """137 says so: what it wrote is suspect."""
    runtime = make(script("web", tmp_path, DEAF, stop_timeout=0.3))
    found = up_and_ready(runtime, "web")
    (result,) = runtime.stop([found], 0.2)
    assert result.exit_code == 137
    assert result.seconds >= 0.3
    assert "heard" in runtime.logs("web", 10)
    assert not lives(pid_of(found))
    assert unit(runtime, "web").exit_code == 137


@pytest.mark.parametrize(("timeout", "own"), [(0.0, PATIENCE), (PATIENCE, 0.0)])
def test_each_gets_the_longer_of_both_times(make, tmp_path: Path, timeout: float, own: float):
    """It needs most of a second to end by itself, and gets it."""
    runtime = make(script("web", tmp_path, SLOW, stop_timeout=own))
    (result,) = runtime.stop([up_and_ready(runtime, "web")], timeout)
    assert result.exit_code == 5


def test_its_own_signal_stops_it(make, tmp_path: Path):
    """Some programs end in order on another signal than TERM."""
    runtime = make(script("web", tmp_path, SLOW, stop_signal="SIGUSR1"))
    (result,) = runtime.stop([up_and_ready(runtime, "web")], 0.0)
    assert result.exit_code == 7


def helper_of(runtime: HostRuntime) -> int:
    """Return the number of the helper that WITH_HELPER began."""
    lines = runtime.logs("web", 10).splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("helper")))


def test_helpers_are_no_units_and_end_with_their_service(make, tmp_path: Path):
    """Also one that does not hear the signal."""
    runtime = make(script("web", tmp_path, WITH_HELPER))
    found = up_and_ready(runtime, "web")
    helper = helper_of(runtime)
    assert lives(helper)
    assert unit(runtime, "web") == found
    (result,) = runtime.stop([found], 0.0)
    assert result.exit_code == 143
    assert not lives(helper)


def test_a_helper_whose_leader_was_killed_is_seen_and_makes_way(make, tmp_path: Path):
    """It may write and hold the port, so it counts as running; a start ends it first."""
    runtime = make(script("web", tmp_path, WITH_HELPER, stop_timeout=0.1))
    found = up_and_ready(runtime, "web")
    helper = helper_of(runtime)
    os.kill(pid_of(found), signal.SIGKILL)
    wait_until(lambda: not lives(pid_of(found)))
    assert pid_of(unit(runtime, "web")) == helper
    runtime.up(["web"], build=False)
    assert not lives(helper)
    assert pid_of(unit(runtime, "web")) not in (helper, pid_of(found))


def test_a_service_that_ends_stays_ended_and_its_wait_fails_at_once(make, tmp_path: Path):
    """There is no supervisor; the error has its name, its code and its last words."""
    runtime = make(script("web", tmp_path, "print('too bad'); raise SystemExit(3)"))
    runtime.up(["web"], build=False)
    wanted = Unit("web", "", "", "running", "none")
    with pytest.raises(QuiesceError, match="service web ended with exit code 3") as failure:
        runtime.wait_healthy([wanted], PATIENCE, lambda _: None)
    assert failure.value.details == ("too bad",)
    found = unit(runtime, "web")
    assert (found.state, found.exit_code, found.health) == ("exited", 3, "none")
    assert runtime.wait_healthy([found], PATIENCE, lambda _: None) == {"web": 0.0}


def test_started_again_it_is_another_process_of_the_same_service(make, tmp_path: Path):
    """Only what was asked starts; what was down stays down."""
    runtime = make(a_host_service("web", tmp_path), a_host_service("job", tmp_path))
    runtime.up([], build=False)
    before = unit(runtime, "web")
    runtime.stop([before, unit(runtime, "job")], 0.0)
    runtime.start([before])
    runtime.wait_healthy([before], PATIENCE, lambda _: None)
    assert unit(runtime, "web").id != before.id
    begun = unit(runtime, "web").started_at
    assert before.started_at < begun <= datetime.now(UTC) + timedelta(seconds=1)
    assert unit(runtime, "job").started_at is None
    assert unit(runtime, "web").state == "running"
    assert unit(runtime, "job").state == "exited"


def test_a_unit_that_was_started_again_is_stopped_as_what_it_is_now(make, tmp_path: Path):
    """A plan holds units as observed; what it puts back at its end has other numbers by then."""
    runtime = make(a_host_service("web", tmp_path))
    runtime.up(["web"], build=False)
    observed = unit(runtime, "web")
    runtime.stop([observed], 0.0)
    runtime.start([observed])
    now = unit(runtime, "web")
    (result,) = runtime.stop([observed], 0.0)
    assert (result.unit, result.exit_code) == (observed, 143)
    assert not lives(pid_of(now))
    assert unit(runtime, "web").state == "exited"


def test_a_paused_service_is_paused_again(make, tmp_path: Path):
    """Stopping one that is paused works, and it comes back as it was."""
    runtime = make(script("web", tmp_path, SLOW))
    os.killpg(pid_of(up_and_ready(runtime, "web")), signal.SIGSTOP)
    wait_until(lambda: unit(runtime, "web").state == "paused")
    before = unit(runtime, "web")
    (result,) = runtime.stop([before], 0.0)
    assert result.exit_code == 5
    runtime.start([before])
    runtime.wait_healthy([before], PATIENCE, lambda _: None)
    assert unit(runtime, "web").state == "paused"
    runtime.start([dataclasses.replace(before, state="running")])
    assert unit(runtime, "web").state == "running"


def test_removing_forgets_the_process_and_keeps_log_and_volume(make, tmp_path: Path):
    """Volumes are never removed with their service."""
    declared = script("web", tmp_path, SLOW, volumes={"data": "DATA"})
    runtime = make(declared)
    found = up_and_ready(runtime, "web")
    for _ in range(2):
        runtime.remove(["web"])
        assert service(runtime, "web").units == ()
    assert not lives(pid_of(found))
    assert "ready" in runtime.logs("web", 10)
    assert (state_of(tmp_path) / "volumes" / "data").is_dir()


# ------------------------------------------------------------------------------------------ health


class _Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, "healthy"), (302, "healthy"), (404, "starting"), (503, "starting")],
)
def test_http_health_is_an_answer_below_400(make, tmp_path: Path, status: int, expected: str):
    """Asked at 127.0.0.1 and its port."""
    handler = type("Handler", (_Answer,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            plain = a_host_service("web", tmp_path)
            make(plain).up(["web"], build=False)  # without its port, which is this test's
            port = server.server_address[1]
            asked = dataclasses.replace(plain, port=port, health_http="/health")
            assert unit(make(asked), "web").health == expected
        finally:
            server.shutdown()
            thread.join()


def test_failing_its_check_it_is_starting_and_later_unhealthy(make, tmp_path: Path, monkeypatch):
    """A young process gets the benefit of the doubt."""
    runtime = make(a_host_service("web", tmp_path, health=("false",)))
    runtime.up(["web"], build=False)
    assert unit(runtime, "web").health == "starting"
    monkeypatch.setattr(health, "START_SECONDS", 0.0)
    assert unit(runtime, "web").health == "unhealthy"
    wanted = dataclasses.replace(unit(runtime, "web"), health="healthy")
    with pytest.raises(QuiesceError, match="web was not healthy again within 0 seconds"):
        runtime.wait_healthy([wanted], 0.2, lambda _: None)
    # It was not healthy before: running for a second is as well as it was.
    runtime.wait_healthy([unit(runtime, "web")], PATIENCE, lambda _: None)


def test_a_service_starts_when_what_it_needs_is_healthy(make, tmp_path: Path):
    """Whatever the order in which they are named."""
    slow = "import time, pathlib; time.sleep(0.5); pathlib.Path('well').touch(); time.sleep(1000)"
    late = "import os; print('found' if os.path.exists('well') else 'missed', flush=True)"
    runtime = make(
        script("web", tmp_path, late, depends_on=("db",)),
        script("db", tmp_path, slow, health=("test", "-e", "well")),
    )
    runtime.up(["web", "db"], build=False)
    wait_until(lambda: runtime.logs("web", 1) != "")
    assert runtime.logs("web", 1) == "found\n"
    assert unit(runtime, "db").health == "healthy"


def test_a_port_that_somebody_else_has_is_no_success(make, tmp_path: Path):
    """His answers would pass for ours."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        port = server.server_address[1]
        runtime = make(a_host_service("web", tmp_path, port=port, health_http="/health"))
        with pytest.raises(QuiesceError, match=f"its port {port} is in use"):
            runtime.up(["web"], build=False)
    assert service(runtime, "web").units == ()


# ------------------------------------------------------------------------------------- tools, logs


def test_a_tool_dies_with_the_run_and_a_service_does_not(make, tmp_path: Path):
    """A `kill -9` of the run in the middle of a dump."""
    runtime = make(a_host_service("web", tmp_path))
    program = "echo $$ > pid.partial; mv pid.partial pid; exec sleep 1000"

    def run() -> None:
        runtime.up(["web"], build=False)
        threading.Thread(target=kill_when_begun, daemon=True).start()
        runtime.run_tool(
            "web",
            ["sh", "-c", program],
            environment={},
            directory=tmp_path,
            writable=True,
            label="r1",
        )

    def kill_when_begun() -> None:
        wait_until((tmp_path / "pid").exists)
        kill_self()

    in_a_killed_fork(run)
    tool = int((tmp_path / "pid").read_text())
    runtime.remove_orphans("r1")  # for a system that does not end it by itself
    wait_until(lambda: not lives(tool))
    assert unit(runtime, "web").state == "running"


def test_sweeping_ends_one_runs_tools_of_this_instance(make, tmp_path: Path):
    """Another run's and another instance's live on, and so do services."""
    runtime = make(a_host_service("web", tmp_path))
    runtime.up(["web"], build=False)
    here, there = str(state_of(tmp_path)), str(tmp_path / "elsewhere")
    marks = [
        {MARK_STATE: here, MARK_RUN: "dead"},
        {MARK_STATE: here, MARK_RUN: "another"},
        {MARK_STATE: there, MARK_RUN: "dead"},
    ]
    tools = [
        subprocess.Popen(["/bin/sleep", "1000"], env=env, start_new_session=True) for env in marks
    ]
    try:
        assert runtime.remove_orphans("dead") == (f"helper sleep (process {tools[0].pid})",)
        assert [tool.poll() for tool in tools] == [-signal.SIGTERM, None, None]
        assert unit(runtime, "web").state == "running"
    finally:
        for tool in tools:
            tool.kill()
            tool.wait()


def test_a_large_log_makes_way_when_its_service_starts(make, tmp_path: Path, monkeypatch):
    """One older log is kept; both are for the owner alone."""
    monkeypatch.setattr(host_units, "LOG_BYTES", 10)
    runtime = make(script("web", tmp_path, SLOW))
    runtime.stop([up_and_ready(runtime, "web")], 0.0)
    log = state_of(tmp_path) / "logs" / "web.log"
    with log.open("a") as stream:
        stream.write("more than ten bytes\n")
    up_and_ready(runtime, "web")
    assert runtime.logs("web", 5) == "ready\n"
    assert log.with_name("web.log.1").read_text() == "ready\nmore than ten bytes\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert runtime.logs("web", 0) == ""


def test_the_description_tells_the_stack_and_no_secret(make, tmp_path: Path):
    """Programs, ports and volumes are there; arguments and values are digests."""
    declared = a_host_service(
        "web",
        tmp_path,
        command=("server", "--token=command-secret"),
        environment={"PASSWORD": "environment-secret"},
        health=("probe", "health-secret"),
        port=8000,
        volumes={"data": "DATA_DIR"},
    )
    (text,) = (content.decode() for content in make(declared).description().values())
    for known in ("web:", "server", "PASSWORD:", "probe", "port: 8000", "data: DATA_DIR", "cwd: ."):
        assert known in text
    assert "secret" not in text
