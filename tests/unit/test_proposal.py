"""What `init` proposes, from facts and from Compose models; no engine, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.config import load_stack
from quiesce.errors import ConfigError
from quiesce.observed import Mount
from quiesce.plan.draft_yaml import additions, draft, quoted
from quiesce.plan.found import FoundFolder, FoundProbe, FoundServer, FoundService, FoundStack
from quiesce.plan.found_servers import find_server
from quiesce.plan.known_images import is_postgres, is_system, stores, url_of, why_never
from quiesce.plan.proposal import Entry, missing, propose

DATA = "/var/lib/postgresql/data"
TARGET = "/run/secrets/db-pw"


def a_mount(source: str, target: str, *, writable: bool = True) -> Mount:
    """A bind mount for an absolute source, else a volume."""
    volume = None if source.startswith("/") else source
    return Mount(volume, source, target, writable)


def a_service(name: str, *mounts: Mount, **facts: Any) -> FoundService:
    """A service of an application."""
    return FoundService(name, facts.pop("image", "example/app:1"), mounts=mounts, **facts)


def a_database(**facts: Any) -> FoundService:
    """A PostgreSQL server with its data in the volume `pgdata`."""
    server = FoundServer(
        "db", "app", facts.pop("names", ("app",)), ("password", "${DB_PASSWORD}"), **facts
    )
    return a_service("db", a_mount("pgdata", DATA), image="postgres:17", server=server)


def found(*services: FoundService, **facts: Any) -> FoundStack:
    """What was found in a folder with these services."""
    volumes = dict.fromkeys(m.volume for s in services for m in s.mounts if m.volume)
    return FoundStack("app", "compose.yaml", services, tuple(volumes), **facts)


def loaded(text: str, folder: Path, env: str = "DB_PASSWORD=secret\n") -> Any:
    """The text as Quiesce reads it, which it has to do without a mistake."""
    (folder / ".env").write_text(env)
    return load_stack(folder / "stack.yaml", None, {}, content=text.encode())


def fields(entries: Sequence[Entry]) -> Mapping[str, Mapping[str, str]]:
    """The fields of entries by key."""
    return {entry.key: dict(entry.fields) for entry in entries}


def test_the_whole_text_is_a_valid_stack(tmp_path: Path) -> None:
    """Everything there is, in one file that loads; a comment says why."""
    web = a_service(
        "web",
        a_mount("uploads", "/app/uploads"),
        a_mount("thumbs", "/app/.cache"),
        a_mount("/srv/app/logs", "/var/log/app"),
        depends_on=("db", "redis"),
        probes=(FoundProbe("web", 8080, "/health", "web: from its health check"),),
    )
    redis = a_service("redis", a_mount("redis", "/data"), image="redis:7", stores="Redis")
    folders = {"/srv/app/logs": FoundFolder("./logs", "folder", files=3, bytes=2_500_000)}
    stack = found(web, a_database(asked=True), redis, folders=folders, timezone="Europe/Berlin")
    text = draft(propose(stack))
    read = loaded(text, tmp_path)
    assert read.timezone == "Europe/Berlin"
    (database,) = read.databases
    assert (database.name, database.service, database.user) == ("app", "db", "app")
    assert database.password.reveal() == "secret"
    assert {v.key: v.backup for v in read.volumes} == {
        "uploads": "files",
        "thumbs": "never",
        "pgdata": "by-dump",
        "redis": "files",
    }
    assert read.restart.order == (), "depends_on says it, also of services that come later"
    assert "# restart: {order: [db, redis, web]}" in text
    assert read.probes[0].path == "/health"
    assert "# not backed up: /app/.cache of web is a cache" in text
    assert "# /var/log/app of web: 2.5 MB in 3 files" in text
    assert "secret" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_each_database_of_a_server_has_its_entry(tmp_path: Path) -> None:
    """Names that are no keys, names that two servers share, names that differ in case only."""
    one = a_database(names=("app", "App", "my db", "-odd"))
    server = FoundServer("db2", "postgres", ("app",), None)
    two = a_service("db2", server=server, image="postgres:17")
    text = draft(propose(found(one, two)))
    read = loaded(text, tmp_path)
    named = {(d.service, d.name) for d in read.databases}
    assert named == {("db", "app"), ("db", "App"), ("db", "my db"), ("db", "-odd"), ("db2", "app")}
    assert len({d.key.lower() for d in read.databases}) == 5


@pytest.mark.parametrize(
    "text",
    [
        *("a", "two words", "{x}", "a, b", "it's", 'say "x"', "#x", "a: b", "$HOME", "${X", "true"),
        *("naïve", "tab\there", "line\nbreak", "\u2028", "- a", "@x", "*x", "&x", "!x", "~", "\\n"),
    ],
)
def test_any_text_survives_as_yaml(text: str, tmp_path: Path) -> None:
    """Whatever folders and volumes are called; a dollar sign is no reference."""
    content = "version: 1\ninstances: {a: {retention: r}}\nretention: {r: {keep_last: 1}}\n"
    content += f"volumes: {{v: {{purpose: {quoted(text)}}}}}\n"
    try:
        read = loaded(content, tmp_path)
    except ConfigError as error:
        # Refused for what it is, never read as something else.
        assert "purpose" in str(error)  # noqa: PT017
        return
    assert read.volumes[0].purpose == text


@pytest.mark.parametrize("text", ["true", "No", "on", "null", "~"])
def test_a_text_that_yaml_takes_for_something_else_is_quoted(text: str) -> None:
    """A folder may be called `on`."""
    assert quoted(text) == f'"{text}"'


@pytest.mark.parametrize("line_break", ["\n", "\r", "\x85", "\u2028"])
def test_a_hostile_name_stays_a_comment(line_break: str) -> None:
    """A folder's name may contain what YAML takes for a line break; no key comes after it."""
    name = f"x{line_break}version: 2"
    folders = {f"/srv/{name}": FoundFolder(f"./{name}", "file")}
    web = a_service("web", a_mount(f"/srv/{name}", "/x"))
    lines = draft(propose(found(web, folders=folders))).splitlines()
    assert [line for line in lines if line.startswith("version")] == ["version: 1"]


