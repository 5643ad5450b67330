"""What happens to services behind the back of a run: removed, recreated, scaled, slow to end."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.execute import lock
from tests.support.counting import ROOT, Counting, wait_until
from tests.support.kills import (
    inv,
    is_settled,
    let_go,
    manifests,
    mark,
    marks,
    paused,
    positions,
    require_kept,
)

pytestmark = pytest.mark.engine

#: Beside the counter: one that takes its time to end, and one that is deaf and ends badly.
SERVICES = """
  slow:
    image: ${PYTHON_IMAGE}
    command: [sh, -c, "trap 'sleep 3; exit 0' TERM; while :; do sleep 0.1; done"]
    restart: unless-stopped
    stop_grace_period: 20s
    volumes: ["numbers:/numbers"]
  deaf:
    image: ${PYTHON_IMAGE}
    command: [sh, -c, "trap '' TERM; while :; do sleep 0.1; done"]
    restart: always
    stop_grace_period: 1s
    volumes: ["numbers:/numbers"]
  front:
    image: ${PYTHON_IMAGE}
    command: [sleep, "100000"]
    init: true
networks:
  # With a subnet of its own, an address in it can be asked for. The number differs in each run: a
  # network that a killed run of the tests left behind keeps its subnet.
  default: {ipam: {config: [{subnet: 198.18.NUMBER.0/24}]}}
volumes:
"""


@pytest.fixture(scope="module")
def counting(engine: str) -> Iterator[Counting]:
    """A stack in containers that counts, with a set of it."""
    with Counting.temporary(on_engine=True) as made:
        compose = made.folder / "compose.yml"
        services = SERVICES.replace("NUMBER", str(uuid.uuid4().int % 256))
        compose.write_text(compose.read_text().replace("\nvolumes:\n", services, 1))
        made.declare("restart: {stop_timeout: 1s}")
        made.begin()
        done = inv(made, "never", "-", "backup")
        assert done.returncode == 0, done.stderr
        assert "deaf had to be killed" in done.stderr
        yield made


@pytest.fixture(autouse=True)
def kept(counting: Counting) -> Iterator[None]:
    """Whatever happened, afterwards all of it runs and is good."""
    counting.wait_until_it_counts()
    older = manifests(counting)
    yield
    require_kept(counting, older)
    assert not counting.is_down("slow")
    assert not counting.is_down("deaf")
    assert _policies(counting) == {"always", "unless-stopped"}


def _policies(counting: Counting) -> set[str]:
    containers = [f"{counting.project}-{name}-1" for name in ("slow", "deaf", "counter")]
    shape = "{{.HostConfig.RestartPolicy.Name}}"
    return set(counting.docker("inspect", "--format", shape, *containers).split())


def _last(counting: Counting, task: str, kind: str) -> str:
    return [at for at, step in positions(counting, task).items() if step == kind][-1]


def _compose(counting: Counting, *arguments: str) -> None:
    options = ["--project-name", counting.project, "--env-file", str(counting.folder / "core.env")]
    counting.docker("compose", *options, "--file", str(counting.folder / "compose.yml"), *arguments)


def test_a_container_removed_in_the_window_is_made_again(
    counting: Counting, tmp_path: Path
) -> None:
    """The set is good as well: it was at rest."""
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file)
    counting.docker("rm", "--force", f"{counting.project}-counter-1")
    code, said = let_go(process, file)
    assert code == 0, said


def test_a_container_recreated_in_the_window_is_the_service(
    counting: Counting, tmp_path: Path
) -> None:
    """By somebody who did not know; the set says that it is not of one instant."""
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file)
    _compose(counting, "up", "--detach", "--force-recreate", "--no-deps", "counter")
    code, said = let_go(process, file)
    assert code == 7, said
    assert "is not consistent: running while services were stopped" in said
    assert "counter" in counting.sets()[-1].manifest.inconsistency


def test_a_service_that_comes_back_elsewhere_is_told(counting: Counting, tmp_path: Path) -> None:
    """Its address was given away while it rested; `front`, which ran on, may not know."""
    counter, taker = f"{counting.project}-counter-1", f"{counting.project}-taker"
    network = f"{counting.project}_default"
    shape = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    before = counting.docker("inspect", "--format", shape, counter).strip()
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file)
    where = ["--detach", "--rm", "--name", taker, "--network", network, "--ip", before]
    counting.docker("run", *where, os.environ["PYTHON_IMAGE"], "sleep", "300")
    try:
        code, said = let_go(process, file)
    finally:
        counting.docker("rm", "--force", taker)
    after = counting.docker("inspect", "--format", shape, counter).strip()
    assert (code, after != before) == (0, True), said
    assert f"changed from {before} to {after}" in said
    assert "run 'inv restart --service front'" in said


def test_a_second_clone_is_kept_out_and_may_wait(counting: Counting, tmp_path: Path) -> None:
    """Its lock is another file; what both see is the engine."""
    second = replace(counting, folder=tmp_path / "second")
    shutil.copytree(counting.folder, second.folder, ignore=shutil.ignore_patterns("backups"))
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file)
    kept_out = inv(second, "never", "-", "backup")
    assert kept_out.returncode == 5, kept_out.stderr
    assert f"is being changed from {platform.node()}:{counting.folder}/backups" in kept_out.stderr
    assert counting.is_down("counter")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(inv, second, "never", "-", "backup", "--wait", "60")
        wait_until(
            lambda: not lock.is_free(runs_folder(second.session().stack) / "lock"), "its turn"
        )
        code, said = let_go(process, file)
    assert code == 0, said
    assert waiting.result().returncode == 0, waiting.result().stderr
    assert len(second.sets()) == 1


def test_a_machine_that_was_renamed_settles_what_it_owes(counting: Counting) -> None:
    """The mark on the engine has the old name in it, and the journal's run."""
    at = _last(counting, "backup", "ArchiveVolume")
    died = inv(counting, "before", at, "backup")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert counting.is_down("counter")
    recover = [sys.executable, "-m", "invoke", "recover", "--stack", counting.folder / "stack.yaml"]
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname renamed && exec "$@"', "sh", *recover]
    done = subprocess.run(renamed, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _marks_on_engine(counting) == ""


def test_a_guard_waits_for_who_took_the_engine_meanwhile(
    counting: Counting, tmp_path: Path
) -> None:
    """Somebody removed the mark, and somebody else works: the guard has its turn after them."""
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file)
    name = _marks_on_engine(counting).strip()
    counting.docker("volume", "rm", name)
    counting.docker("volume", "create", "--label", "quiesce.claim=other:/srv/backups", name)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    log = runs_folder(counting.session().stack) / "guard.log"
    wait_until(lambda: "recovering it first" in log.read_text(), "the guard to begin")
    assert counting.is_down("counter")
    assert not is_settled(counting)
    counting.docker("volume", "rm", name)
    wait_until(lambda: is_settled(counting), "the guard to settle it")


