"""What every `VolumeIO` keeps, whichever way it reaches the bytes."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.types import Mount

from quiesce.adapters.volumes.helper import HelperEngine
from quiesce.adapters.volumes.io import VolumeFiles
from quiesce.errors import QuiesceError
from quiesce.exclusion import previous_copy, replaced_copy
from quiesce.model import VolumeRecord
from quiesce.observed import VolumeState
from quiesce.ports import VolumeSize
from tests.integration.volumes_support import (
    Churn,
    age,
    assert_same,
    churning,
    describe,
    files_of,
    is_root,
    make_tree,
    members,
    require_two_levels,
    restore,
    restore_by_hand,
    silent,
    volume,
)


class World:
    """Folders of this machine, reached directly: the host runtime."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.staging = base / "backups" / ".staging" / "20260101000000-0001"
        self.set = self.staging / "set"
        (self.set / "volumes").mkdir(parents=True)
        self.files = self.adapter()

    def adapter(self) -> VolumeFiles:
        return files_of(self.staging)

    def state(self, key: str) -> VolumeState:
        """The volume as it is now."""
        return volume(self.base / "volumes" / key, key)

    def make(self, key: str) -> Path:
        """Make an empty volume and return its root."""
        self.files.create(self.state(key))
        root = self.state(key).mountpoint
        assert root is not None
        return root

    def close(self) -> None:
        self.files.close()


class HelperWorld(World):
    """Volumes of a real engine, all work done in helper containers."""

    local = True

    def __init__(self, base: Path, endpoint: str) -> None:
        from docker import APIClient

        self.api = APIClient(base_url=endpoint, version="auto")
        self.prefix = f"quiesce-{uuid.uuid4().hex[:8]}"
        self.run = f"20260101000000-{uuid.uuid4().hex[:8]}"
        super().__init__(base)

    def adapter(self) -> VolumeFiles:
        engine = HelperEngine(
            api=lambda: self.api,
            images=lambda: (os.environ["TINY_IMAGE"],),
            is_local=lambda: self.local,
            labels=lambda key: {},
        )
        return VolumeFiles(
            run=self.run,
            staging=self.staging,
            direct=self.direct,
            helper=engine,
        )

    def direct(self, state: VolumeState) -> Path | None:
        return None

    def state(self, key: str) -> VolumeState:
        from docker.errors import NotFound

        name = f"{self.prefix}_{key}"
        try:
            found: dict[str, Any] = self.api.inspect_volume(name)
        except NotFound:
            return VolumeState(key, name, False, "local", {}, None, ())
        return VolumeState(key, name, True, "local", {}, Path(found["Mountpoint"]), ())

    def helpers(self) -> list[str]:
        found = self.api.containers(all=True, filters={"label": f"quiesce.run={self.run}"})
        return [container["Id"] for container in found]

    def close(self) -> None:
        super().close()
        left = self.helpers()
        for volume_ in self.api.volumes(filters={"name": self.prefix})["Volumes"] or []:
            self.api.remove_volume(volume_["Name"])
        self.api.close()
        assert left == []


class MixedWorld(HelperWorld):
    """The same read directly and written through helpers: root beside its own engine."""

    def direct(self, state: VolumeState) -> Path | None:
        return state.mountpoint


class RemoteWorld(HelperWorld):
    """The same where the engine is not known to see our folders: everything is streamed."""

    local = False


class FolderWorld(HelperWorld):
    """Folders in `paths` instead of volumes: the engine's, and this machine's to look at."""

    def state(self, key: str) -> VolumeState:
        folder = self.base / "folders" / key
        return VolumeState(key, str(folder), folder.is_dir(), "bind", {}, folder, ())


class MixedFolderWorld(FolderWorld):
    """The same read directly."""

    def direct(self, state: VolumeState) -> Path | None:
        return state.mountpoint


class RemoteFolderWorld(FolderWorld):
    """The same streamed."""

    local = False


WORLDS = {
    "helper": HelperWorld,
    "mixed": MixedWorld,
    "remote": RemoteWorld,
    "folder": FolderWorld,
    "mixed-folder": MixedFolderWorld,
    "remote-folder": RemoteFolderWorld,
}
#: What differs in nothing but where another world differs, too.
LONG = ("mixed-folder", "remote-folder")