def test_what_cannot_run_is_not_declared_as_running(tmp_path: Path) -> None:
    """A server of a profile that is not active is a comment, and its files are kept."""
    idle = replace(a_database(), active=False, profiles=("tools",))
    text = draft(propose(found(idle)))
    read = loaded(text, tmp_path)
    assert read.databases == ()
    assert read.volumes[0].backup == "files"
    assert "profile tools, which is not active" in " ".join(text.replace("#", "").split())


def test_folders_that_are_no_data_are_not_listed() -> None:
    """Sockets, the machine's own, read-only ones, single files, and what another one contains."""
    mounts = {
        "/var/run/docker.sock": FoundFolder("/var/run/docker.sock", "special", inside=False),
        "/etc/localtime": FoundFolder("/etc/localtime", "file", inside=False),
        "/srv/app/conf": FoundFolder("./conf", "folder"),
        "/srv/app/conf.yml": FoundFolder("./conf.yml", "file"),
        "/srv/app/data": FoundFolder("./data", "folder", files=1, bytes=5),
        "/srv/app/data/sub": FoundFolder("./data/sub", "folder"),
        "/srv/app": FoundFolder("./.", "folder"),
    }
    web = a_service(
        "web",
        *(a_mount(source, source, writable=source != "/srv/app/conf") for source in mounts),
    )
    made = propose(found(web, folders=mounts, reserved=frozenset({"/srv/app"})))
    assert list(fields(made.paths)) == ["data"]
    said = " ".join(text for _, text in made.asides)
    assert "./conf of web: mounted read-only" in said
    assert "./conf.yml of web: a single file" in said
    assert "./data/sub of web: inside of ./data" in said
    assert "list only the folders in it that contain data" in said
    assert "docker.sock" not in said