def _marks_on_engine(counting: Counting) -> str:
    name = f"name=quiesce-claim-{counting.project}"
    return counting.docker("volume", "ls", "--quiet", "--filter", name)


@pytest.mark.long
def test_a_service_of_two_containers_comes_back_with_both(
    counting: Counting, tmp_path: Path
) -> None:
    """Killed in the window, recovered by the guard."""
    _compose(counting, "up", "--detach", "--no-deps", "--no-recreate", "--scale", "slow=2", "slow")
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file)
    assert counting.is_down("slow")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: is_settled(counting), "the guard to settle it")
    for number in (1, 2):
        name = f"{counting.project}-slow-{number}"
        assert counting.docker("inspect", "--format", "{{.State.Running}}", name) == "true\n"
    _compose(counting, "up", "--detach", "--no-deps", "--no-recreate", "--scale", "slow=1", "slow")


def test_a_one_off_container_is_neither_stopped_nor_started(counting: Counting) -> None:
    """It is somebody's own; a set with its volume is consistent only for who knows it."""
    name = f"{counting.project}-own"
    _compose(counting, "run", "--detach", "--no-deps", "--name", name, "slow", "sleep", "300")
    try:
        begun = counting.docker("inspect", "--format", "{{.State.StartedAt}}", name)
        ended = inv(counting, "never", "-", "backup")
        assert ended.returncode == 7, ended.stderr
        assert name in counting.sets()[-1].manifest.inconsistency
        declared = (counting.folder / "stack.yaml").read_text()
        counting.declare(f"writers: {{ignore: [{name}]}}")
        try:
            ended = inv(counting, "never", "-", "backup")
        finally:
            (counting.folder / "stack.yaml").write_text(declared)
        assert ended.returncode == 0, ended.stderr
        assert counting.docker("inspect", "--format", "{{.State.StartedAt}}", name) == begun
    finally:
        counting.docker("rm", "--force", name)


