"""Units, health, volumes and Compose itself, where a real engine decides."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from quiesce.adapters.compose.runtime import ComposeRuntime
from quiesce.app.project import resolve_project
from quiesce.app.wiring import connect, disconnect
from quiesce.errors import QuiesceError, RequestError, ServiceFailed
from quiesce.model import Database
from quiesce.observed import OtherProject, Unit
from tests.contract.runtime_worlds import compose_stack, docker, remove_project
from tests.support.builders import a_volume

pytestmark = pytest.mark.engine

PROJECT = f"qcompose-world-{os.getpid()}"
COMPOSE = """
services:
  slow:
    image: ${TINY_IMAGE}
    command: [sh, -c, "sleep 1; touch /tmp/well; exec sleep infinity"]
    stop_grace_period: 2s
    healthcheck: {test: "test -e /tmp/well", interval: 6s}
  deaf:
    image: ${TINY_IMAGE}
    entrypoint: [sh, -c, "trap : TERM; while :; do sleep 1; done"]
    stop_grace_period: 1s
  patient:
    image: ${TINY_IMAGE}
    entrypoint: [sh, -c, "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.1; done"]
    stop_grace_period: 20s
  crashing:
    image: ${TINY_IMAGE}
    command: [sh, -c, "test -e /flag/well && exec sleep 99; echo no flag >&2; exit 7"]
    restart: on-failure:1000
    volumes: ["./flag:/flag:ro"]
  job:
    image: ${TINY_IMAGE}
    command: [sh, -c, "test -e /flag/done || exec sleep 99"]
    init: true
    stop_grace_period: 1s
    volumes: ["./flag:/flag:ro"]
  imageless:
    image: quiesce-test/no-such-image
    pull_policy: never
  taken:
    image: ${TINY_IMAGE}
    ports: ["127.0.0.1:${TAKEN}:7000"]
  needy:
    image: ${TINY_IMAGE}
    depends_on: {imageless: {condition: service_started}}
  happy:
    image: ${TINY_IMAGE}
    depends_on: {job: {condition: service_completed_successfully}}
  web:
    image: ${TINY_IMAGE}
    stop_grace_period: 1s
    volumes: ["data:/data", "/anonymous"]
    environment: {SEEN: "${WHO}"}
  debug:
    image: ${TINY_IMAGE}
    profiles: [debug]
    stop_grace_period: 1s
    volumes: ["traces:/traces", "data:/data:ro"]