@pytest.mark.parametrize(
    ("target", "way"),
    [
        ("/var/lib/postgresql", "by-dump"),
        ("/var/lib/postgresql/data", "by-dump"),
        ("/var/lib/postgresql/data/pg_wal", "by-dump"),
        ("/etc/postgresql", ""),
    ],
)
def test_a_volume_of_a_server_is_its_data_if_one_path_contains_the_other(
    target: str, way: str
) -> None:
    """Its configuration is files."""
    server = FoundServer("db", "app", ("app",), None, data="/var/lib/postgresql/data")
    made = propose(found(a_service("db", a_mount("v", target), server=server)))
    assert fields(made.volumes)["v"].get("backup", "") == way


@pytest.mark.parametrize(
    ("folder", "size"),
    [
        (FoundFolder("./d", "folder", files=1, bytes=999), ": 999 B in 1 file"),
        (FoundFolder("./d", "folder", files=2, bytes=1000), ": 1.0 kB in 2 files"),
        (FoundFolder("./d", "folder", files=2, bytes=10**6), ": 1.0 MB in 2 files"),
        (FoundFolder("./d", "folder", files=2), ": size unknown"),
        (FoundFolder("./d", "folder", bytes=2), ": size unknown"),
    ],
)
def test_a_folder_is_listed_with_its_size(folder: FoundFolder, size: str) -> None:
    """In decimal units, as the disk's maker counts."""
    web = a_service("web", a_mount("/srv/d", "/d"))
    (entry,) = propose(found(web, folders={"/srv/d": folder})).paths
    assert entry.comments == (f"/d of web{size}",)


def test_the_purpose_of_a_volume_is_the_path_that_most_services_have() -> None:
    """An importer may have it elsewhere."""
    services = [
        a_service(name, a_mount("v", target))
        for name, target in (("import", "/in"), ("web", "/media"), ("worker", "/media"))
    ]
    made = propose(found(*services))
    assert fields(made.volumes)["v"]["purpose"] == "/media of import, web, worker"


def test_keys_are_short_and_unique() -> None:
    """A name of 63 characters, of which none fits into a key, and three of the same words."""
    names = ("n" * 63, "日本", "my db", "my/db", "my*db")
    made = propose(found(a_database(names=names)))
    assert [entry.key for entry in made.databases] == [
        "n" * 60,
        "db",
        "my-db",
        "db-my-db",
        "db-my-db-2",
    ]


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        ({"web": ("db",), "db": ()}, ("db", "web")),
        ({"web": ("gone",), "db": ()}, ()),
        ({"web": ("gone", "db"), "db": ()}, ("db", "web")),
        ({"a": ("b",), "b": ("c",), "c": ("a",)}, ("c", "b", "a")),
    ],
)
def test_an_order_is_proposed_if_a_service_needs_another(
    needs: dict[str, tuple[str, ...]], order: tuple[str, ...]
) -> None:
    """One of a profile that is not active counts only if it runs; a circle is left to Compose."""
    services = [a_service(name, depends_on=names) for name, names in needs.items()]
    assert propose(found(*services, a_service("gone", active=False))).order == order
    runs = a_service("runs", active=False, running=True)
    assert propose(found(a_service("web", depends_on=("runs",)), runs)).order == ("runs", "web")


