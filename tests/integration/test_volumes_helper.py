"""Helper containers on a real engine: whose files, whose end, and which image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quiesce.adapters.volumes.helper import HelperEngine, HelperPlace
from quiesce.adapters.volumes.io import VolumeFiles
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import VolumeRecord
from quiesce.observed import VolumeState
from tests.integration.volumes_support import (
    as_user,
    assert_same,
    describe,
    make_tree,
    needs_root,
    silent,
    small_disk,
)

pytestmark = [pytest.mark.engine, needs_root]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Wait for a condition; fail, saying what for, when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


class Docker:
    """An engine, one volume on it, and what is found of our helpers."""

    def __init__(self, endpoint: str, base: Path) -> None:
        from docker import APIClient

        self.endpoint = endpoint
        self.api = APIClient(base_url=endpoint, version="auto")
        self.run = f"20260101000000-{uuid.uuid4().hex[:8]}"
        self.name = f"quiesce-{self.run}"
        self.staging = base / "staging"
        self.set = self.staging / "set"
        self.set.mkdir(parents=True)
        self.api.create_volume(self.name)
        self.root = Path(self.api.inspect_volume(self.name)["Mountpoint"])
        self.state = VolumeState("media", self.name, True, "local", {}, self.root, ())

    def files(
        self, *images: str, local: bool = True, direct: bool = False, staging: Path | None = None
    ) -> VolumeFiles:
        return VolumeFiles(
            run=self.run,
            staging=staging or self.staging,
            direct=lambda state: state.mountpoint if direct else None,
            helper=self.engine(*images, local=local),
        )

    def engine(self, *images: str, local: bool = True) -> HelperEngine:
        return HelperEngine(
            api=lambda: self.api,
            images=lambda: images or (os.environ["TINY_IMAGE"],),
            is_local=lambda: local,
            labels=lambda key: {"made": key},
        )

    def helpers(self) -> list[str]:
        found = self.api.containers(all=True, filters={"label": f"quiesce.run={self.run}"})
        return [container["Id"] for container in found]

    def archive(
        self, files: VolumeFiles, level: int = 0, directory: Path | None = None
    ) -> VolumeRecord:
        return files.archive(self.state, level, directory or self.set, "media", (), silent)

    def close(self) -> None:
        left = self.helpers()
        self.files().remove_orphans(self.run)
        self.api.remove_volume(self.name)
        self.api.close()
        assert left == [], "a helper was left behind"


@pytest.fixture
def docker(engine: str, tmp_path: Path) -> Iterator[Docker]:
    """An engine with an empty volume; no helper may be left afterwards."""
    made = Docker(engine, tmp_path)
    yield made
    made.close()


def test_a_helper_stays_from_begin_to_end(docker: Docker) -> None:
    """So nothing has to be started, and nothing is unmounted, inside the window."""
    make_tree(docker.root)
    files = docker.files()
    files.begin(docker.state)
    before = docker.helpers()
    docker.archive(files, 0)
    docker.archive(files, 1)
    assert before == docker.helpers()
    assert len(before) == 1
    files.close()
    assert docker.helpers() == []


@pytest.mark.parametrize("removed", [False, True], ids=["kept", "removed"])
def test_one_helper_stages_exchanges_and_settles(docker: Docker, removed: bool) -> None:
    """It is there before services stop. If somebody removes it, the exchange gets another one."""
    make_tree(docker.root)
    files = docker.files()
    record = docker.archive(files, 0)
    files.close()
    expected = describe(docker.root)
    files.stage(docker.state, docker.run, [docker.set / record.levels[0]], None)
    (helper,) = docker.helpers()
    if removed:
        docker.api.remove_container(helper, force=True)
    files.swap(docker.state, docker.run)
    assert_same(expected, docker.root)
    assert docker.helpers() == ([] if removed else [helper])
    files.finish_swap(docker.state, docker.run)
    assert docker.helpers() == []


def test_a_helper_has_no_network_and_cannot_write_into_what_it_archives(docker: Docker) -> None:
    """Read-only mount, no log, no capability but those of copying."""
    files = docker.files()
    files.begin(docker.state)
    found = docker.api.inspect_container(docker.helpers()[0])
    mounts = {mount["Destination"]: mount["RW"] for mount in found["Mounts"]}
    assert mounts == {"/quiesce/volume": False, "/quiesce/staging": True}
    host = found["HostConfig"]
    assert ("none", "none", True) == (
        host["NetworkMode"],
        host["LogConfig"]["Type"],
        host["ReadonlyRootfs"],
    )
    assert host["CapDrop"] == ["ALL"]
    files.close()


def test_an_empty_volume_is_not_filled_by_the_helpers_image(docker: Docker) -> None:
    """The engine copies what an image has at a mount point into an empty volume."""
    files = docker.files()
    assert (0, 0) == (docker.archive(files).files, docker.archive(files).bytes)
    files.close()
    assert list(docker.root.iterdir()) == []


def test_a_user_in_group_docker_gets_files_of_their_own(docker: Docker) -> None:
    """The commonest user: not root here, root in the helper. Nothing of root's is left."""
    make_tree(docker.root)
    expected = describe(docker.root)
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 4321, 4321)
        base = Path(folder)
        said = as_docker_user(docker, base)
        assert said.startswith("fine"), said
        owners = {path.name: path.stat().st_uid for path in base.rglob("*")}
        assert set(owners.values()) == {4321}, owners
        assert {"media.0.tar.zst", "media.1.tar.zst", "media.gone"} <= owners.keys()
    # Restored by that user into the same volume: every owner is as it was.
    found = describe(docker.root)
    assert expected == found