def test_a_stop_that_still_goes_on_is_waited_for(counting: Counting, tmp_path: Path) -> None:
    """Killed while `slow` takes its three seconds; a recovery begins at once, and it runs after."""
    stop = _first_stop(counting)
    process = paused(counting, stop, tmp_path / "paused", guard=False)
    (tmp_path / "paused").unlink()
    shape = ["events", "--since", "1m", "--until", "0s", "--format", "{{.Action}}"]
    ours = ["--filter", f"container={counting.project}-slow-1", "--filter", "event=kill"]
    wait_until(lambda: counting.docker(*shape, *ours), "the stop to be asked for")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    recovered = inv(counting, "never", "-", "recover")
    assert recovered.returncode == 0, recovered.stderr


def test_after_a_reboot_all_that_ran_is_back(counting: Counting) -> None:
    """Nobody was left to recover, and every container was stopped, the server's too; `front` is
    started by nobody else."""
    at = _last(counting, "backup", "ArchiveVolume")
    died = inv(counting, "before", at, "backup")
    assert died.returncode == -signal.SIGKILL, died.stderr
    ours = f"label=com.docker.compose.project={counting.project}"
    counting.docker("stop", *counting.docker("ps", "--quiet", "--filter", ours).split())
    recovered = inv(counting, "never", "-", "recover")
    assert recovered.returncode == 0, recovered.stderr
    for service in ("db", "front", "counter"):
        assert not counting.is_down(service)


def test_a_service_that_cannot_come_back_is_named_and_the_rest_runs(counting: Counting) -> None:
    """Its image is gone and so is its container: exit 4, also of the next backup, which is made."""
    at = _last(counting, "backup", "ArchiveVolume")
    died = inv(counting, "before", at, "backup")
    assert died.returncode == -signal.SIGKILL, died.stderr
    compose = counting.folder / "compose.yml"
    text = compose.read_text()
    counting.docker("rm", "--force", f"{counting.project}-slow-1")
    image = "quiesce-test/no-such-image\n    pull_policy: never"
    compose.write_text(
        text.replace("slow:\n    image: ${PYTHON_IMAGE}", f"slow:\n    image: {image}")
    )
    before = {backup.name for backup in counting.sets()}
    try:
        for task in ("recover", "backup"):
            ended = inv(counting, "never", "-", task)
            assert ended.returncode == 4, ended.stderr
            assert not counting.is_down("counter")
            assert counting.is_down("slow")
        # Counted by name: retention removes an older one.
        assert len({backup.name for backup in counting.sets()} - before) == 1
    finally:
        compose.write_text(text)
    recovered = inv(counting, "never", "-", "recover")
    assert recovered.returncode == 0, recovered.stderr


def _first_stop(counting: Counting) -> str:
    return next(at for at, step in positions(counting, "backup").items() if step == "StopServices")


def test_recovery_needs_no_compose_file(counting: Counting, tmp_path: Path) -> None:
    """Somebody edited it meanwhile and made a mistake."""
    compose = counting.folder / "compose.yml"
    text = compose.read_text()
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file, guard=False)
    compose.write_text("services: [\n")
    try:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        recovered = inv(counting, "never", "-", "recover")
        assert recovered.returncode == 0, recovered.stderr
    finally:
        compose.write_text(text)


def test_what_was_written_after_an_exchange_is_never_rolled_back(
    counting: Counting, tmp_path: Path
) -> None:
    """Hours after a death with the new state live, the recovery goes on from there."""
    back = _last(counting, "restore", "StartServices")
    died = inv(counting, "after", back, "restore", "--file", "latest", "--yes")
    assert died.returncode == -signal.SIGKILL, died.stderr
    counting.wait_until_it_counts()
    mark(counting, "written meanwhile")
    recovered = inv(counting, "never", "-", "recover")
    assert recovered.returncode == 0, recovered.stderr
    assert marks(counting) == {"written meanwhile"}


def test_the_terminal_that_is_closed_takes_nothing_down(counting: Counting, tmp_path: Path) -> None:
    """HUP to the whole process group in the window: put back, exit 129."""
    file = tmp_path / "paused"
    process = paused(counting, _last(counting, "backup", "ArchiveVolume"), file)
    process.send_signal(signal.SIGHUP)
    code, said = let_go(process, file)
    assert code == 129, said