def test_lines_to_add_are_those_that_are_missing() -> None:
    """By the database on its server, the volume and the folder, whatever they are called here."""
    web = a_service(
        "web",
        *(a_mount("old", "/a"), a_mount("new", "/b")),
        *(a_mount("/srv/d/x", "/d"), a_mount("/srv/e", "/e"), a_mount("/srv/f", "/f")),
    )
    folders = {
        "/srv/d/x": FoundFolder("./d/x", "folder"),
        "/srv/e": FoundFolder("./e", "folder"),
        "/srv/f": FoundFolder("./f", "folder"),
    }
    made = propose(found(web, a_database(names=("my app", "more")), folders=folders))
    listed = ["/srv/d", "/srv/e"]
    lacking = missing(made, {("db", "my app")}, {"old", "pgdata"}, listed)
    assert [entry.key for entry in lacking.entries] == ["more", "new", "f"]
    text = additions(lacking)
    assert text.startswith("databases:\n")
    assert "volumes:\n  new: {" in text
    assert additions(missing(lacking, {("db", "more")}, {"new"}, [*listed, "/srv/f"])) == ""


# ------------------------------------------------------------------------------- from the model


def a_server(
    environment: Mapping[str, str],
    written: Mapping[str, str] | Sequence[str],
    defined: Sequence[str] = (),
    **service: Any,
) -> FoundServer | None:
    """What is found in a service with this environment, resolved and as written."""
    return find_server(
        "db",
        service.pop("image", "postgres:17"),
        [a_mount("pgdata", DATA)],
        service={"environment": environment, **service},
        written={"environment": written},
        secrets={
            "pw": {"file": "/srv/app/pw.txt"},
            "var": {"environment": "PW"},
            "far": {"external": True},
        },
        defined=defined,
        shown=lambda path: path.replace("/srv/app/", "./"),
    )


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("${DB_PASSWORD}", ("password", "${DB_PASSWORD}")),
        ("$DB_PASSWORD", ("password", "${DB_PASSWORD}")),
        ("${DB_PASSWORD:?set it}", ("password", "${DB_PASSWORD}")),
        # A default, a literal, a variable that only the shell has: Compose is asked each time.
        ("${DB_PASSWORD:-hunter2}", ("password_from", "POSTGRES_PASSWORD")),
        ("hunter2", ("password_from", "POSTGRES_PASSWORD")),
        ("${OTHER}", ("password_from", "POSTGRES_PASSWORD")),
        ("a${DB_PASSWORD}", ("password_from", "POSTGRES_PASSWORD")),
    ],
)
def test_a_password_is_a_reference(written: str, password: tuple[str, str]) -> None:
    """And never its value."""
    for form in ({"POSTGRES_PASSWORD": written}, [f"POSTGRES_PASSWORD={written}"]):
        server = a_server({"POSTGRES_PASSWORD": "hunter2"}, form, ["DB_PASSWORD"])
        assert server is not None
        assert server.password == password
        assert "hunter2" not in repr(server)


def test_a_password_file_is_found_behind_its_secret() -> None:
    """The file of the secret, the variable of the secret; nothing where Compose knows neither."""
    for source, expected in (
        ("pw", ("password_file", "./pw.txt")),
        ("var", ("password", "${PW}")),
        ("far", None),
    ):
        server = a_server(
            {"POSTGRES_PASSWORD_FILE": f"/run/secrets/{source}"},
            {},
            ["PW"],
            secrets=[{"source": source}],
        )
        assert server is not None
        assert server.password == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"secrets": [{"source": "far"}, {"source": "pw", "target": "db-pw"}]}, "./pw.txt"),
        ({"secrets": [{"source": "pw", "target": "/run/secrets/db-pw"}]}, "./pw.txt"),
        ({"secrets": [{"source": "gone", "target": "db-pw"}]}, None),
        ({"volumes": [{"type": "bind", "source": "/srv/app/f", "target": TARGET}]}, "./f"),
        ({"volumes": [{"type": "volume", "source": "v", "target": TARGET}]}, None),
        ({"volumes": [{"type": "bind", "source": "/srv/app/f", "target": "/other"}]}, None),
        ({"secrets": None, "volumes": None}, None),
    ],
)
def test_a_password_file_is_found_wherever_it_is_mounted(
    where: dict[str, Any], expected: str | None
) -> None:
    """A secret may have another name in the service; a file may be mounted without one."""
    server = a_server({"POSTGRES_PASSWORD_FILE": TARGET}, {}, **where)
    assert server is not None
    assert server.password == (("password_file", expected) if expected else None)


