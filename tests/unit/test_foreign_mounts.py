"""Who outside of the project keeps its services from being started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from quiesce.adapters.compose.external_users import ForeignWriters
from quiesce.adapters.compose.model import ComposeModel, DeclaredVolume
from quiesce.errors import RequestError
from quiesce.observe import observe
from quiesce.observed import ForeignMount, Mount, Observed, Service
from quiesce.plan import services
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.cold import plan_cold
from quiesce.plan.foreign_mounts import refuse_foreign_mounts
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.shutdown import ShutdownRequest, plan_shutdown
from quiesce.plan.steps import Plan
from tests.fakes.runtime import FakeRuntime, make_service
from tests.support.builders import RUN, a_set, a_stack, a_world

TWIN = ForeignMount("twin-db-1", "twin", "postgres-data", server=True)
DATA = "/var/lib/postgresql/data"


class Engine:
    """What the engine lists as running, and the volumes it knows."""

    def __init__(self, *running: Mapping[str, Any], **volumes: Mapping[str, Any]) -> None:
        self._running = running
        self._volumes = volumes

    def containers(self) -> list[Mapping[str, Any]]:
        return list(self._running)

    def inspect_volume(self, name: str) -> Mapping[str, Any]:
        return self._volumes.get(name, {"Driver": "local", "Options": None})


def _running(
    name: str, *mounts: tuple[str, str], project: str = "", target: str = "/x", **labels: str
) -> dict:
    """A container as the engine lists it; each mount is a volume, or a path and a mode."""
    found = [
        {
            "Type": "bind" if source.startswith("/") else "volume",
            "Name": "" if source.startswith("/") else source,
            "Source": source if source.startswith("/") else f"/engine/volumes/{source}/_data",
            "RW": mode == "rw",
            "Destination": target,
        }
        for source, mode in mounts
    ]
    own = {"com.docker.compose.project": project} if project else {}
    marks = {key.replace("_", "."): value for key, value in labels.items()}
    return {"Id": name, "Names": [f"/{name}"], "Labels": {**own, **marks}, "Mounts": found}


MODEL = ComposeModel(
    (),
    {
        "postgres-data": DeclaredVolume("postgres-data", "app-pg", "local", {}, False, {}),
        "backend-media": DeclaredVolume("backend-media", "app-media", "local", {}, False, {}),
        "alias": DeclaredVolume(
            "alias", "app-alias", "local", {"type": "none", "o": "bind", "device": "/srv/pg"},
            False, {},
        ),
    },
)  # fmt: skip


def _found(service: str, mount: Mount, *running: Mapping[str, Any], **volumes: Any) -> list[str]:
    connection: Any = type("Connection", (), {"api": Engine(*running, **volumes)})()
    stack = replace(a_stack(), ignored_writers=("known",))
    writers = ForeignWriters(cast(Any, connection), stack)
    return [m.container for m in writers.at(writers.places(service, [mount], MODEL))]


def _volume(key: str, target: str = "/x", *, writable: bool = True) -> Mount:
    return Mount(key, key, target, writable)


def test_who_mounts_the_same_volume_writably_is_found() -> None:
    """Of another project or of none; who only reads, and who mounts another one, is not."""
    media = _volume("backend-media")
    twin = _running("twin-app-1", ("app-media", "rw"), project="twin")
    assert _found("backend", media, twin) == ["twin-app-1"]
    assert _found("backend", media, _running("loose", ("app-media", "rw"))) == ["loose"]
    assert _found("backend", media, _running("reads", ("app-media", "ro"))) == []
    assert _found("backend", media, _running("other", ("media", "rw"))) == []
    assert _found("proxy", _volume("backend-media", writable=False), twin) == []


def test_what_belongs_to_the_project_is_no_stranger() -> None:
    """Its services, its helpers, and what stack.yaml permits."""
    media = _volume("backend-media")
    mounts = ("app-media", "rw")
    assert _found("backend", media, _running("core-app-1", mounts, project="core")) == []
    marks = {"quiesce_helper": "1", "quiesce_project": "core"}
    assert _found("backend", media, _running("helper", mounts, **marks)) == []
    assert _found("backend", media, _running("known", mounts)) == []
    marks["com_docker_compose_oneoff"] = "True"
    once = _running("once", mounts, project="core", com_docker_compose_oneoff="True")
    assert _found("backend", media, once) == []


def test_beside_a_database_server_nothing_is_permitted() -> None:
    """Neither what is ignored elsewhere nor a container of the project that runs once."""
    data = _volume("postgres-data", DATA)
    mounts = ("app-pg", "rw")
    assert _found("db", data, _running("known", mounts)) == ["known"]
    once = _running("once", mounts, project="core", com_docker_compose_oneoff="True")
    assert _found("db", data, once) == ["once"]


@pytest.mark.parametrize("target", [DATA, "/var/lib/postgresql", f"{DATA}/base"])
def test_a_folder_of_the_machine_is_a_data_directory_as_well(target: str) -> None:
    """Mounted by its path, or as a volume that is a name for it. Sources are shared on purpose."""
    folder = Mount(None, "/srv/pg", target, True)
    assert _found("db", folder, _running("twin", ("/srv/pg", "rw"))) == ["twin"]
    options = {"type": "none", "o": "bind", "device": "/srv/pg/"}
    alias = {"Driver": "local", "Options": options}
    assert _found("db", folder, _running("twin", ("named", "rw")), named=alias) == ["twin"]
    assert _found("db", folder, _running("twin", ("named", "rw"))) == []
    # An image of a server whose database is not declared is a server all the same.
    assert _found("mystery", folder, _running("twin", ("/srv/pg", "rw"))) == ["twin"]
    sources = replace(folder, target="/app")
    assert _found("backend", sources, _running("twin", ("/srv/pg", "rw"))) == []
    scripts = Mount(None, "/srv/init", "/docker-entrypoint-initdb.d", True)
    assert _found("db", scripts, _running("twin", ("/srv/init", "rw"))) == []


def test_a_data_directory_is_known_by_a_link_and_by_parts_of_it(tmp_path: Path) -> None:
    """A file manager that was given the whole tree is no second server."""
    (tmp_path / "real" / "pg").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folder = Mount(None, f"{tmp_path}/real/pg", DATA, True)
    assert _found("db", folder, _running("twin", (f"{tmp_path}/link/pg", "rw"))) == ["twin"]
    assert _found("db", folder, _running("twin", (f"{tmp_path}/real/pg/base", "rw"))) == ["twin"]
    assert _found("db", folder, _running("twin", (f"{tmp_path}/real/pg2", "rw"))) == []
    assert _found("db", folder, _running("manager", (str(tmp_path), "rw"))) == []
    around = _running("twin", (f"{tmp_path}/real", "rw"), target="/var/lib/postgresql")
    assert _found("db", folder, around) == ["twin"]


def test_a_volume_is_known_by_whatever_it_is_reached_through() -> None:
    """Its folder mounted by path, and a second volume of the same folder."""
    data = _volume("postgres-data", DATA)
    by_path = _running("twin", ("/var/lib/docker/volumes/app-pg/_data", "rw"))
    assert _found("db", data, by_path) == ["twin"]
    assert _found("db", _volume("alias", DATA), _running("twin", ("/srv/pg", "rw"))) == ["twin"]


# ------------------------------------------------------------------------------------- plans


def _taken(*names: str, states: Any = None) -> Observed:
    world = a_world(states)
    return replace(
        world,
        services=tuple(
            replace(service, foreign_mounts=(TWIN,)) if service.name in names else service
            for service in world.services
        ),
    )


def _plans(world: Observed) -> dict[str, Plan]:
    stack = a_stack()
    return {
        "up": services.plan_up(stack, world, RUN, ()),
        "restart": services.plan_restart(stack, world, RUN, ()),
        "rebuild": services.plan_rebuild(stack, world, RUN, ("db",)),
        "backup": plan_backup(stack, world, BackupRequest(), RUN, "core-1"),
        "backup-live": plan_backup(stack, world, BackupRequest(mode="live"), RUN, "core-1"),
        "backup-cold": plan_cold(stack, world, BackupRequest(mode="cold"), RUN, "core-1"),
    }


@pytest.mark.parametrize("name", ["up", "restart", "rebuild", "backup", "backup-live"])
def test_what_would_start_or_copy_it_is_refused_before_anything(name: str) -> None:
    """The container and its project are named."""
    world = _taken("db")
    with pytest.raises(RequestError, match="twin-db-1 of project twin has volume") as caught:
        refuse_foreign_mounts(world, _plans(world)[name])
    assert "nothing was changed" in caught.value.fact
    assert caught.value.hint == "stop twin-db-1 first"


def test_everybody_else_who_writes_there_is_a_detail() -> None:
    """The first is the fact."""
    world = _taken("db")
    others = (TWIN, replace(TWIN, container="twin-db-2"), replace(TWIN, container="twin-db-3"))
    services_ = tuple(
        replace(service, foreign_mounts=others if service.foreign_mounts else ())
        for service in world.services
    )
    world = replace(world, services=services_)
    with pytest.raises(RequestError) as caught:
        refuse_foreign_mounts(world, _plans(world)["up"])
    assert "twin-db-1" in caught.value.fact
    assert caught.value.details == (others[1].fact, others[2].fact)


def test_start_and_restore_are_refused_for_what_they_start() -> None:
    """The backend is what a restore stops and starts."""
    world = _taken("db", states={"db": "exited"})
    with pytest.raises(RequestError):
        refuse_foreign_mounts(world, services.plan_start(a_stack(), world, RUN, ()))
    world = _taken("backend")
    restore = plan_restore(
        a_stack(), world, a_set(), RestoreRequest(), RestoreInputs(), RUN, "core-1-safety"
    )
    with pytest.raises(RequestError):
        refuse_foreign_mounts(world, restore)


def test_who_starts_nothing_there_is_let_through() -> None:
    """A stop, a shutdown, and a restart of something else."""
    world = _taken("db")
    stack = a_stack()
    refuse_foreign_mounts(world, services.plan_stop(stack, world, RUN, ()))
    refuse_foreign_mounts(world, services.plan_down(stack, world, RUN, ()))
    refuse_foreign_mounts(world, plan_shutdown(stack, world, ShutdownRequest(), RUN, "core-1"))
    refuse_foreign_mounts(world, services.plan_restart(stack, world, RUN, ("frontend",)))


# ----------------------------------------------------------------------------------- observed


class NoServer:
    """Nothing can be asked."""

    def observe(self, databases: object) -> tuple[()]:
        assert not databases
        return ()

    def undeclared(self, databases: object) -> tuple[()]:
        return ()


def _observed(service: Service, folder: Path) -> Observed:
    runtime = FakeRuntime([service])
    stack = a_stack(folder, volumes=())
    return observe(stack, runtime, cast(Any, NoServer()))


def test_a_server_that_runs_elsewhere_on_its_data_is_not_to_be_started(tmp_path: Path) -> None:
    """Without a container here the other project may be this very stack."""
    service = replace(make_service("db", state=None), foreign_mounts=(TWIN,))
    state = _observed(service, tmp_path).database("rulesdb")
    assert "container twin-db-1 of project twin" in state.problem
    assert "if project twin is this stack, add 'project: twin'" in state.remedy
    service = replace(make_service("db", state="exited"), foreign_mounts=(TWIN,))
    assert _observed(service, tmp_path).database("rulesdb").remedy == "stop twin-db-1 first"
    world = _observed(service, tmp_path)
    with pytest.raises(RequestError, match="twin-db-1") as caught:
        plan_backup(a_stack(volumes=()), world, BackupRequest(), RUN, "core-1")
    assert "inv up" not in caught.value.hint


def test_a_paused_server_is_called_paused(tmp_path: Path) -> None:
    """It neither answers nor is it down; `up` would not help."""
    state = _observed(make_service("db", state="paused"), tmp_path).database("rulesdb")
    assert state.problem == "db is paused"
    assert "docker unpause fake-db-1" in state.remedy
