"""`stack.yaml` becomes a `Stack`: every key, defaults, variables, paths, secrets."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quiesce.config import load_stack
from quiesce.errors import ConfigError, RequestError
from quiesce.model import (
    Database,
    HostService,
    PathEntry,
    Restart,
    Retention,
    Secret,
    Volume,
)

ROOT = Path(__file__).parents[2]
SMALLEST = "version: 1\ninstances: {core: {retention: r}}\nretention: {r: {keep_last: 1}}\n"
EVERYTHING = """\
version: 1
timezone: Europe/Berlin
default_instance: core
instances:
  core:
    runtime: compose
    env_file: env/core.env
    files: [compose.yml, ${EXTRA}]
    project: app-${STAGE:-dev}
    context: remote
    profiles: [debug]
    retention: short
  local: {runtime: host, env_file: env/absent.env, retention: "${KEEP}", project: "${ABSENT}"}
databases:
  rules: {service: db, name: rules_db, user: "${PG_USER}", password: "${PG_PASSWORD}", port: 5433,
          migrations: alembic.ini}
  memory: {service: db, password_file: secret}
exclude_databases: [postgres]
volumes:
  pg: {purpose: data, priority: critical, backup: by-dump}
  media: {exclude: ["tmp/*"], max_size: 1.5GiB}
  logs: {backup: never, clean: logs, priority: optional}
exclude_volumes: [scratch]
paths:
  app-logs: {path: ./app/logs, backup: never, clean: logs}
writers: {services: [worker], ignore: [metrics]}
restart: {order: [db, web], stop_timeout: 1m30s, health_timeout: 2h, keep_running: [proxy]}
retention:
  short: {keep_last: 3, keep_within: 1w2d, keep_hourly: 1, keep_daily: 2, keep_weekly: 3,
          keep_monthly: 4, keep_yearly: 5}
services:
  db: {postgres: embedded, password: "${ONLY_ON_HOST}"}
max_downtime: 30s
lock_patience: 500ms
helper_image: debian:12-slim
"""
HOST = """\
version: 1
instances: {local: {runtime: host, retention: r}}
databases: {app: {service: db}}
volumes: {pg: {backup: by-dump}}
services:
  db: {postgres: embedded, user: admin, password: "${PW}", volumes: {pg: PGDATA}}
  web:
    command: python -m "my app" $${HOME}
    cwd: web
    environment: {DEBUG: true, MODE: 0700, AT: 22:30, OFF: no, GREETING: "${PW}!"}
    port: 8000
    health_http: /health
    depends_on: [db]
    stop_signal: INT
    stop_timeout: 3s