def test_user_and_database_are_those_of_the_image() -> None:
    """The database is called as the user where nothing else is said; without a password with
    `trust`."""
    server = a_server({"POSTGRES_USER": "gitea", "POSTGRES_HOST_AUTH_METHOD": "trust"}, {})
    assert server is not None
    assert (server.user, server.databases, server.password) == ("gitea", ("gitea",), None)
    bitnami = a_server({"POSTGRESQL_USERNAME": "u", "POSTGRESQL_DATABASE": "d"}, {})
    assert bitnami is not None
    assert (bitnami.user, bitnami.databases) == ("u", ("d",))
    secret = a_server({"POSTGRESQL_PASSWORD": "x"}, {"POSTGRESQL_PASSWORD": "$PW"}, ["PW"])
    assert secret is not None
    assert secret.password == ("password", "${PW}")


@pytest.mark.parametrize(
    ("image", "targets", "environment", "data"),
    [
        ("mine-db", [DATA], {"POSTGRES_PASSWORD": "x"}, DATA),
        ("mine-db", [DATA], {"POSTGRES_PASSWORD_FILE": "/x"}, DATA),
        ("mine-db", [DATA], {"POSTGRES_HOST_AUTH_METHOD": "trust"}, DATA),
        ("mine-db", [f"{DATA}/pg_wal", DATA], {"POSTGRES_PASSWORD": "x"}, DATA),
        ("mine-db", [DATA], {}, None),
        ("example/app", ["/data"], {"POSTGRES_PASSWORD": "x"}, None),
        ("example/app", ["/data"], {"POSTGRES_HOST_AUTH_METHOD": "trust"}, None),
        ("postgres:17", ["/data"], None, "/var/lib/postgresql"),
    ],
)
def test_a_server_is_found_by_its_image_or_its_data(
    image: str, targets: list[str], environment: dict[str, str] | None, data: str | None
) -> None:
    """An image of one's own has any name; an application with the same variables has no data."""
    server = find_server(
        "db",
        image,
        [a_mount(f"v{number}", target) for number, target in enumerate(targets)],
        service={"environment": environment},
        written={},
        secrets={},
        defined=(),
        shown=str,
    )
    assert (server and server.data) == data


def a_mariadb(environment: Mapping[str, str], **changed: Any) -> FoundServer | None:
    """What is found in a service with an image of MariaDB and this environment."""
    return find_server(
        "db",
        changed.get("image", "docker.io/mariadb:11"),
        [a_mount("data", changed.get("data", "/var/lib/mysql"))],
        service={"environment": environment},
        written={"environment": environment},
        secrets={},
        defined=(),
        shown=str,
    )


def test_a_server_of_mariadb_is_found_if_its_root_and_a_database_are_known() -> None:
    """Otherwise its files are archived, as those of MySQL and of images with other folders."""
    has = {"MYSQL_ROOT_PASSWORD": "secret", "MYSQL_DATABASE": "shop", "MYSQL_USER": "app"}
    server = a_mariadb(has)
    assert server is not None
    assert (server.engine, server.user, server.databases) == ("mariadb", "root", ("shop",))
    assert server.password == ("password_from", "MYSQL_ROOT_PASSWORD")
    made = propose(
        found(replace(a_service("db", a_mount("data", "/var/lib/mysql")), server=server))
    )
    assert fields(made.databases)["shop"] == {
        "engine": "mariadb", "service": "db", "password_from": "MYSQL_ROOT_PASSWORD"
    }  # fmt: skip
    assert fields(made.volumes)["data"]["backup"] == "by-dump"
    assert fields(made.volumes)["data"]["purpose"] == "MariaDB data of db"
    for without in ("MYSQL_ROOT_PASSWORD", "MYSQL_DATABASE"):
        assert a_mariadb({key: value for key, value in has.items() if key != without}) is None
    assert a_mariadb({**has, "MARIADB_ROOT_HOST": "localhost"}) is None
    assert a_mariadb(has, data="/config") is None
    assert a_mariadb(has, image="mysql:8") is None