def as_docker_user(docker: Docker, base: Path) -> str:
    """Archive and restore as an ordinary user who may only talk to the engine."""
    socket = docker.endpoint.removeprefix("unix://")
    group = os.stat(socket).st_gid
    import docker as sdk

    def work() -> str:
        api = sdk.APIClient(base_url=docker.endpoint, version="auto")
        docker.api = api
        set_ = base / "staging" / "set"
        set_.mkdir(parents=True)
        files = docker.files(staging=set_.parent)
        docker.archive(files, 0, set_)
        record = docker.archive(files, 1, set_)
        files.close()
        archives = [set_ / level for level in record.levels]
        assert record.gone
        size = files.stage(docker.state, docker.run, archives, set_ / record.gone)
        assert (record.files, record.bytes) == (size.files, size.bytes)
        files.swap(docker.state, docker.run)
        files.finish_swap(docker.state, docker.run)
        files.close()
        api.close()
        return "fine"

    return as_user(4321, work, groups=[group])


def test_a_helper_that_is_killed_in_mid_copy_is_an_error(docker: Docker) -> None:
    """And no archive is left."""
    (docker.root / "noise").write_bytes(os.urandom(1 << 20) * 600)
    files = docker.files()
    files.begin(docker.state)
    helper = docker.helpers()[0]
    archive = docker.set / "media.0.tar.zst"

    def kill() -> None:
        wait_until(lambda: archive.exists() and archive.stat().st_size > 0, "the copy began")
        docker.api.remove_container(helper, force=True)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(QuiesceError, match="helper container was stopped"):
        docker.archive(files)
    killer.join()
    assert not archive.exists()
    files.close()


