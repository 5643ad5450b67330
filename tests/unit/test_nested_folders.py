"""Folders of which one contains the other: what is proposed, refused and asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quiesce.observed import Mount
from quiesce.plan.draft_yaml import draft
from quiesce.plan.folders import refuse_server, refuse_servers
from quiesce.plan.found import FoundFolder, FoundServer, FoundStack
from quiesce.plan.proposal import propose
from tests.support.builders import a_stack, a_volume, a_world
from tests.unit.test_proposal import DATA, a_mount, a_service


def _proposed(data_of: str) -> str:
    server = FoundServer("db", "app", ("app",), ("password", "${DB_PASSWORD}"))
    db = a_service("db", a_mount(data_of, DATA), image="postgres:17", server=server)
    app = a_service("app", a_mount("/srv/data", "/data"), a_mount("/srv/data/media", "/media"))
    names = {"/srv/data": "./data", "/srv/data/media": "./data/media", data_of: f".{data_of[4:]}"}
    folders = {
        path: FoundFolder(shown, "folder", files=1, bytes=1) for path, shown in names.items()
    }
    return draft(propose(FoundStack("app", "compose.yaml", (app, db), (), folders=folders)))


def test_of_two_folders_the_outer_one_is_proposed() -> None:
    """It contains the inner one."""
    text = _proposed("/srv/pg")
    assert "data: {path: ./data, " in text
    assert "# - ./data/media of app: inside of ./data" in text


def test_a_folder_around_the_data_of_a_server_is_not_proposed() -> None:
    """Its files cannot be archived while the server runs. The folders in it are proposed."""
    text = _proposed("/srv/data/pg")
    assert "path: ./data," not in text
    assert "media: {path: ./data/media, " in text
    assert "pg: {path: ./data/pg, " in text
    said = " ".join(line.removeprefix("# ").strip() for line in text.splitlines())
    assert (
        "./data of app: contains ./data/pg, which a database server writes to. List the other "
        "folders in it that are to be backed up, then ./data with 'backup: never'"
    ) in said


def test_a_server_whose_data_is_in_a_kept_folder_is_refused_with_what_to_write() -> None:
    """The whole folder is not by-dump: it may contain anything."""
    world = a_world()
    folder = Path("/srv/data")
    stack = a_stack(volumes=(a_volume("data", folder=folder), a_volume("redis-data")))

    def mounted(source: str, *, writable: bool = True) -> list[tuple[str, str]]:
        mount = Mount("data", source, DATA, writable)
        db = replace(world.service("db"), mounts=(mount, mount))
        services = tuple(db if s.name == "db" else s for s in world.services)
        errors = refuse_servers(stack, replace(world, services=services))
        return [(error.fact, error.hint) for error in errors]

    ((fact, hint),) = mounted("/srv/data/pg")
    assert fact == (
        "db is a database server and writes to path data: its folder /srv/data/pg is inside of "
        "/srv/data"
    )
    assert hint == (
        "replace path data in stack.yaml by those folders in it that are to be backed up, and mark "
        "/srv/data/pg 'backup: by-dump'"
    )
    for whole in ("/srv/data", "/srv"):
        ((fact, hint),) = mounted(whole)
        assert fact == "db is a database server and writes to path data"
        assert hint.startswith("mark path data 'backup: by-dump'")
    assert mounted("/srv/data/pg", writable=False) == []


def test_a_server_that_only_reads_a_part_of_a_folder_is_not_said_to_write_there() -> None:
    """Nor one that has another folder's part: what it writes to is the whole folder."""
    world, folder = a_world(), Path("/srv/data")
    stack = a_stack(volumes=(a_volume("data", folder=folder), a_volume("other")))
    mounts = (
        Mount("data", "/srv/data/conf", "/conf", False),
        Mount("other", "/srv/data/pg", "/pg", True),
        Mount("data", "/srv/data", DATA, True),
    )
    db = replace(world.service("db"), mounts=mounts)
    assert refuse_server(stack, db, "data").fact == (
        "db is a database server and writes to path data"
    )