volumes:
  data: {name: "${STACK}-data"}
  traces: {labels: {owner: somebody, empty: ""}}
  memory: {driver_opts: {type: tmpfs, device: tmpfs, o: size=1m}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """The folder of a project; nothing of it is up, everything of it is removed afterwards."""
    found = tmp_path_factory.mktemp("compose")
    (found / "flag").mkdir()
    (found / "docker-compose.yml").write_text(COMPOSE)
    image = os.environ.get("TINY_IMAGE", "quiesce-test/tiny")
    variables = {"STACK": PROJECT, "TINY_IMAGE": image, "WHO": "env-file", "TAKEN": "1"}
    (found / "core.env").write_text("".join(f"{k}={v}\n" for k, v in variables.items()))
    try:
        yield found
    finally:
        remove_project(PROJECT, found)


@pytest.fixture
def runtime(folder: Path) -> Iterator[ComposeRuntime]:
    """A runtime onto the project."""
    made = runtime_of(folder)
    yield made
    made.close()


def runtime_of(folder: Path, **fields) -> ComposeRuntime:
    """Return a runtime onto the project, its instance's fields overridden."""
    lines = (folder / "core.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    environment = fields.pop("outer", None)
    stack = compose_stack(folder, PROJECT, folder / "core.env", variables, **fields)
    return ComposeRuntime(stack, environment=environment)


def unit(runtime: ComposeRuntime, service: str) -> Unit:
    """Return the only unit of a service as it is now."""
    (found,) = next(entry for entry in runtime.services() if entry.name == service).units
    return found


def up(runtime: ComposeRuntime, service: str) -> Unit:
    """Bring one service up and return its unit."""
    runtime.up([service], build=False)
    return unit(runtime, service)


def ignore(service: str) -> None:
    """Nobody listens."""


def test_its_own_health_command_answers_before_the_engine_does(runtime: ComposeRuntime):
    """The engine asks every 6 s only; the first start is left to its judgement."""
    fresh = replace(up(runtime, "slow"), health="healthy")
    first = runtime.wait_healthy([fresh], 60, ignore)["slow"]
    assert unit(runtime, "slow").health == "healthy", "the first start was taken for healthy early"
    runtime.stop([fresh], 0)
    runtime.start([fresh])
    again = runtime.wait_healthy([fresh], 60, ignore)["slow"]
    assert unit(runtime, "slow").health == "starting"
    assert again < first


def test_a_unit_that_never_gets_well_fails_in_time_with_its_last_words(
    runtime: ComposeRuntime, folder: Path
):
    """A crash loop runs for an instant again and again: that is not running."""
    (folder / "flag" / "well").touch()
    well = up(runtime, "crashing")
    runtime.stop([well], 0)
    (folder / "flag" / "well").unlink()
    runtime.start([well])
    begun = time.monotonic()
    with pytest.raises(QuiesceError, match="service crashing was not up again within 4") as caught:
        runtime.wait_healthy([well], 4, ignore)
    assert time.monotonic() - begun >= 4
    assert "no flag" in caught.value.details
    assert caught.value.hint.startswith("see 'inv logs --service crashing'")


def test_a_crash_loop_is_held_and_goes_on_as_before(runtime: ComposeRuntime, folder: Path):
    """Whether a look finds it waiting or running for a moment; with as many tries as it had."""
    (folder / "flag" / "well").unlink(missing_ok=True)
    runtime.up(["crashing"], build=False)
    deadline = time.monotonic() + 30
    while "RestartCount" not in (told := docker("inspect", unit(runtime, "crashing").id)) or (
        '"RestartCount": 0' in told
    ):
        assert time.monotonic() < deadline
    loop = unit(runtime, "crashing")
    assert (loop.state, loop.restart_policy) == ("restarting", "on-failure:1000")
    runtime.hold_restart([loop])
    runtime.stop([loop], 0)
    held = unit(runtime, "crashing")
    assert (held.state, held.restart_policy) == ("exited", "no")
    runtime.free_restart([loop])
    runtime.start([loop])
    assert runtime.wait_healthy([loop], 5, ignore)["crashing"] < 5
    again = unit(runtime, "crashing")
    assert again.restart_policy == "on-failure:1000"
    (folder / "flag" / "well").touch()
    runtime.wait_healthy([replace(loop, state="running")], 60, ignore)


def test_a_job_that_ends_well_after_it_was_started_again_is_done(
    runtime: ComposeRuntime, folder: Path
):
    """It ran when services stopped, is started again, and ends with 0: nobody restarts it."""
    job = up(runtime, "job")
    runtime.stop([job], 0)
    (folder / "flag" / "done").touch()
    runtime.start([job])
    assert set(runtime.wait_healthy([job], 30, ignore)) == {"job"}


def test_a_unit_deaf_to_its_stop_signal_is_killed_and_says_so(runtime: ComposeRuntime):
    """137: what it wrote is suspect."""
    (result,) = runtime.stop([up(runtime, "deaf")], 0)
    assert result.exit_code == 137
    assert result.seconds >= 1


def test_a_unit_gets_its_own_time_to_end_although_less_was_asked_for(runtime: ComposeRuntime):
    """A database with a long grace period is not killed by a hasty backup."""
    (result,) = runtime.stop([up(runtime, "patient")], 0.1)
    assert result.exit_code == 0


def test_somebody_elses_use_of_a_volume_is_named(runtime: ComposeRuntime):
    """A container outside the project, and a one-off inside it, write without being stopped."""
    up(runtime, "web")
    image = os.environ.get("TINY_IMAGE", "quiesce-test/tiny")
    outsider = f"{PROJECT}-outsider"
    docker("run", "--detach", "--name", outsider, "--volume", f"{PROJECT}-data:/d", image)
    once = f"{PROJECT}-once"
    docker(
        *["create", "--name", once, "--volume", f"{PROJECT}-data:/d"],
        *["--label", f"com.docker.compose.project={PROJECT}"],
        *["--label", "com.docker.compose.service=web"],
        *["--label", "com.docker.compose.oneoff=True", image],
    )
    helper = f"{PROJECT}-helper"
    docker(
        *["create", "--name", helper, "--volume", f"{PROJECT}-data:/d"],
        *["--label", "quiesce.helper=1", "--label", f"quiesce.project={PROJECT}", image],
    )
    try:
        (data, *_) = runtime.volumes([a_volume("data")])
        assert data.outside == (once, outsider)
        assert data.outside_writers == (outsider,)
        assert unit(runtime, "web").name == f"{PROJECT}-web-1"
    finally:
        docker("rm", "--force", outsider, once, helper)


def test_volumes_have_real_names_and_exist_or_not(runtime: ComposeRuntime):
    """A volume that only an inactive profile uses is one, too; an unused one is not."""
    up(runtime, "web")
    states = {state.key: state for state in runtime.volumes([])}
    assert set(states) == {"data", "traces"}
    assert states["data"].name == f"{PROJECT}-data"
    assert states["data"].exists
    mountpoint = states["data"].mountpoint
    assert mountpoint is not None
    assert stat.S_ISDIR(mountpoint.stat().st_mode)
    assert states["traces"].name == f"{PROJECT}_traces"
    assert not states["traces"].exists
    assert states["traces"].mountpoint is None


def test_a_declared_volume_that_nobody_uses_is_found(runtime: ComposeRuntime, folder: Path):
    """At top level of the Compose file, with its options; or on the engine alone, by its labels
    or its name. One that is nowhere is refused, and no other command fails for one that is there.
    """
    lines = (folder / "core.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    stack = compose_stack(folder, PROJECT, folder / "core.env", variables)
    kept = tuple(map(a_volume, ("data", "memory", "left", "named")))
    label = "com.docker.compose"
    labels = [f"--label={label}.project={PROJECT}", f"--label={label}.volume=left"]
    docker("volume", "create", *labels, f"{PROJECT}-of-old")
    docker("volume", "create", f"{PROJECT}_named")
    made = ComposeRuntime(replace(stack, volumes=kept))
    try:
        states = {state.key: state for state in made.volumes(kept)}
        assert list(states)[:4] == ["data", "memory", "left", "named"]
        assert not states["memory"].exists
        assert states["memory"].name == f"{PROJECT}_memory"
        assert states["memory"].options == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
        assert (states["left"].name, states["left"].exists) == (f"{PROJECT}-of-old", True)
        assert (states["named"].name, states["named"].exists) == (f"{PROJECT}_named", True)
        assert {"memory", "left", "named"} <= set(made.resolved_model()["volumes"])
        assert {service.name for service in made.services()} >= {"web", "slow"}
        with pytest.raises(RequestError, match="no volume nowhere"):
            made.volumes([a_volume("nowhere")])
    finally:
        made.close()
        docker("volume", "rm", f"{PROJECT}-of-old", f"{PROJECT}_named")


def test_a_volume_that_a_restore_makes_has_the_labels_that_compose_gives(folder: Path):
    """Those that the file declares, and Compose's own with its version."""
    lines = (folder / "core.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    stack = compose_stack(folder, PROJECT, folder / "core.env", variables, profiles=("debug",))
    ports = connect(stack, "20260101000000-0001", cast(Any, None))
    name = f"{PROJECT}_traces"
    try:
        ports.runtime.up(["debug"], build=False)
        by_compose = json.loads(docker("volume", "inspect", name))[0]
        ports.runtime.remove(["debug"])
        docker("volume", "rm", name)
        states = {state.key: state for state in ports.runtime.volumes([])}
        assert not states["traces"].exists
        ports.volumes.create(states["traces"])
        by_us = json.loads(docker("volume", "inspect", name))[0]
    finally:
        disconnect(ports, "20260101000000-0001")
        docker("volume", "rm", "--force", name)
    assert by_compose["Labels"]["owner"] == "somebody"
    assert by_compose["Labels"]["com.docker.compose.version"]
    unhashed = by_compose["Labels"].keys() - {"com.docker.compose.config-hash"}
    assert by_us["Labels"] == {key: by_compose["Labels"][key] for key in unhashed}


def test_volumes_are_measured_when_no_container_is_left(folder: Path):
    """After `down`, by the images of the services, which are still there."""
    name = f"{PROJECT}-left"
    lines = (folder / "core.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    stack = compose_stack(folder, name, folder / "core.env", variables, profiles=("debug",))
    ports = connect(stack, "20260101000000-0002", cast(Any, None))
    try:
        ports.runtime.up(["debug"], build=False)
        docker("exec", f"{name}-debug-1", "sh", "-c", "echo 12345 > /traces/file")
        ports.runtime.remove(["debug"])
        state = next(s for s in ports.runtime.volumes([]) if s.key == "traces")
        assert ports.volumes.measure(state).bytes == 6
    finally:
        disconnect(ports, "20260101000000-0002")
        remove_project(name, folder)


def test_a_running_service_of_another_profile_is_seen(runtime: ComposeRuntime, folder: Path):
    """It was begun with `--profile debug`; it writes all the same."""
    assert "debug" not in {service.name for service in runtime.services()}
    other = runtime_of(folder, profiles=("debug",))
    up(other, "debug")
    other.close()
    debug = next(service for service in runtime.services() if service.name == "debug")
    assert debug.running
    assert {(mount.volume, mount.writable) for mount in debug.mounts} == {
        ("traces", True),
        ("data", False),
    }
    runtime.remove(["debug"])
    assert "debug" not in {service.name for service in runtime.services()}


def test_a_container_whose_service_was_taken_out_of_the_file_is_seen(
    runtime: ComposeRuntime, folder: Path
):
    """An orphan keeps its mounts and runs on."""
    file = folder / "docker-compose.yml"
    old = "services:\n  old: {image: $TINY_IMAGE, volumes: ['data:/o']}\n"
    try:
        file.write_text(COMPOSE.replace("services:\n", old, 1))
        up(runtime, "old")
        file.write_text(COMPOSE)
        orphan = next(service for service in runtime.services() if service.name == "old")
        assert [(mount.volume, mount.target) for mount in orphan.mounts] == [("data", "/o")]
        assert orphan.running
    finally:
        docker("rm", "--force", f"{PROJECT}-old-1")


def test_the_env_file_wins_over_the_shell(folder: Path):
    """Compose lets the shell win: a name exported at home must not rename a volume."""
    outer = {**os.environ, "STACK": "somebody", "WHO": "shell"}
    runtime = runtime_of(folder, outer=outer)
    up(runtime, "web")
    (data,) = runtime.volumes([a_volume("data")])[:1]
    assert data.name == f"{PROJECT}-data"
    inside = docker("exec", unit(runtime, "web").name, "printenv", "SEEN")
    assert inside == "env-file"
    runtime.close()


def test_the_instances_env_file_wins_over_the_shared_one(folder: Path):
    """`.env` is for all instances, the instance's own file comes after it."""
    (folder / ".env").write_text("STACK=shared\nWHO=shared\n")
    try:
        runtime = runtime_of(folder)
        (data,) = runtime.volumes([a_volume("data")])[:1]
        assert data.name == f"{PROJECT}-data"
        runtime.close()
    finally:
        (folder / ".env").unlink()


def test_an_empty_environment_is_enough(folder: Path):
    """A cron job has no HOME, and a PATH without /usr/local/bin."""
    outer = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": os.environ["DOCKER_HOST"]}
    runtime = runtime_of(folder, outer=outer)
    assert runtime.services()
    runtime.close()


def test_a_wrong_compose_file_is_a_request_error_with_its_reason(
    runtime: ComposeRuntime, folder: Path
):
    """Nothing is touched, and the reason is Compose's own."""
    file = folder / "docker-compose.yml"
    file.write_text("services:\n  web: {imagine: nothing}\n")
    try:
        with pytest.raises(RequestError, match="cannot be used") as caught:
            runtime.services()
        assert any("imagine" in line for line in caught.value.details)
    finally:
        file.write_text(COMPOSE)
    assert runtime.services()


def test_an_engine_that_does_not_answer_is_a_request_error(folder: Path, tmp_path: Path):
    """With the address that was tried, and what to do."""
    silent = f"unix://{tmp_path}/nobody.sock"
    runtime = runtime_of(folder, outer={**os.environ, "DOCKER_HOST": silent})
    with pytest.raises(RequestError) as caught:
        runtime.engine()
    assert caught.value.fact == f"docker engine at {silent} does not answer"
    assert caught.value.hint == "start Docker, then run 'inv status'"
    runtime.close()


def test_a_failing_start_tells_why(runtime: ComposeRuntime, folder: Path):
    """The port it publishes is taken meanwhile: the engine's reason is in the details."""
    file = folder / "docker-compose.yml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = f"services:\n  taker: {{image: $TINY_IMAGE, ports: ['127.0.0.1:{port}:80']}}\n"
        file.write_text(text)
        try:
            docker("compose", "--project-name", PROJECT, "create", "taker", cwd=folder)
            with pytest.raises(QuiesceError, match="service taker cannot be started") as caught:
                runtime.start([unit(runtime, "taker")])
            assert str(port) in " ".join(caught.value.details)
        finally:
            docker("rm", "--force", f"{PROJECT}-taker-1")
            file.write_text(COMPOSE)


def test_the_proof_of_being_local_needs_no_running_container(runtime: ComposeRuntime):
    """It reads our own shared memory through a container that never starts, and leaves none."""
    up(runtime, "web")
    before = docker("ps", "--all", "--quiet", "--filter", "label=quiesce.run=locality")
    assert runtime.is_local() is True
    assert (
        docker("ps", "--all", "--quiet", "--filter", "label=quiesce.run=locality") == before == ""
    )


def test_what_up_would_make_anew_is_known_beforehand(runtime: ComposeRuntime, folder: Path):
    """Its configuration, or the image behind its name; what does not run is not asked about."""
    up(runtime, "web")
    assert runtime.project().outdated(["web", "debug"]) == {}
    (folder / "override.yml").write_text("services: {web: {environment: {MORE: '1'}}}\n")
    files = (folder / "docker-compose.yml", folder / "override.yml")
    changed = runtime_of(folder, files=files)
    try:
        assert changed.project().outdated(["web"]) == {"web": "its configuration differs"}
        assert changed.project().outdated(["slow"]) == {}
        before = unit(changed, "web").id
        assert up(changed, "web").id != before
        assert changed.project().outdated(["web"]) == {}
    finally:
        changed.close()


def test_an_env_file_and_shared_networks_make_nothing_outdated(folder: Path):
    """Compose's two hashes of such a service differ; it would recreate it only for a change."""
    (folder / "web.env").write_text("FROM_FILE=1\n")
    (folder / "more.yml").write_text(
        "services:\n"
        "  web: {env_file: web.env}\n"
        "  beside: {image: '${TINY_IMAGE}', network_mode: 'service:web', init: true}\n"
        "  none: {image: '${TINY_IMAGE}', deploy: {replicas: 0}}\n"
        "  perhaps:\n"
        "    image: '${TINY_IMAGE}'\n"
        "    init: true\n"
        "    depends_on: {none: {condition: service_started, required: false}}\n"
    )
    made = runtime_of(folder, files=(folder / "docker-compose.yml", folder / "more.yml"))
    names = ["web", "beside", "perhaps"]
    remove_project(PROJECT, folder)
    try:
        made.up(names, build=False)
        assert "none" not in {service.name for service in made.services()}
        assert made.project().outdated(names) == {}
        (folder / "web.env").write_text("FROM_FILE=2\n")
        assert made.project().outdated(["web"]) == {"web": "its configuration differs"}
    finally:
        made.close()
        remove_project(PROJECT, folder)


def test_another_image_of_the_same_name_is_noticed(folder: Path):
    """As after a pull or a build."""
    name = f"{PROJECT}-web"
    image = os.environ.get("TINY_IMAGE", "quiesce-test/tiny")
    docker("tag", image, name)
    (folder / "override.yml").write_text(f"services: {{web: {{image: {name}}}}}\n")
    named = runtime_of(folder, files=(folder / "docker-compose.yml", folder / "override.yml"))
    try:
        up(named, "web")
        assert named.project().outdated(["web"]) == {}
        (folder / "Dockerfile").write_text(f"FROM {image}\nENV NEW=1\n")
        docker("build", "--quiet", "--tag", name, str(folder))
        assert named.project().outdated(["web"]) == {"web": "its image tag refers to another image"}
    finally:
        named.close()
        remove_project(PROJECT, folder)
        docker("rmi", "--force", name)


def test_who_cannot_start_keeps_nobody_down_who_does_not_need_it(folder: Path):
    """A missing image and a taken port: both are named; who waits for a job that is done starts."""
    (folder / "flag" / "done").touch()
    variables = (folder / "core.env").read_text()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (folder / "core.env").write_text(variables.replace("TAKEN=1", f"TAKEN={port}"))
        runtime = runtime_of(folder)
        try:
            up(runtime, "job")
            runtime.wait_healthy([replace(unit(runtime, "job"), state="running")], 30, ignore)
            ended = unit(runtime, "job")
            assert ended.exit_code == 0
            with pytest.raises(ServiceFailed) as caught:
                runtime.up(["job", "imageless", "taken", "needy", "happy", "web"], build=False)
            assert set(caught.value.services) == {"imageless", "taken"}
            assert "needy" in " ".join(caught.value.details)
            states = {s.name: [u.state for u in s.units] for s in runtime.services()}
            assert states["happy"] == states["web"] == ["running"]
            assert "running" not in states["taken"] + states["needy"]
        finally:
            runtime.close()
            (folder / "core.env").write_text(variables)


def test_nothing_starts_beside_who_writes_outside_of_the_project(folder: Path):
    """Not by `up`, not by `start`, whatever was stopped; nothing else is touched."""
    made = runtime_of(folder)
    web = up(made, "web")
    made.stop([web], 0)
    outsider = f"{PROJECT}-twin"
    image = os.environ.get("TINY_IMAGE", "quiesce-test/tiny")
    label = "com.docker.compose.project=twin"
    volume = f"{PROJECT}-data:/d"
    docker("run", "--detach", "--label", label, "--name", outsider, "--volume", volume, image)
    server = Database("alpha", "alpha", "web", "postgres", None, 5432, None)
    data = a_volume("data", backup="by-dump")
    stack = compose_stack(folder, PROJECT, folder / "core.env", made._stack.instance.environment)
    ignoring = replace(stack, ignored_writers=(outsider,))
    guarded = [
        ComposeRuntime(replace(ignoring, databases=(server,), volumes=(data,))),
        ComposeRuntime(stack),
    ]
    permitted = ComposeRuntime(ignoring)
    try:
        for refusing in guarded:
            found = next(s for s in refusing.services() if s.name == "web")
            assert [m.container for m in found.foreign_mounts] == [outsider]
            assert [m.project for m in found.foreign_mounts] == ["twin"]
            for begin in (lambda r: r.up(["web", "slow"], build=False), lambda r: r.start([web])):
                with pytest.raises(ServiceFailed, match=f"container {outsider} of project twin"):
                    begin(refusing)
            assert unit(refusing, "web").state == "exited"
        permitted.start([web])
        assert unit(permitted, "web").state == "running"
        guarded[0].start([web])  # it is not started: it runs
    finally:
        docker("rm", "--force", outsider)
        for runtime in (made, permitted, *guarded):
            runtime.close()


def test_a_stack_without_a_project_is_found_by_what_runs(folder: Path):
    """Containers of its Compose file decide; those of another one of the same name do not."""
    made = runtime_of(folder)
    up(made, "slow")
    made.close()
    stack = compose_stack(
        folder, "core", folder / "core.env", {}, files=(folder / "docker-compose.yml",)
    )
    stack = replace(stack, volumes=(a_volume("data"),))

    def settled(preferred: str, *others: str, file: str = "docker-compose.yml") -> str:
        instance = replace(
            stack.instance,
            project=preferred,
            project_from="folder",
            other_projects=others,
            files=(folder / file,),
        )
        return resolve_project(replace(stack, instance=instance)).instance.project

    assert settled(PROJECT, "core") == PROJECT
    with pytest.raises(RequestError) as caught:
        settled("core", PROJECT)
    assert f"add 'project: {PROJECT}'" in caught.value.hint
    with contextlib.closing(ComposeRuntime(stack)) as another:
        assert another.other_projects() == (OtherProject(PROJECT, alone=True),)
    siblings = replace(stack, instance=replace(stack.instance, siblings=("qcompose-*",)))
    with contextlib.closing(ComposeRuntime(siblings)) as declared:
        assert declared.other_projects() == ()
    with pytest.raises(RequestError) as caught:
        settled("core")
    assert f"add 'project: {PROJECT}'" in caught.value.hint
    assert settled("core", PROJECT, file="another.yml") == "core"
    with pytest.raises(RequestError, match="is another stack"):
        settled(PROJECT, file="another.yml")