restart: {order: [db, web]}
retention: {r: {keep_last: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that EVERYTHING and HOST name."""
    (tmp_path / "env").mkdir()
    (tmp_path / "web").mkdir()
    (tmp_path / "env/core.env").write_text("PG_USER=bob\nPG_PASSWORD='s3 $cret'\nEXTRA=more.yml\n")
    for name in ("compose.yml", "more.yml", "alembic.ini"):
        (tmp_path / name).touch()
    (tmp_path / "secret").write_text("from file\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    """Write stack.yaml into the folder."""
    file = folder / "stack.yaml"
    file.write_text(text)
    return file


def test_every_key_of_the_file_arrives_in_the_stack(folder: Path) -> None:
    """All values, with variables of the env file filled in and paths made absolute."""
    file = write(folder, EVERYTHING)
    stack = load_stack(file, None, {})
    assert stack.file == file
    assert stack.directory == folder
    assert stack.digest == hashlib.sha256(EVERYTHING.encode()).hexdigest()
    assert stack.timezone == "Europe/Berlin"
    assert stack.instance_names == ("core", "local")
    instance = stack.instance
    assert (instance.name, instance.runtime, instance.project) == ("core", "compose", "app-dev")
    assert instance.directory == folder
    assert instance.env_file == folder / "env/core.env"
    assert instance.files == (folder / "compose.yml", folder / "more.yml")
    assert (instance.context, instance.profiles) == ("remote", ("debug",))
    assert (instance.retention, instance.state) == ("short", folder / ".quiesce/core")
    assert instance.environment == {
        "PG_USER": "bob",
        "PG_PASSWORD": "s3 $cret",
        "EXTRA": "more.yml",
    }
    assert stack.databases == (
        Database(
            "rules", "rules_db", "db", "bob", Secret("s3 $cret"), 5433, folder / "alembic.ini"
        ),
        Database("memory", "memory", "db", "postgres", Secret("from file"), 5432, None),
    )
    assert stack.excluded_databases == ("postgres",)
    assert stack.volumes == (
        Volume("pg", "data", "critical", "by-dump", None, (), None),
        Volume("media", "", "important", "files", None, ("tmp/*",), 1_610_612_736),
        Volume("logs", "", "optional", "never", "logs", (), None),
    )
    assert stack.excluded_volumes == ("scratch",)
    assert stack.paths == (PathEntry("app-logs", folder / "app/logs", "never", "logs"),)
    assert (stack.writers, stack.ignored_writers) == (("worker",), ("metrics",))
    assert stack.restart == Restart(("db", "web"), 90.0, 7200.0, ("proxy",))
    assert stack.retention == Retention("short", 3, 777_600.0, 1, 2, 3, 4, 5)
    assert stack.host_services == ()
    assert (stack.max_downtime, stack.lock_patience) == (30.0, 0.5)
    assert stack.helper_image == "debian:12-slim"


def test_values_of_the_stack_are_plain_types(folder: Path) -> None:
    """Text from a variable does not remember where it came from, so any library can take it."""
    stack = load_stack(write(folder, EVERYTHING), None, {})
    assert {type(entry.user) for entry in stack.databases} == {str}
    assert type(stack.instance.project) is str
    secret = stack.databases[0].password
    assert secret is not None
    assert type(secret.reveal()) is str


def test_a_stack_never_prints_a_secret(folder: Path) -> None:
    """Neither the password nor the environment of an instance is in its repr."""
    shown = repr(load_stack(write(folder, EVERYTHING), None, {}))
    assert "cret" not in shown
    assert "from file" not in shown


def test_what_may_be_left_out_has_a_default(tmp_path: Path) -> None:
    """The smallest file is enough."""
    folder = tmp_path / "app"
    folder.mkdir()
    stack = load_stack(write(folder, SMALLEST), None, {})
    assert (stack.instance.project, stack.instance.runtime) == ("app", "compose")
    assert (stack.instance.files, stack.instance.env_file) == ((), None)
    assert (stack.instance.context, stack.instance.profiles) == (None, ())
    assert stack.instance.environment == {}
    assert stack.timezone == "UTC"
    assert stack.restart == Restart((), 60.0, 120.0, ())
    assert (stack.lock_patience, stack.max_downtime, stack.helper_image) == (5.0, None, None)
    assert (stack.databases, stack.volumes, stack.paths, stack.writers) == ((), (), (), ())


def test_services_of_the_host_runtime_arrive_with_their_text_as_it_is_written(
    folder: Path,
) -> None:
    """`no`, `0700` and `22:30` stay text; a command is split as a shell would."""
    stack = load_stack(write(folder, HOST), "local", {"PW": "pw"})
    database, web = stack.host_services
    assert database == HostService(
        name="db",
        command=(),
        cwd=folder,
        environment={},
        port=None,
        postgres="embedded",
        postgres_user="admin",
        postgres_password=Secret("pw"),
        volumes={"pg": "PGDATA"},
        health=(),
        health_http=None,
        depends_on=(),
        stop_signal="SIGTERM",
        stop_timeout=10.0,
    )
    assert web.command == ("python", "-m", "my app", "${HOME}")
    assert web.environment == {
        "DEBUG": "true",
        "MODE": "0700",
        "AT": "22:30",
        "OFF": "no",
        "GREETING": "pw!",
    }
    assert (web.cwd, web.port, web.health_http) == (folder / "web", 8000, "/health")
    assert (web.depends_on, web.stop_signal, web.stop_timeout) == (("db",), "SIGINT", 3.0)
    assert "pw" not in repr(web).replace("postgres_password", "")


@pytest.mark.parametrize("needs", ["${ZONE}", "${ZONE:?where}"])
def test_an_empty_variable_is_told_with_the_line_that_sets_it(tmp_path: Path, needs: str) -> None:
    """Of the file that counts, which is the env file if both define it."""
    (tmp_path / ".env").write_text("ZONE=\n")
    text = f"{SMALLEST}timezone: {needs}\n"
    with pytest.raises(ConfigError, match=r"give ZONE a value in \S*/\.env:1\)$"):
        load_stack(write(tmp_path, text), None, {})
    (tmp_path / "core.env").write_text("# for one instance\n\nZONE=''\n")
    text = text.replace("retention: r}", "retention: r, env_file: core.env}", 1)
    with pytest.raises(ConfigError, match=r"give ZONE a value in \S*/core\.env:3\)$"):
        load_stack(write(tmp_path, text), None, {})


def test_the_env_file_goes_over_dot_env_and_both_over_the_environment(tmp_path: Path) -> None:
    """The order of Compose itself, with the environment last."""
    (tmp_path / ".env").write_text("A=dot\nB=dot\nFROM_DOT=${A}\n")
    (tmp_path / "core.env").write_text("A=file\nFROM_FILE=${B}-${C}\n")
    text = SMALLEST.replace("retention: r}", "retention: r, env_file: core.env}", 1)
    text += "writers: {ignore: ['${A}', '${B}x', '${C}y', '${FROM_DOT}z', '${FROM_FILE}']}\n"
    stack = load_stack(write(tmp_path, text), None, {"A": "env", "B": "env", "C": "env"})
    assert stack.ignored_writers == ("file", "dotx", "envy", "dotz", "dot-env")
    assert stack.instance.environment == {
        "A": "file",
        "B": "dot",
        "FROM_DOT": "dot",
        "FROM_FILE": "dot-env",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SET}", "value"),
        ("a${SET}b${SET}", "avaluebvalue"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}y", "y"),
        ("${ABSENT-x}", "x"),
        ("${ABSENT:-a${SET:-b}c}", "avaluec"),
        ('${ABSENT:-{"a": {}}}', '{"a": {}}'),
        ("${SET:?needed}", "value"),
        ("${SET:+other}", "other"),
        ("x${EMPTY:+other}", "x"),
        ("${EMPTY+other}", "other"),
        ("$$", "$"),
        ("$${SET}", "${SET}"),
        ("$$$${SET}", "$${SET}"),
        ("${SET}$$", "value$"),
    ],
)
def test_a_reference_is_filled_in(tmp_path: Path, text: str, expected: str) -> None:
    """Every form of `${…}` that Compose knows, and the doubled dollar sign."""
    file = write(tmp_path, SMALLEST + f"writers: {{ignore: ['{text}']}}\n")
    assert load_stack(file, None, {"SET": "value", "EMPTY": ""}).ignored_writers == (expected,)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("1h30m", 5400), ("7d", 604_800), ("4w", 2_419_200), ("1m500ms", 60.5)],
)
def test_a_duration_is_seconds(tmp_path: Path, text: str, seconds: float) -> None:
    """Units from weeks to milliseconds, larger ones first."""
    file = write(tmp_path, SMALLEST + f"max_downtime: {text}\n")
    assert load_stack(file, None, {}).max_downtime == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("1kB", 1000), ("1KiB", 1024), ("2GiB", 2**31), ("1.5 MB", 1_500_000)],
)
def test_a_size_is_bytes(tmp_path: Path, text: str, size: int) -> None:
    """Decimal and binary units are told apart."""
    file = write(tmp_path, SMALLEST + f"volumes: {{v: {{max_size: {text}}}}}\n")
    assert load_stack(file, None, {}).volume("v").max_size == size


def test_anchors_aliases_and_merges_work_as_in_compose(tmp_path: Path) -> None:
    """Own keys go over merged ones, earlier sources over later ones."""
    text = SMALLEST + (
        "databases:\n"
        "  a: &a {service: db, port: 1}\n"
        "  b: &b {user: bob, port: 2}\n"
        "  c: {<<: [*b, *a], name: other}\n"
        "  d: {<<: *a, port: 4}\n"
        "writers: {services: &list [x], ignore: *list}\n"
    ).replace("b: &b {user", "b: &b {service: db2, user")
    stack = load_stack(write(tmp_path, text), None, {})
    c, d = stack.database("c"), stack.database("d")
    assert (c.service, c.user, c.port, c.name) == ("db2", "bob", 2, "other")
    assert (d.service, d.user, d.port) == ("db", "postgres", 4)
    assert stack.ignored_writers == ("x",)


def test_the_time_zone_comes_from_the_environment_when_it_is_not_declared(tmp_path: Path) -> None:
    """TZ, of the env file before the environment."""
    file = write(tmp_path, SMALLEST)
    assert load_stack(file, None, {"TZ": ":Europe/Paris"}).timezone == "Europe/Paris"
    (tmp_path / ".env").write_text("TZ=Asia/Tokyo\n")
    assert load_stack(file, None, {"TZ": "Europe/Paris"}).timezone == "Asia/Tokyo"


def test_an_unknown_instance_is_a_wrong_request_with_a_suggestion(folder: Path) -> None:
    """The nearest one, or else all."""
    with pytest.raises(RequestError) as caught:
        load_stack(write(folder, EVERYTHING), "locla", {})
    assert not isinstance(caught.value, ConfigError)
    assert caught.value.fact.startswith("there is no instance 'locla' in ")
    assert caught.value.hint == "did you mean 'local'?"
    assert caught.value.exit_code == 2
    with pytest.raises(RequestError) as caught:
        load_stack(write(folder, EVERYTHING), "zzz", {})
    assert caught.value.hint == "known: core, local"


def test_the_named_instance_is_resolved_with_its_own_env_file(folder: Path) -> None:
    """The other instance, whose env file is there, does not get in its way."""
    (folder / "env/absent.env").write_text("KEEP=short\nABSENT=theirs\nONLY_ON_HOST=pw\n")
    (folder / "env/core.env").unlink()
    text = EVERYTHING.replace("${PG_USER}", "bob").replace("${PG_PASSWORD}", "${ONLY_ON_HOST}")
    stack = load_stack(write(folder, text), "local", {})
    assert (stack.instance.project, stack.instance.retention) == ("theirs", "short")
    assert [service.name for service in stack.host_services] == ["db"]


def test_the_stack_of_this_project_is_right(tmp_path: Path) -> None:
    """The file that people see first, with the env file that its example becomes."""
    for name in ("stack.yaml", "docker-compose.yml", "alembic.ini", "alembic_memorydb.ini"):
        shutil.copy(ROOT / name, tmp_path)
    example = (ROOT / "env/local/core.env.example").read_text()
    (tmp_path / "env/local").mkdir(parents=True)
    (tmp_path / "env/local/core.env").write_text(
        example.replace("POSTGRES_PASSWORD=", "POSTGRES_PASSWORD=secret")
    )
    stack = load_stack(tmp_path / "stack.yaml", None, {})
    assert [volume.key for volume in stack.volumes] == [
        "postgres-data",
        "backend-media",
        "redis-data",
        "backend-static",
        "frontend-node-modules",
        "proxy-logs",
    ]
    assert [database.password for database in stack.databases] == [Secret("secret")] * 2


def test_reading_a_stack_imports_no_driver() -> None:
    """Nothing of Docker, PostgreSQL or Alembic is needed to say that a file is wrong."""
    code = (
        "import sys, quiesce.config;"
        "print(sorted({'docker', 'psycopg2', 'alembic', 'sqlalchemy', 'rich', 'invoke'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
