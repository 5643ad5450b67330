"""What `init` writes, compared whole: the layout, and a reason for each entry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quiesce.plan.draft_yaml import draft
from quiesce.plan.found import FoundFolder, FoundProbe, FoundServer, FoundService, FoundStack
from quiesce.plan.proposal import propose
from tests.unit.test_proposal import DATA, a_mount, a_service

FOLDER = Path(__file__).parent / "drafts"
#: Longer than a line.
LONG = "/long" + 20 * "-name"
PASSWORD = ("password", "${DB_PASSWORD}")


def _server(name: str, *databases: str, **facts: object) -> FoundServer:
    return FoundServer(name, "app", databases, PASSWORD, **facts)  # type: ignore[arg-type]


SERVICES = (
    a_service(
        "db",
        *(a_mount("pgdata", DATA), a_mount("pgconf", "/etc/pg"), a_mount("/srv/shop/pg", "/pg")),
        image="postgres:17",
        server=_server("db", "shop", "Shop Archive", asked=True, data="/pg"),
    ),
    a_service(
        "mail-db",
        a_mount("maildata", "/var/lib/postgresql"),
        server=_server("mail-db", "mail", data=DATA, problem="the password is wrong"),
    ),
    # By hand, although its profile is not active.
    a_service(
        "tools-db",
        a_mount("toolsdata", f"{DATA}/16"),
        server=_server("tools-db", "tools", data=DATA, asked=True),
        active=False,
        running=True,
        profiles=("tools",),
    ),
    a_service(
        "old-db",
        a_mount("olddata", DATA),
        server=_server("old-db", "old"),
        active=False,
        profiles=("old", "all"),
    ),
    a_service("stats-db", server=_server("stats-db", "stats")),
    a_service(
        "redis",
        a_mount("redis", "/data"),
        stores="Redis",
        anonymous=("/extra", "/a-folder-with-a-name-of-many-words", "/another", LONG),
    ),
    a_service("cache", a_mount("mem", "/data"), stores="memcached"),
    a_service(
        "web",
        *(a_mount("uploads", "/app/uploads"), a_mount("thumbs", "/app/.cache")),
        *(a_mount("shared", "/cache"), a_mount("journal", "/var/log/app")),
        *(a_mount("/srv/shop", "/code"), a_mount("/srv/shop/Büro & Lager", "/app/files")),
        *(a_mount("/srv/shop/files", "/files"), a_mount("/srv/shop/files/in", "/in")),
        a_mount("/srv/shop/files/conf", "/conf", writable=False),
        *(a_mount("/srv/shop/key", "/key"), a_mount("/srv/shop/a.db", "/a.db")),
        *(a_mount("/run/x.sock", "/x.sock"), a_mount("/srv/shop/sock", "/sock")),
        *(a_mount("/etc/ssl", "/etc/ssl"), a_mount("/not/looked/at", "/y")),
        *(a_mount(f"/srv/shop{LONG}", "/long", writable=False), a_mount("x" * 47, "/just/fits")),
        depends_on=("db", "redis", "elsewhere"),
        probes=(FoundProbe("web", 8080, "/health", "web: from its health check"),),
        anonymous=("/state",),
    ),
    a_service(
        "worker",
        *(a_mount("uploads", "/app/uploads"), a_mount("shared", "/var/log/worker")),
        *(a_mount("/srv/shop/files", "/files", writable=False), a_mount("/srv/new", "/new")),
        *(a_mount("/srv/shop/私", "/one"), a_mount("/srv/none", "/none")),
        depends_on=("web",),
    ),
    a_service("backup", a_mount("uploads", "/src", writable=False), depends_on=("worker",)),
)
FOLDERS = {
    "/srv/shop": FoundFolder(".", "folder"),
    f"/srv/shop{LONG}": FoundFolder(f".{LONG}", "folder"),
    "/srv/shop/pg": FoundFolder("./pg", "folder", files=1, bytes=999),
    "/srv/shop/Büro & Lager": FoundFolder("./Büro & Lager", "folder", files=1234, bytes=10**12),
    "/srv/shop/files": FoundFolder("./files", "folder", files=9, bytes=1000, more=True),
    "/srv/shop/files/in": FoundFolder("./files/in", "folder"),
    "/srv/shop/files/conf": FoundFolder("./files/conf", "folder"),
    "/srv/shop/key": FoundFolder("./key", "file", unkept="its name is that of a secret"),
    "/srv/shop/a.db": FoundFolder("./a.db", "file", unkept="a SQLite database"),
    "/srv/shop/sock": FoundFolder("./sock", "special"),
    "/run/x.sock": FoundFolder("/run/x.sock", "special", inside=False),
    "/etc/ssl": FoundFolder("/etc/ssl", "folder", inside=False),
    "/srv/new": FoundFolder("/srv/new", "missing", inside=False),
    "/srv/none": FoundFolder("/srv/none", "folder", inside=False),
    "/srv/shop/私": FoundFolder("./私", "folder", files=2, bytes=10**15),
}
STACKS = {
    "everything": FoundStack(
        "shop",
        "compose.yaml",
        SERVICES,
        (*dict.fromkeys(m.volume for s in SERVICES for m in s.mounts if m.volume), "unused"),
        external=frozenset({"shared"}),
        folders=FOLDERS,
        files=("compose.yaml", "more.yaml"),
        env_file="prod.env",
        context="far away",
        profiles=("web", "on"),
        timezone="Europe/Berlin",
        reserved=frozenset({"/srv/shop"}),
    ),
    "files_only": FoundStack(
        "p" * 61, "compose.yaml", (a_service("web", a_mount("uploads", "/data")),), ("uploads",)
    ),
    "nothing": FoundStack("shop", "compose.yaml", (FoundService("web", "nginx"),), ()),
}


@pytest.mark.parametrize("name", STACKS)
def test_the_draft_reads_as_it_was_reviewed(name: str) -> None:
    """UPDATE_GOLDEN=1 rewrites the files; the difference is for a person to read."""
    text = draft(propose(STACKS[name]))
    file = FOLDER / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_file_is_left_without_a_stack() -> None:
    """A file nobody compares proves nothing."""
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(STACKS)
