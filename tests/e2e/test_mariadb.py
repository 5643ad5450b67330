"""MariaDB as its users have it: found, backed up with the files, exchanged, undone, rehearsed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.checkout import wait_until
from tests.support.composed import Folder
from tests.support.mariadb_app import (
    ROOT_PASSWORD,
    client,
    facts,
    last,
    mariadb_application,
    numbers,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def app(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A running application that writes, with the stack.yaml that `init` wrote."""
    with mariadb_application(tmp_path_factory.mktemp("mariadb")) as made:
        found = made.quiesce("init", "--yes")
        assert found.returncode == 0, found.stderr
        yield made


def succeed(app: Folder, *arguments: str) -> str:
    """Run the command, and return what it says."""
    ended = app.quiesce(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def newest(app: Folder) -> dict[str, Any]:
    """The manifest of the newest set that is no safety set."""
    found = [p for p in app.path.glob("backups/*/manifest.json") if "safety" not in p.parent.name]
    made: dict[str, Any] = json.loads(max(found).read_text())
    return made


def kept(app: Folder) -> int:
    """How many numbers the newest set has."""
    (database,) = newest(app)["databases"]
    return next(int(table["rows"]) for table in database["tables"] if table["name"] == "n")


@pytest.mark.core
def test_a_database_and_a_file_of_one_moment_come_back(app: Folder) -> None:
    """All of it, views, triggers and events included; and again what was there before."""
    written = (app.path / "stack.yaml").read_text()
    assert "shop: {engine: mariadb, service: db, password_from: MARIADB_ROOT_PASSWORD}" in written
    assert "backup: by-dump" in written
    assert "no problems found" in succeed(app, "check")
    before = facts(app)
    said = succeed(app, "backup")
    assert "not consistent" not in said
    rows = kept(app)
    wait_until(lambda: last(app) > rows + 20, "the application to write on")
    client(
        app,
        "DROP VIEW a_view; DROP TRIGGER before_child; DELETE FROM child; CREATE TABLE x (i int)",
    )
    assert "compared and identical" in succeed(app, "restore", "--file", "latest", "--yes")
    assert facts(app) == before
    count, greatest = numbers(app)
    # The file has the number of the row that was written last, or of the one before it.
    client(app, f"DELETE FROM n WHERE i > {rows + 20}")
    assert numbers(app)[0] >= rows
    assert count == greatest
    assert "shop__" not in client(app, "SHOW DATABASES")
    undone = succeed(app, "undo-restore", "--yes")
    assert "compared and identical" in undone
    assert numbers(app)[0] > rows + 20
    assert client(app, "SELECT count(*) FROM child") == "0"
    assert client(app, "SELECT count(*) FROM x") == "0"
    client(app, "CREATE VIEW a_view AS SELECT id FROM child; DROP TABLE x")


def test_sets_are_tried_in_a_copy_and_a_drill_is_passed(app: Folder) -> None:
    """With the image of the service, beside it; the database is compared there."""
    succeed(app, "backup")
    assert "restored" in succeed(app, "verify", "--restore")
    succeed(app, "drill", "--yes")


def test_what_mariadb_cannot_do_is_refused_by_name(app: Folder) -> None:
    """Before anything is read, and with what to do instead."""
    (app.path / "shop.sql").write_text("CREATE TABLE a (i int);\n")
    for arguments, lacks in {
        ("backup-db",): "plain SQL files",
        ("restore", "--file", "shop.sql", "--database", "shop", "--yes"): "plain SQL files",
        ("backup", "--data-only"): "backups and restores of rows only",
        ("restore", "--file", "latest", "--not-valid", "--yes"): "constraints that are checked",
    }.items():
        ended = app.quiesce(*arguments)
        assert ended.returncode == 2, ended.stderr
        assert f"error: database shop: MariaDB has no {lacks}" in ended.stderr
        assert "HINT: " in ended.stderr


def test_a_person_gets_the_servers_own_client(app: Folder) -> None:
    """It is connected to the database."""
    assert app.quiesce("db-shell", "--", "-Ne", "SELECT database()").stdout.strip() == "shop"


def test_a_set_is_restored_by_hand(app: Folder) -> None:
    """As RESTORE.md says, into an empty server, with nothing but its own programs."""
    succeed(app, "backup")
    rows, name = kept(app), f"{app.project}-hand"
    (folder,) = [p.parent for p in app.path.glob("backups/*/manifest.json")
                 if json.loads(p.read_text())["name"] == newest(app)["name"]]  # fmt: skip
    text = (folder / "RESTORE.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```sh\n")[1:]]
    script = "\n".join(b for b in blocks if "mariadb " in b)
    image = app.services()["db"]["image"]
    run = ["docker", "run", "--rm", "--detach", "--name", name, "-v", f"{folder}:/set:ro"]
    run += ["-e", f"MARIADB_ROOT_PASSWORD={ROOT_PASSWORD}", image]
    subprocess.run(run, env=app.environment, check=True, capture_output=True)
    enter = ["docker", "exec", "-i", "-w", "/set", "-e", f"MYSQL_PWD={ROOT_PASSWORD}"]
    enter += ["-e", "MARIADB_HOST=127.0.0.1", "-e", "MARIADB_PORT=3306", name]

    def said(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*enter, *command], env=app.environment, input=text, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    try:
        ask = ("mariadb", "-h127.0.0.1", "-uroot", "-Ne")
        wait_until(lambda: said(*ask, "SELECT 1").returncode == 0, "the server")
        ended = said("bash", "-euo", "pipefail", text=script)
        assert ended.returncode == 0, ended.stderr
        assert said(*ask, "SELECT count(*) FROM shop.n").stdout.strip() == str(rows)
        assert said(*ask, "SELECT user FROM mysql.user WHERE user = 'app'").stdout.strip() == "app"
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], env=app.environment,
                       check=True, capture_output=True)  # fmt: skip


def test_everything_comes_back_on_a_machine_that_has_nothing(app: Folder) -> None:
    """Containers and volumes are gone: the database, its users and the file are made again."""
    client(app, "CREATE USER teller@'%' IDENTIFIED BY 'x'; GRANT SELECT ON shop.n TO teller@'%'")
    succeed(app, "backup")
    before, rows = facts(app), kept(app)
    app.compose("down", "--volumes", "--timeout", "1")
    said = succeed(app, "restore", "--file", "latest", "--yes")
    assert "compared and identical" in said
    wait_until(lambda: last(app) > rows, "the application to write on")
    assert facts(app) == before
    assert client(app, "SELECT user FROM mysql.user WHERE user = 'teller'") == "teller"
    assert client(app, "SELECT schema_comment FROM information_schema.schemata"
                       " WHERE schema_comment <> ''") == ""  # fmt: skip