@pytest.fixture(
    params=[
        "direct",
        *(
            pytest.param(name, marks=[pytest.mark.engine, *([pytest.mark.long] * (name in LONG))])
            for name in WORLDS
        ),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """One way to the bytes; nothing of it is left afterwards."""
    if request.param == "direct":
        made = World(tmp_path)
    else:
        if not is_root():
            pytest.skip("only root can look into an engine's volumes")
        endpoint = request.getfixturevalue("engine")
        made = WORLDS[request.param](tmp_path, endpoint)
    yield made
    made.close()


def archive(world: World, key: str, level: int) -> VolumeRecord:
    """Archive one level of a volume into the world's set."""
    state = world.state(key)
    return world.files.archive(state, level, world.set, f"volumes/{key}", (), silent)


def test_a_volume_is_measured_as_it_will_be_recorded(world: World) -> None:
    """Entries without the root, apparent bytes of regular files; before and after `begin`."""
    root = world.make("media")
    make_tree(root)
    size = world.files.measure(world.state("media"))
    world.files.begin(world.state("media"))
    assert size == world.files.measure(world.state("media"))
    record = archive(world, "media", 0)
    assert (size.files, size.bytes) == (record.files, record.bytes)
    world.files.close()


def test_one_level_brings_everything_back(world: World) -> None:
    """Staged, exchanged, settled; the volume is wholly what was archived."""
    source = world.make("source")
    make_tree(source)
    expected = describe(source)
    world.files.begin(world.state("source"))
    record = archive(world, "source", 0)
    world.files.close()
    assert ("source", world.state("source").name, "zstd") == (
        record.key,
        record.name,
        record.compression,
    )
    target = world.make("target")
    (target / "old").mkdir()
    restore(world.files, world.set, record, world.state("target"))
    assert_same(expected, target)


def test_two_levels_bring_back_the_volume_as_it_was_at_the_second(world: World) -> None:
    """Changed all the time during the first; by plain tools, too."""
    source = world.make("source")
    churn = Churn(source, 7)
    churn.seed(150)
    world.files.begin(world.state("source"))
    with churning(churn):
        archive(world, "source", 0)
    expected = describe(source)
    record = archive(world, "source", 1)
    world.files.close()
    by_hand = world.base / "by-hand"
    by_hand.mkdir()
    restore_by_hand(world.set, record, by_hand)
    assert_same(expected, by_hand)
    target = world.make("target")
    restore(world.files, world.set, record, world.state("target"))
    assert_same(expected, target)


def test_a_second_level_one_describes_the_volume_anew(world: World) -> None:
    """A step that is repeated by a recovery."""
    source = world.make("source")
    (source / "a").write_text("one")
    archive(world, "source", 0)
    (source / "b").write_text("two")
    archive(world, "source", 1)
    (source / "a").unlink()
    record = archive(world, "source", 1)
    assert (1, 3) == (record.files, record.bytes)
    world.files.close()
    target = world.make("target")
    restore(world.files, world.set, record, world.state("target"))
    assert [path.name for path in target.iterdir()] == ["b"]


@pytest.mark.engine
@pytest.mark.parametrize("machine", ["helper", "remote", "folder", "remote-folder"])
def test_what_a_container_holds_open_for_writing_is_in_level_1(
    machine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Also where its processes are another machine's: a helper looks from beside it."""
    if not is_root():
        pytest.skip("only root can look into an engine's volumes")
    world = WORLDS[machine](tmp_path, request.getfixturevalue("engine"))
    root = world.make("media")
    require_two_levels(root)
    for name in ("held", "untouched"):
        (root / name).write_text("x")
    made = world.api.create_container(
        os.environ["TINY_IMAGE"],
        entrypoint=["sh", "-c"],
        command=["exec 3<>/data/held; echo; exec sleep 600"],
        host_config=world.api.create_host_config(
            mounts=[
                Mount(
                    "/data",
                    world.state("media").name,
                    "bind" if world.state("media").is_folder else "volume",
                )
            ]
        ),
    )
    try:
        world.api.start(made["Id"])
        while not world.api.logs(made["Id"]):
            time.sleep(0.05)
        age(root)
        world.files.begin(world.state("media"))
        archive(world, "media", 0)
        record = archive(world, "media", 1)
    finally:
        world.api.remove_container(made["Id"], force=True)
        if world.files.remarks(world.state("media")):
            pytest.fail(str(world.files.remarks(world.state("media"))))
        world.files.close()
        taken = members(world.set / "volumes" / "media.1.tar.zst")
        world.close()
    assert len(record.levels) == 2
    assert taken == ["./", "./held"]


def test_an_exchange_is_put_back(world: World) -> None:
    """Content, owner, mode and times of the root; then there is nothing left to settle."""
    source, target = world.make("source"), world.make("target")
    make_tree(source)
    (target / "old").mkdir()
    target.chmod(0o711)
    record = archive(world, "source", 0)
    world.files.close()
    state = world.state("target")
    world.files.stage(state, "20260101000000-0001", [world.set / record.levels[0]], None)
    expected = describe(target)
    world.files.swap(state, "20260101000000-0001")
    assert_same(describe(source), target)
    world.files.put_back(state, "20260101000000-0001")
    assert_same(expected, target)
    world.files.finish_swap(state, "20260101000000-0001")
    assert [path.name for path in target.iterdir()] == ["old"]


@pytest.mark.parametrize("undone", [False, True], ids=["exchanged", "undone"])
def test_what_an_exchange_left_is_archived_as_if_it_were_the_volume(
    world: World, undone: bool
) -> None:
    """Content, owner, mode and times of the root, whatever is live meanwhile; then it is settled.
    Without an exchange there is nothing to archive."""
    run = "20260101000000-0001"
    source, target = world.make("source"), world.make("target")
    make_tree(source)
    source.chmod(0o751)
    first = archive(world, "source", 0)
    make_tree(target)
    (target / "only here").write_text("before")
    target.chmod(0o711)
    state, left = world.state("target"), replaced_copy(run) if undone else previous_copy(run)
    assert world.files.leftover_size(state, run) == VolumeSize(0, 0)
    with pytest.raises(QuiesceError, match="looking for the copy"):
        world.files.archive(state, 0, world.set, "volumes/target", (), silent, copy=left)
    world.files.stage(state, run, [world.set / first.levels[0]], None)
    expected = describe(target)
    world.files.swap(state, run)
    if undone:
        expected = describe(target)
        world.files.put_back(state, run)
    assert world.files.leftover_size(state, run).files > 0
    (target / "newer").write_text("live")
    record = world.files.archive(state, 0, world.set, "volumes/target", (), silent, copy=left)
    assert (target / "newer").read_text() == "live"
    world.files.finish_swap(state, run)
    other = world.make("other")
    restore(world.files, world.set, record, world.state("other"))
    assert_same(expected, other)
    world.files.close()


def test_every_goal_that_is_reached_is_reached_again(world: World) -> None:
    """Ending, settling, putting back and creating what needs none of it."""
    world.make("media")
    state = world.state("media")
    for _ in range(2):
        world.files.create(state)
        world.files.begin(state)
    for _ in range(2):
        world.files.close()
        world.files.put_back(state, "20260101000000-0001")
        world.files.finish_swap(state, "20260101000000-0001")
    assert world.files.remove_orphans("20260101000000-0001") == ()
    world.files.close()


def test_a_volume_that_does_not_exist_is_an_error_and_is_not_made(world: World) -> None:
    """Mounting it would make it, empty."""
    with pytest.raises(QuiesceError, match="absent"):
        world.files.begin(world.state("absent"))
    with pytest.raises(QuiesceError):
        world.files.measure(world.state("absent"))
    assert not world.state("absent").exists


def test_two_volumes_are_archived_at_once(world: World) -> None:
    """Level 0 of both, then level 1 of both: each knows its own."""
    for key in ("first", "second"):
        root = world.make(key)
        (root / key).write_text(key)
        world.files.begin(world.state(key))
    records = {}
    for level in (0, 1):
        for key in ("first", "second"):
            (world.state(key).mountpoint / f"{key}-{level}").write_text("x")  # type: ignore[operator]
            records[key] = archive(world, key, level)
    world.files.close()
    for key in ("first", "second"):
        target = world.base / f"by-hand-{key}"
        target.mkdir()
        restore_by_hand(world.set, records[key], target)
        assert_same(describe(world.state(key).mountpoint), target)  # type: ignore[arg-type]


def test_nothing_but_the_archives_is_left(world: World) -> None:
    """No scratch file, and what there is belongs to the caller alone."""
    make_tree(world.make("media"))
    archive(world, "media", 0)
    archive(world, "media", 1)
    world.files.close()
    assert [path.name for path in world.staging.iterdir()] == ["set"]
    for path in (world.set / "volumes").iterdir():
        status = path.stat()
        assert (os.geteuid(), 0o600) == (status.st_uid, status.st_mode & 0o777)
    shutil.rmtree(world.set)


def test_an_emptied_volume_keeps_its_root(world: World) -> None:
    """Owner, mode and inode stay; everything goes, links without what they point at; twice."""
    root = world.make("logs")
    make_tree(root)
    (root / "way out").symlink_to(world.base)
    aside = root / ".quiesce-20261121020000-abc123"
    aside.mkdir()
    (aside / "kept").write_text("a restore that is not settled needs it")
    root.chmod(0o2770)
    before = root.stat()
    for _ in range(2):
        world.files.empty(world.state("logs"))
        assert [entry.name for entry in root.iterdir()] == [aside.name]
    assert (aside / "kept").exists()
    after = root.stat()
    assert (after.st_ino, after.st_mode, after.st_uid, after.st_gid) == (
        before.st_ino,
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert world.base.is_dir()
