"""`up` means that a database answers SQL on its final server, also without a health check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.small import Small

pytestmark = pytest.mark.engine

#: As slow as a script with much data. It ends long after a service without a health check counts
#: as running, and long after the temporary server answers on its socket.
SLOW = """
sleep 4
psql --username postgres --dbname shop --command 'CREATE TABLE prepared AS SELECT 1 AS id'
"""


@pytest.fixture
def small(engine: str, tmp_path: Path) -> Iterator[Small]:
    """A stack that was never up."""
    made = Small.make(tmp_path)
    try:
        yield made
    finally:
        made.destroy()


def test_up_and_start_wait_for_a_server_that_is_still_initialising(small: Small) -> None:
    """Without a health check, and with one that the temporary server passes. What is said is what
    was checked."""
    small.prepare(SLOW)
    said = small.succeed("up").out
    assert "up; answering SQL: db; running, without a health check: app" in said
    (server,) = small.servers()
    assert small.sql(server, "SELECT count(*) FROM prepared") == ["1"]
    small.succeed("stop")
    small.succeed("start")
    assert small.sql(server, "SELECT count(*) FROM prepared") == ["1"]
    small.succeed("nuke", "--confirm", "NUKE core", "--instance", "core")
    compose = small.folder / "docker-compose.yml"
    checked = 'healthcheck: {test: "pg_isready -U postgres", interval: 1s}\n    stop_grace_period'
    compose.write_text(compose.read_text().replace("stop_grace_period", checked, 1))
    said = small.succeed("up").out
    assert "up; healthy: db; running, without a health check: app" in said
    (server,) = small.servers()
    assert small.sql(server, "SELECT count(*) FROM prepared") == ["1"]


def test_a_first_start_that_fails_is_not_waited_for_until_the_timeout(small: Small) -> None:
    """The container has ended, so `up` ends as well and shows its last lines."""
    small.prepare("sleep 3; echo it broke; exit 3")
    stack = small.folder / "stack.yaml"
    stack.write_text(stack.read_text().replace("{stop_timeout: 1s}", "{health_timeout: 1h}"))
    result = small.inv("up")
    assert result.code == 3, result.err
    assert "service db ended with exit code 3" in result.err
    assert "it broke" in result.err


def test_a_server_that_refuses_the_user_is_up_but_not_called_answering(small: Small) -> None:
    """A password that was changed in the wrong place."""
    stack = small.folder / "stack.yaml"
    stack.write_text(stack.read_text().replace("{service: db,", "{service: db, user: nobody,"))
    result = small.succeed("up")
    assert "login refused: db" in result.out
    assert "answering SQL: db" not in result.out.splitlines()[-1]
    assert "correct databases.shop in stack.yaml" in result.err


@pytest.mark.parametrize("init", [False, True])
def test_a_temporary_server_that_listens_on_tcp_is_not_the_final_one(
    small: Small, init: bool
) -> None:
    """Some images let their first start be reached. The entry point still runs its script then."""
    small.prepare(SLOW)
    recipe = ROOT / "tests/engine/recipes/postgres/docker-entrypoint.sh"
    changed = recipe.read_text().replace("listen_addresses=''", "listen_addresses='*'")
    assert changed != recipe.read_text()
    entry = small.folder / "entry.sh"
    entry.write_text(changed)
    entry.chmod(0o755)
    compose = small.folder / "docker-compose.yml"
    mount = (
        "      - ./entry.sh:/usr/local/bin/docker-entrypoint.sh:ro\n    stop_grace_period: 30s\n"
    )
    mount += f"    init: {str(init).lower()}\n"
    compose.write_text(compose.read_text().replace("    stop_grace_period: 30s\n", mount, 1))
    result = small.succeed("up")
    assert "up; answering SQL: db" in result.out
    assert "temporary" not in result.err
    (server,) = small.servers()
    assert small.sql(server, "SELECT count(*) FROM prepared") == ["1"]


def test_a_shell_that_stays_beside_its_server_delays_nothing_for_long(small: Small) -> None:
    """It runs nothing else, so there is nothing to wait for."""
    compose = small.folder / "docker-compose.yml"
    shell = "    entrypoint: [sh, -c, 'docker-entrypoint.sh postgres; echo ended']\n"
    compose.write_text(compose.read_text().replace("    stop_grace_period: 30s\n", shell, 1))
    result = small.succeed("up")
    assert "up; answering SQL: db" in result.out
    assert "temporary" not in result.err
