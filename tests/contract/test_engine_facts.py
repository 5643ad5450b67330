"""One test per fact of `docs/engine-facts.md`, on whatever engine and Compose the tests have."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import errors as docker_errors

from quiesce.adapters.compose.address import find_address
from quiesce.adapters.compose.containers import ComposeUnits
from quiesce.adapters.compose.engine import LABEL_HELPER, EngineConnection, create_probe_container
from quiesce.adapters.compose.engine_folder import exists_on_engine
from quiesce.adapters.compose.events import StartsListener, who_started
from quiesce.adapters.compose.health_checks import HealthChecks
from quiesce.adapters.compose.identity import user_namespaces
from quiesce.adapters.compose.inspected import (
    LABEL_ONEOFF,
    LABEL_PROJECT_NAME,
    moment,
    unit_of,
)
from quiesce.adapters.compose.outdated import read_dry_run, same_image
from quiesce.adapters.compose.runtime import ComposeRuntime
from tests.contract.runtime_worlds import compose_stack, docker, remove_project
from tests.support.checkout import wait_until

pytestmark = pytest.mark.engine

PROJECT = f"qfacts-{os.getpid()}"
TINY = os.environ.get("TINY_IMAGE", "quiesce-test/tiny")
COMPOSE = f"""
services:
  web:
    image: {TINY}
    env_file: web.env
    volumes: ["data:/data"]
  beside: {{image: {TINY}, network_mode: "service:web"}}
  none: {{image: {TINY}, deploy: {{replicas: 0}}}}
volumes:
  data: {{}}
  junk: {{}}
"""


def connect(folder: Path) -> EngineConnection:
    """Return a new connection to the engine of the tests."""
    address = find_address(None, os.environ, folder)
    return EngineConnection(address, lambda: folder, docker)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that is up."""
    found = tmp_path_factory.mktemp("facts")
    (found / "compose.yaml").write_text(COMPOSE)
    (found / "web.env").write_text("FROM_FILE=1\n")
    try:
        compose(found, "up", "--detach")
        yield found
    finally:
        remove_project(PROJECT, found)


@pytest.fixture(scope="module")
def connection(folder: Path) -> Iterator[EngineConnection]:
    """A connection to the engine."""
    made = connect(folder)
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(connection: EngineConnection) -> Any:
    """The SDK's client."""
    return connection.api