def test_a_program_killed_in_a_helper_is_an_error(docker: Docker) -> None:
    """The engine tells how it ended."""
    (docker.root / "noise").write_bytes(os.urandom(1 << 20) * 600)
    files = docker.files()
    files.begin(docker.state)
    helper = docker.helpers()[0]
    archive = docker.set / "media.0.tar.zst"

    def kill() -> None:
        wait_until(lambda: archive.exists() and archive.stat().st_size > 0, "the copy began")
        for process in docker.api.top(helper, "-eo pid,comm")["Processes"]:
            if process[1] == "zstd":
                os.kill(int(process[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(QuiesceError, match="archiving volume"):
        docker.archive(files)
    killer.join()
    assert not archive.exists()
    files.close()


FORSAKEN = """
import sys
from pathlib import Path
import docker
from quiesce.adapters.volumes.helper import HelperEngine
from quiesce.adapters.volumes.io import VolumeFiles
from quiesce.observed import VolumeState

endpoint, image, run, name, staging = sys.argv[1:]
api = docker.APIClient(base_url=endpoint, version="auto")
engine = HelperEngine(
    api=lambda: api, images=lambda: (image,), is_local=lambda: True, labels=lambda key: {}
)
files = VolumeFiles(
    run=run, staging=Path(staging), direct=lambda state: None, helper=engine
)
files.begin(VolumeState("media", name, True, "local", {}, None, ()))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_helper_ends_with_the_process_that_needed_it(docker: Docker) -> None:
    """Also when that was killed with signal 9: no sweep needed."""
    image = os.environ["TINY_IMAGE"]
    arguments = [docker.endpoint, image, docker.run, docker.name, str(docker.staging)]
    with subprocess.Popen(
        [sys.executable, "-c", FORSAKEN, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(docker.helpers()) == 1
        process.kill()
    wait_until(lambda: docker.helpers() == [], "the helper ended")


def test_sweeping_removes_the_helpers_of_that_run_only(docker: Docker) -> None:
    """Another run's helper goes on."""
    files, other = docker.files(), docker.files()
    files.begin(docker.state)
    other._run = f"{docker.run}-other"
    other.begin(docker.state)
    assert len(files.remove_orphans(docker.run)) == 1
    assert docker.helpers() == []
    assert len(docker.archive(other).levels) == 1
    other.close()
    files.close()
    assert files.remove_orphans(f"{docker.run}-other") == ()


def make_image(docker: Docker, *, without: str) -> str:
    """An image like the usual one that lacks a program, made without a build."""
    tag = f"quiesce-test/{docker.run}"
    made = docker.api.create_container(
        os.environ["TINY_IMAGE"], entrypoint=["sh", "-c"], command=[f"rm $(command -v {without})"]
    )
    docker.api.start(made["Id"])
    docker.api.wait(made["Id"])
    docker.api.commit(made["Id"], tag, "latest")
    docker.api.remove_container(made["Id"])
    return f"{tag}:latest"


@pytest.mark.parametrize("program", ["tar", "zstd", "cat"])
def test_an_image_without_the_programs_is_passed_over(docker: Docker, program: str) -> None:
    """And so is one that is not there: nothing is pulled for a backup."""
    image = make_image(docker, without=program)
    try:
        files = docker.files(image, "quiesce-test/absent:none", os.environ["TINY_IMAGE"])
        assert len(docker.archive(files).levels) == 1
        files.close()
        files = docker.files(image, "quiesce-test/absent:none")
        with pytest.raises(RequestError, match="no image of the stack has GNU tar") as caught:
            files.begin(docker.state)
        assert image in caught.value.fact
        assert "helper_image" in caught.value.hint
        files.close()
    finally:
        docker.api.remove_image(image)


def test_a_direct_volume_needs_no_image_at_all(docker: Docker) -> None:
    """Where no image is good for it, root beside the engine writes directly too."""
    make_tree(docker.root)
    expected = describe(docker.root)
    files = docker.files("quiesce-test/absent:none", direct=True)
    record = docker.archive(files)
    files.stage(docker.state, docker.run, [docker.set / record.levels[0]], None)
    files.swap(docker.state, docker.run)
    files.finish_swap(docker.state, docker.run)
    assert expected == describe(docker.root)
    files.close()


def test_a_folder_of_another_machine_is_refused_in_words(docker: Docker, tmp_path: Path) -> None:
    """Only volumes are reached there; a path of that machine says nothing here."""
    files = docker.files(local=False)
    with pytest.raises(RequestError, match="does not share this machine's files"):
        HelperPlace(
            docker.engine(local=False), docker.run, str(tmp_path), tmp_path / "s", writable=True
        )
    assert files.remove_orphans(docker.run) == ()


def test_a_full_target_is_an_error_with_helpers_too(docker: Docker) -> None:
    """The disk is named, nothing is left on it."""
    (docker.root / "noise").write_bytes(os.urandom(4 << 20))
    with small_disk("1M") as disk:
        (disk / "set").mkdir()
        files = docker.files(staging=disk)
        with pytest.raises(QuiesceError, match="archiving volume") as caught:
            docker.archive(files, 0, disk / "set")
        assert "free some space" in caught.value.hint
        assert list((disk / "set").iterdir()) == []
        files.close()


def test_a_new_volume_has_its_driver_its_options_and_its_labels(docker: Docker) -> None:
    """A second call leaves it as it is."""
    name = f"{docker.name}-new"
    state = VolumeState(
        "media", name, False, "local", {"type": "tmpfs", "device": "tmpfs"}, None, ()
    )
    files = docker.files()
    try:
        files.create(state)
        files.create(state)
        found = docker.api.inspect_volume(name)
    finally:
        docker.api.remove_volume(name)
    assert ({"made": "media"}, "local") == (found["Labels"], found["Driver"])
    assert found["Options"] == {"type": "tmpfs", "device": "tmpfs"}
    files.close()


def test_a_volume_with_options_stays_mounted_until_level_1_is_done(
    docker: Docker, tmp_path: Path
) -> None:
    """Its folder is empty as soon as its last user ends; the helper is one."""
    source = tmp_path / "elsewhere"
    source.mkdir()
    (source / "file").write_text("x")
    options = {"type": "none", "device": str(source), "o": "bind"}
    name = f"{docker.name}-bind"
    docker.api.create_volume(name, "local", options)
    state = VolumeState("bound", name, True, "local", options, None, ())
    files = docker.files()
    try:
        files.archive(state, 0, docker.set, "bound", (), silent)
        (source / "late").write_text("y")
        record = files.archive(state, 1, docker.set, "bound", (), silent)
        assert (2, 2) == (record.files, record.bytes)
        files.close()
    finally:
        docker.api.remove_volume(name)
    shutil.rmtree(source)
