"""What is refused, planned and found about folders in `paths`, without an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quiesce.adapters.volumes.folder_root import require_unmoved
from quiesce.app import drill_markers
from quiesce.app.immutable import refuse_mount_points
from quiesce.errors import QuiesceError, RequestError
from quiesce.execute.instructions import restore_instructions
from quiesce.execute.run import Ports
from quiesce.model import LeftOutFile, VolumeRecord
from quiesce.observed import Mount, Observed, VolumeState
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.cold import plan_cold
from quiesce.plan.offsite import _stored_bytes
from quiesce.plan.steps import ArchiveVolume, steps_of
from quiesce.undeclared import find_undeclared
from tests.support.builders import (
    RUN,
    a_service,
    a_set,
    a_stack_with_folders,
    a_world_with_folders,
)


def without(world: Observed, key: str) -> Observed:
    """The world, but this source does not exist."""
    volumes = tuple(replace(v, exists=v.key != key) for v in world.volumes)
    return replace(world, volumes=volumes)


def test_archives_of_folders_have_a_folder_of_their_own() -> None:
    """Beside those of volumes."""
    plan = plan_backup(a_stack_with_folders(), a_world_with_folders(), BackupRequest(), RUN, "s")
    files = {s.file for _, s in steps_of(plan.nodes) if isinstance(s, ArchiveVolume)}
    assert files == {"volumes/redis-data", "paths/photos", "paths/previews"}


@pytest.mark.parametrize("planner", [plan_backup, plan_cold])
def test_a_folder_that_is_missing_ends_a_backup(planner: Any) -> None:
    """Unless it is not asked for; a volume that is missing was never used."""
    stack, world = a_stack_with_folders(), without(a_world_with_folders(), "photos")
    with pytest.raises(RequestError, match=r"path photos does not exist: .* /mnt/photos") as caught:
        planner(stack, world, BackupRequest(), RUN, "s")
    assert "mount" in caught.value.hint
    assert planner(stack, world, BackupRequest(only=("previews",)), RUN, "s")
    gone = without(a_world_with_folders(), "redis-data")
    assert planner(stack, gone, BackupRequest(), RUN, "s")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("code", "path code is marked 'backup: never'"),
        ("pgdata", "path pgdata is marked 'backup: by-dump'"),
        ("phootos", "there is no database, volume or path phootos"),
    ],
)
def test_what_cannot_be_chosen_is_said(name: str, words: str) -> None:
    """With what can."""
    request = BackupRequest(only=(name,))
    with pytest.raises(RequestError, match=words) as caught:
        plan_backup(a_stack_with_folders(), a_world_with_folders(), request, RUN, "s")
    assert "photos" in caught.value.hint


def test_a_server_that_writes_to_a_kept_folder_is_refused() -> None:
    """It keeps running during a backup; a folder that it only reads is mounted so."""
    world = a_world_with_folders()
    services = tuple(
        replace(s, mounts=(Mount("photos", "/mnt/photos", "/init", True),)) if s.name == "db" else s
        for s in world.services
    )
    with pytest.raises(RequestError, match=r"db is a database server .* path photos") as caught:
        plan_backup(
            a_stack_with_folders(), replace(world, services=services), BackupRequest(), RUN, "s"
        )
    assert ":ro" in caught.value.hint


def mounted(*points: str) -> Ports:
    """Ports that know of these mount points."""
    return cast(Ports, SimpleNamespace(volumes=SimpleNamespace(mount_points=lambda _: points)))


@pytest.mark.parametrize(
    ("path", "refused"),
    [("", True), ("a/disk", True), ("a/disk/x", True), ("a", True), ("a/dis", False), ("b", False)],
)
def test_a_mount_point_in_what_is_exchanged_is_refused(path: str, *, refused: bool) -> None:
    """In it or around it; not beside it, and not of volumes, which are asked nothing."""
    state = VolumeState("photos", "/mnt/photos", True, "bind", {}, None, ())
    if refused:
        with pytest.raises(RequestError, match="contains a mount point"):
            refuse_mount_points(mounted("./a/disk"), [state], path)
    else:
        refuse_mount_points(mounted("./a/disk"), [state], path)
    refuse_mount_points(mounted("./a/disk"), [replace(state, name="app-photos")], path)
    refuse_mount_points(mounted("./a/disk"), [replace(state, exists=False)], path)


def test_a_link_that_came_into_the_way_is_refused(tmp_path: Path) -> None:
    """A service that may write to the parent could have made it."""
    real = tmp_path / "real"
    (real / "photos").mkdir(parents=True)
    require_unmoved(str(real / "photos"))
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(QuiesceError, match="symbolic link"):
        require_unmoved(str(tmp_path / "link/photos"))


def test_a_folder_that_is_never_kept_around_the_stack_covers_nothing_in_it(tmp_path: Path) -> None:
    """`./:/code` says nothing of `./data`; the line to add has a key that is free."""
    stack = a_stack_with_folders(tmp_path)
    for name in ("data", "photos", "previews"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    places = (tmp_path, tmp_path / "data", tmp_path / "photos", tmp_path / "previews/x")
    service = replace(
        a_service("backend"), mounts=tuple(Mount(None, str(p), f"/{p.name}", True) for p in places)
    )
    found = find_undeclared(stack, [service], (), (), local=True, contents=None)
    assert [one.name for one in found] == [str(tmp_path / "data"), str(tmp_path / "photos")]
    assert found[0].hint.startswith("add to paths:  data: {path: ./data, backup: files}")
    assert "photos-2: {path: ./photos" in found[1].hint


def test_the_page_for_people_names_folders_and_files_that_are_missing() -> None:
    """With the commands for a folder."""
    record = VolumeRecord("photos", "/mnt/photos", 3, 9, ("paths/photos.0.tar.zst",), None, "zstd")
    manifest = replace(
        a_set().manifest, volumes=(record,), stack_left_out=(LeftOutFile(".env", "an env file"),)
    )
    page = restore_instructions(manifest)
    assert "## Path photos" in page
    assert "it was the folder `/mnt/photos`" in page
    assert "-f paths/photos.0.tar.zst" in page
    assert "- `.env`: an env file\n" in page
    assert "files/" not in restore_instructions(a_set().manifest)


def test_a_store_counts_the_bytes_of_folders() -> None:
    """Retention notices when a folder is suddenly small."""
    entries = [SimpleNamespace(file=f"paths/photos.{n}.tar.zst", bytes=10) for n in (0, 1)]
    found = cast(Any, SimpleNamespace(objects=entries))
    assert _stored_bytes(found) == {"paths/photos": 20}


def test_a_drills_marker_is_written_into_the_folder() -> None:
    """Not beside it, where a service has a folder around it mounted."""
    world = a_world_with_folders()
    mounts = (
        Mount("photos", "/mnt", "/all", True),
        Mount("previews", "/stack/previews/a", "/a", True),
    )
    services = tuple(
        replace(s, mounts=mounts if s.name == "backend" else ()) for s in world.services
    )
    ports = cast(Ports, SimpleNamespace(runtime=SimpleNamespace(services=lambda: services)))
    assert drill_markers._writable(a_stack_with_folders(), ports) == [
        ("photos", "backend", "/all/photos/quiesce-drill.txt"),
        ("previews", "backend", "/a/quiesce-drill.txt"),
    ]