def test_images_and_paths_are_known() -> None:
    """Servers and not their tools; caches and logs and not what merely sounds like one."""
    known = ("postgres:17", "docker.io/pgvector/pgvector:pg17@sha256:0", "ghcr.io/x/postgres:14")
    assert all(map(is_postgres, known))
    tools = ("prodrigestivill/postgres-backup-local", "dpage/pgadmin4", "bitnami/pgbouncer")
    assert not any(map(is_postgres, tools))
    assert stores("docker.io/valkey/valkey:8-bookworm") == "Redis"
    assert stores("lscr.io/linuxserver/mariadb:latest") == "MariaDB"
    assert [why_never(path) for path in ("/cache", "/app/logs", "/var/log/x", "/data")] == [
        "cache",
        "logs",
        "logs",
        "",
    ]
    assert why_never("/logbook") == why_never("/cachet") == ""
    assert why_never("/var/cache/nginx/x") == why_never("/tmp/x") == "cache"
    system = ("/", "/etc", "/usr/share/x", "/etc2", "/srv/etc")
    assert [is_system(path) for path in system] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("command", "url"),
    [
        ("CMD curl -f http://localhost:2283/api/health", (2283, "/api/health")),
        ('CMD-SHELL wget -q "http://127.0.0.1/health" || exit 1', (80, "/health")),
        ("CMD-SHELL curl -fs http://localhost:8080", (8080, "/")),
        ("CMD curl http://localhost/x?token=abc", None),
        ("CMD curl http://db:80/x", None),
        ("CMD-SHELL curl https://localhost:8443/", None),
        ("CMD pg_isready", None),
    ],
)
def test_a_health_check_names_its_url(command: str, url: tuple[int, str] | None) -> None:
    """Only one of the service itself, and never a query, which may be a secret."""
    assert url_of(command) == url


def test_anonymous_volumes_of_caches_are_excluded_and_others_left_to_the_person(
    tmp_path: Path,
) -> None:
    """`docker compose down` empties a Redis without a volume anyway. What is listed is no longer
    proposed."""
    redis = a_service("redis", image="redis:7", stores="Redis", anonymous=("/data",))
    app = a_service("app", anonymous=("/state",))
    proposal = propose(found(redis, app))
    text = draft(proposal)
    assert 'exclude_volumes: ["redis:/data"]' in text
    assert loaded(text, tmp_path).excluded_volumes == ("redis:/data",)
    assert "# - app:/state is an anonymous volume" in text
    assert additions(proposal).count('exclude_volumes: ["redis:/data"]') == 1
    assert additions(missing(proposal, (), (), (), excluded=("redis:/data",))) == ""


def test_a_single_file_that_sets_lack_is_listed_if_it_is_a_secret_and_else_named() -> None:
    """Whether data need not be kept is for a person to decide."""
    names = ("config.yml", "key", "state.db")
    folders = {
        "/app/config.yml": FoundFolder("./config.yml", "file"),
        "/app/key": FoundFolder("./key", "file", unkept="its name is that of a secret"),
        "/app/state.db": FoundFolder("./state.db", "file", unkept="a SQLite database"),
    }
    app = a_service("app", *(a_mount(f"/app/{name}", f"/{name}") for name in names))
    proposal = propose(found(app, folders=folders))
    assert fields(proposal.paths)["key"]["backup"] == "never"
    assert [entry.key for entry in proposal.paths] == ["key"]
    text = " ".join(draft(proposal).replace("#", "").split())
    assert "/key of app a single file: its name is that of a secret; keep a copy" in text
    assert "./state.db of app: a single file that no set contains (a SQLite database)" in text
    assert "./config.yml of app: a single file, which sets contain under stack/files" in text
