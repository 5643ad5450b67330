"""Who reaches a folder in `paths`, and what it must not share files with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest

from quiesce.adapters.compose.engine import EngineConnection
from quiesce.adapters.compose.engine_folder import exists_on_engine
from quiesce.adapters.compose.folders import Folders
from quiesce.adapters.compose.model import ComposeModel, DeclaredVolume
from quiesce.errors import RequestError
from quiesce.observed import Engine, Mount, Service
from tests.support.builders import a_volume

LABELS = {"com.docker.compose.project": "app"}


def connection(*containers: dict[str, Any], local: bool = True) -> EngineConnection:
    """An engine that has these containers."""
    made = SimpleNamespace(
        api=SimpleNamespace(containers=lambda all: [*containers]),  # noqa: A006
        info={"DockerRootDir": "/var/lib/docker"},
        engine=lambda: Engine("E", "docker", "28", local=local),
    )
    return cast(EngineConnection, made)


def folders(engine: EngineConnection, **paths: Path) -> Folders:
    """These folders, declared."""
    declared = tuple(a_volume(key, folder=folder) for key, folder in paths.items())
    return Folders(declared, engine, "app", tuple)


def a_model(**devices: str) -> ComposeModel:
    """A model with volumes that are binds of these folders; "" for a plain one."""
    return ComposeModel(
        (),
        {
            key: DeclaredVolume(
                key,
                key,
                "local",
                {"device": d, "o": "bind", "type": "none"} if d else {},
                False,
                {},
            )
            for key, d in devices.items()
        },
    )


def with_mounts(made: Folders, *mounts: Mount, model: ComposeModel | None = None) -> list[Mount]:
    """The mounts that a service has besides those that it declares."""
    service = Service("web", (), mounts, (), "image", has_health=False)
    (found,) = made.with_mounts([service], model)
    return list(found.mounts[len(mounts) :])


@pytest.mark.parametrize(
    ("source", "reached"),
    [
        ("photos", True),
        ("photos/", True),
        ("photos/albums/new", True),
        (".", True),
        ("link", True),
        ("photos2", False),
        ("other", False),
    ],
)
def test_a_mount_of_it_in_it_or_around_it_reaches_a_folder(
    tmp_path: Path, source: str, *, reached: bool
) -> None:
    """Also through a link, which the engine follows."""
    (tmp_path / "photos/albums").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "photos/albums")
    made = folders(connection(), photos=tmp_path / "photos")
    more = with_mounts(made, Mount(None, f"{tmp_path}/{source}", "/x", False))
    assert more == ([Mount("photos", f"{tmp_path}/{source}", "/x", False)] if reached else [])


def test_a_volume_that_is_a_bind_of_it_reaches_a_folder(tmp_path: Path) -> None:
    """A plain volume does not; one mount may reach several folders."""
    made = folders(connection(), a=tmp_path / "a", b=tmp_path / "b")
    model = a_model(bound=str(tmp_path), plain="")
    assert with_mounts(made, Mount("plain", "plain", "/p", True), model=model) == []
    assert with_mounts(made, Mount("bound", "bound", "/x", True), model=model) == [
        Mount("a", str(tmp_path), "/x", True),
        Mount("b", str(tmp_path), "/x", True),
    ]


class Machine:
    """The API of an engine whose machine has these folders, as far as a search for one needs it."""

    def __init__(self, kind: str, *present: str) -> None:
        self.kind = kind
        self.folders = {"/", *present}
        self.containers: list[str] = []

    def create_host_config(self, *, mounts: list[dict[str, Any]], network_mode: str) -> Any:
        """Return the source of the only mount."""
        return mounts[0]["Source"]

    def create_container(self, image: str, *, host_config: str, **options: Any) -> dict[str, str]:
        """Refuse a folder that does not exist, or make it."""
        if image == "absent":
            raise docker.errors.ImageNotFound("no such image")
        if host_config not in self.folders and self.kind == "docker":
            raise docker.errors.APIError("no", explanation="bind source path does not exist: /x")
        self.folders.add(host_config)
        self.containers.append(host_config)
        return {"Id": host_config}

    def get_archive(self, container: str, path: str) -> None:
        """Raise NotFound if the mounted folder has nothing there."""
        if container.rstrip("/") + path.removeprefix("/quiesce") not in self.folders:
            raise docker.errors.NotFound("could not find the file")

    def remove_container(self, container: str, *, v: bool, force: bool) -> None:
        """Remove a container that was made."""
        assert (v, force) == (True, True)
        self.containers.remove(container)


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_a_folder_is_looked_for_without_making_it(kind: str) -> None:
    """Also where a bind mount of a folder makes that folder."""
    machine = Machine(kind, "/data")
    engine = cast(
        EngineConnection,
        SimpleNamespace(api=machine, engine=lambda: Engine("E", kind, "5", local=False)),
    )
    found = [exists_on_engine(engine, Path(at), ["absent", "tiny"]) for at in ("/data", "/gone")]
    assert found == [True, False]
    assert machine.folders == {"/", "/data"}
    assert machine.containers == []
    assert exists_on_engine(engine, Path("/gone"), ["absent"]), "nobody can say"


def container(name: str, source: Path | str, *, rw: bool, state: str = "running", **labels: str):
    """A container as the engine lists it."""
    mount = {"Type": "bind", "Source": str(source), "RW": rw}
    return {"Id": name, "Names": [f"/{name}"], "State": state, "Labels": labels, "Mounts": [mount]}


def test_external_containers_use_a_folder(tmp_path: Path) -> None:
    """Those that read it, too, but not those that read all of the machine, nor our own."""
    photos = tmp_path / "photos"
    photos.mkdir()
    engine = connection(
        container("writer", photos / "new", rw=True),
        container("around", tmp_path, rw=True),
        container("asleep", photos, rw=True, state="exited"),
        container("reader", photos, rw=False),
        container("monitor", "/", rw=False),
        container("own", photos, rw=True, **LABELS),
        container("oneoff", photos, rw=True, **LABELS, **{"com.docker.compose.oneoff": "True"}),
    )
    made = folders(engine, photos=photos)
    (state,) = made.states(made.declared, a_model())
    assert state.outside == ("around", "asleep", "oneoff", "reader", "writer")
    assert state.outside_writers == ("around", "oneoff", "writer")
    assert (state.name, state.exists, state.mountpoint) == (str(photos), True, photos)


def test_what_is_no_folder_is_refused_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    """A file cannot be exchanged by its entries."""
    (tmp_path / "file").write_text("x")
    made = folders(connection(), a=tmp_path / "file")
    with pytest.raises(RequestError, match="path a is not a folder"):
        made.states(made.declared, None)
    made = folders(connection(), a=tmp_path / "file/below", b=tmp_path / "absent")
    assert [state.exists for state in made.states(made.declared, None)] == [False, False]


@pytest.mark.parametrize(
    ("paths", "model", "words"),
    [
        ({"a": "a"}, {"a": ""}, "has the same key as a volume"),
        ({"a": "/var/lib/docker/volumes/x/_data"}, {}, "the engine's own folder"),
        ({"a": "/var"}, {}, "the engine's own folder"),
        ({"a": "a"}, {"v": "a/b"}, "shares files with volume v"),
        ({"a": "a", "b": "link/b"}, {}, "path b .* shares files with path a"),
    ],
)
def test_a_folder_that_shares_files_is_refused(
    tmp_path: Path, paths: dict[str, str], model: dict[str, str], words: str
) -> None:
    """Its content would be in a set twice, and restored from one over the other."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    made = folders(connection(), **{key: tmp_path / path for key, path in paths.items()})
    devices = {key: str(tmp_path / path) if path else "" for key, path in model.items()}
    with pytest.raises(RequestError, match=words):
        made.states(made.declared, a_model(**devices))