def compose(folder: Path, *arguments: str) -> str:
    """Run Compose without anybody who answers; return both of its outputs."""
    argv = ["docker", "compose", "--ansi", "never", "--progress", "plain"]
    done = subprocess.run(
        [*argv, "--project-name", PROJECT, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def web(api: Any) -> dict[str, Any]:
    """Return the inspected container of `web`."""
    found: dict[str, Any] = api.inspect_container(f"{PROJECT}-web-1")
    return found


# ------------------------------------------------------------------------------------- the engine


def test_an_engine_keeps_its_identity(connection: EngineConnection, tmp_path: Path):
    """From one connection to the next, and as the command line sees it."""
    again = connect(tmp_path)
    try:
        assert again.engine().id == connection.engine().id != ""
    finally:
        again.close()


def test_info_names_machine_data_driver_and_time(api: Any):
    """All of them are compared or shown."""
    info = api.info()
    for name in ("Name", "DockerRootDir", "KernelVersion", "ServerVersion", "Driver"):
        assert info[name], name
    assert moment(info["SystemTime"]) is not None


def test_version_names_the_range_of_the_api(api: Any):
    """The client chooses a version in it."""
    version = api.version(api_version=False)
    for name in ("MinAPIVersion", "ApiVersion", "Os"):
        assert version[name], name
    assert api.api_version


def test_the_platform_is_named(folder: Path):
    """As `doctor` shows it."""
    runtime = ComposeRuntime(compose_stack(folder, PROJECT, None, {}))
    try:
        found = runtime.project().platform()
    finally:
        runtime.close()
    told = json.loads(docker("version", "--format", "{{json .Server}}"))
    assert found.api == (told["MinAPIVersion"], told["ApiVersion"])
    assert found.version == told["Version"]
    assert docker("compose", "version", "--short").startswith(found.compose)
    assert found.storage == docker("info", "--format", "{{.Driver}}")


def test_addresses_are_those_of_the_networks(api: Any):
    """The engine's old field above them is gone since API 1.52, and is not read."""
    container = web(api)
    (address,) = unit_of(container).addresses
    assert address.network == f"{PROJECT}_default"
    container["NetworkSettings"].pop("IPAddress", None)
    assert unit_of(container).addresses == (address,)


def test_the_mounts_of_listed_and_inspected_containers_name_their_volume(api: Any):
    """With the right to write."""
    listed = next(
        entry for entry in api.containers(all=True) if entry["Names"] == [f"/{PROJECT}-web-1"]
    )
    for mounts in (listed["Mounts"], web(api)["Mounts"]):
        (mount,) = mounts
        assert (mount["Type"], mount["Name"], mount["RW"]) == ("volume", f"{PROJECT}_data", True)
    assert listed["State"] == "running"
    assert listed["Labels"]["com.docker.compose.project"] == PROJECT


def test_a_containers_image_is_known_by_its_name(api: Any):
    """Whatever kind of id the engine's image store gives to each."""
    container = web(api)
    assert same_image(container, api.inspect_image(container["Config"]["Image"]))
    assert same_image(container, api.inspect_image(container["Image"]))


def test_creating_a_volume_that_exists_changes_nothing(api: Any):
    """So of two that lock a project at once, one finds the label of the other."""
    name = f"{PROJECT}-claim"
    try:
        api.create_volume(name, labels={"owner": "first"})
        api.create_volume(name, labels={"owner": "second"})
        assert api.inspect_volume(name)["Labels"] == {"owner": "first"}
    finally:
        api.remove_volume(name)


def test_a_volume_in_use_is_not_removed(api: Any):
    """The engine answers 409."""
    import docker as sdk

    with pytest.raises(sdk.errors.APIError) as refused:
        api.remove_volume(f"{PROJECT}_data")
    assert refused.value.status_code == 409


def test_a_container_that_never_starts_shows_the_engines_files(api: Any, tmp_path: Path):
    """Its command does not exist, which only a start would notice."""
    (tmp_path / "word").write_text("seen")
    made = create_probe_container(api, TINY, tmp_path, "facts")
    try:
        _, about = api.get_archive(made, "/quiesce/word")
        assert (about["name"], about["size"]) == ("word", 4)
    finally:
        api.remove_container(made, force=True)


def test_a_folder_that_the_engine_lacks_is_not_made_by_looking_for_it(
    connection: EngineConnection, tmp_path: Path
):
    """Docker refuses to mount it, Podman would make it."""
    (tmp_path / "there").mkdir()
    asked = [tmp_path / "there", tmp_path / "missing", tmp_path / "missing" / "deeper"]
    assert [exists_on_engine(connection, folder, [TINY]) for folder in asked] == [
        True,
        False,
        False,
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["there"]


def test_a_restart_policy_can_be_changed_while_it_runs(api: Any):
    """And is read back by the same name."""
    identity = web(api)["Id"]
    api.update_container(identity, restart_policy={"Name": "always"})
    assert unit_of(web(api)).restart_policy == "always"
    api.update_container(identity, restart_policy={"Name": "no"})
    assert unit_of(web(api)).restart_policy == "no"


def test_who_mounted_a_volume_and_may_write_is_known(connection: EngineConnection):
    """From events or, on Podman, from the containers. A reader is nobody to worry about."""
    listener = StartsListener(connection)
    names = [f"{PROJECT}-writer", f"{PROJECT}-reader"]
    try:
        for name, mode in zip(names, ("rw", "ro"), strict=True):
            docker("run", "--name", name, "--volume", f"{PROJECT}_data:/d:{mode}", TINY, "true")
        found = who_started(listener.events(), "another", [], [f"{PROJECT}_data"])
        docker("rm", "--volumes", names[0])
        # Podman no longer knows what was mounted, so this container stays a writer.
        again = who_started(listener.events(), "another", [], [f"{PROJECT}_data"])
    finally:
        listener.close()
        docker("rm", "--force", *names)
    assert found == again == (names[0],)


def test_health_checks_run_while_something_waits(connection: EngineConnection):
    """By the engine, by systemd, or through Podman's own API; the engine keeps the result."""
    name, api = f"{PROJECT}-checked", connection.api
    check = ("--health-cmd", "true", "--health-interval", "1s")
    docker("run", "--detach", "--init", "--name", name, *check, TINY, "sleep", "infinity")
    try:
        checks = HealthChecks(connection, lambda: [api.inspect_container(name)])
        with checks.run_overdue():
            wait_until(
                lambda: api.inspect_container(name)["State"]["Health"]["Status"] == "healthy",
                "a health check",
            )
    finally:
        docker("rm", "--force", name)


def test_a_helper_does_not_keep_a_container_from_being_removed(connection: EngineConnection):
    """Podman removes none in whose network another one is, so helpers there are removed first."""
    project = f"{PROJECT}-left"
    name, helper = f"{project}-web-1", f"{project}-helper"
    labels = (f"{LABEL_PROJECT_NAME}={project}", f"{LABEL_ONEOFF}=False")
    started = ("run", "--detach", "--init")
    named = [part for label in labels for part in ("--label", label)]
    docker(*started, "--name", name, *named, TINY, "sleep", "infinity")
    try:
        where = ("--network", f"container:{name}", "--label", f"{LABEL_HELPER}=1")
        docker(*started, "--name", helper, *where, TINY, "sleep", "infinity")
        ComposeUnits(connection, project).release()
        docker("rm", "--force", name)
        with pytest.raises(docker_errors.NotFound):
            connection.api.inspect_container(name)
    finally:
        subprocess.run(["docker", "rm", "--force", helper, name], capture_output=True, check=False)


def test_an_engine_with_other_user_numbers_says_so(connection: EngineConnection):
    """Its volumes are not read in place: their owners would be numbers of this machine."""
    remapped = os.environ.get("QUIESCE_TEST_ENGINE_NAME", "").endswith("-userns")
    assert user_namespaces(connection.info) == ("userns-remap" if remapped else "")
    assert not (remapped and connection.engine().local)


# ---------------------------------------------------------------------------------------- Compose


def test_compose_names_what_it_makes_in_labels(api: Any):
    """Containers and volumes are found by them."""
    labels = web(api)["Config"]["Labels"]
    told = {name: labels[f"com.docker.compose.{name}"] for name in ("service", "oneoff", "project")}
    assert told == {"service": "web", "oneoff": "False", "project": PROJECT}
    assert labels["com.docker.compose.config-hash"]
    volume = api.inspect_volume(f"{PROJECT}_data")["Labels"]
    assert volume["com.docker.compose.volume"] == "data"
    assert volume["com.docker.compose.project"] == PROJECT


def test_the_model_before_interpolation_has_the_volumes_that_no_service_uses(folder: Path):
    """The resolved one may leave them out."""
    told = json.loads(compose(folder, "config", "--no-interpolate", "--format", "json"))
    assert {"data", "junk"} <= told["volumes"].keys()


def test_a_dry_run_tells_what_would_be_recreated_and_does_nothing(folder: Path, api: Any):
    """Also of services whose two hashes differ."""
    before = web(api)
    call = ("--dry-run", "create", "--no-build", "--pull", "never")
    names = [f"{PROJECT}-web-1", f"{PROJECT}-beside-1"]
    assert read_dry_run(compose(folder, *call)) == dict.fromkeys(names, False)
    (folder / "web.env").write_text("FROM_FILE=2\n")
    try:
        assert read_dry_run(compose(folder, *call))[names[0]] is True
    finally:
        (folder / "web.env").write_text("FROM_FILE=1\n")
    assert web(api)["Id"] == before["Id"]
    assert web(api)["State"]["StartedAt"] == before["State"]["StartedAt"]


def test_nothing_of_ours_lets_compose_recreate_a_volume(folder: Path, api: Any):
    """Versions that put a hash on volumes offer it; nobody says yes. Those before compare none."""
    docker("exec", f"{PROJECT}-web-1", "sh", "-c", "echo kept > /data/file")
    before = api.inspect_volume(f"{PROJECT}_data")
    changed = COMPOSE.replace("data: {}", "data: {labels: {changed: 'yes'}}")
    (folder / "compose.yaml").write_text(changed)
    runtime = ComposeRuntime(compose_stack(folder, PROJECT, None, {}))
    try:
        runtime.project().outdated(["web", "beside"])
        runtime.up([], build=False)
        runtime.up(["web"], build=True)
    finally:
        runtime.close()
        (folder / "compose.yaml").write_text(COMPOSE)
    assert api.inspect_volume(f"{PROJECT}_data") == before
    assert docker("exec", f"{PROJECT}-web-1", "cat", "/data/file").strip() == "kept"
