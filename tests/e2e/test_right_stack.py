"""Which project a stack is, and that no second server ever starts on its data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small import Small, hinted_commands, hinted_projects

pytestmark = pytest.mark.engine

#: Whatever could start something, in the order in which somebody in trouble would try.
TRIED = (
    ("backup",),
    ("up", "--service", "db"),
    ("up",),
    ("start",),
    ("rebuild", "--yes"),
    ("restore", "--file", "latest", "--yes"),
    ("clean", "--yes"),
    ("recover",),
)


def brought_up(small: Small, project: str) -> str:
    """Bring the stack up as a person does, past Quiesce; return the id of its server."""
    small.docker("compose", *(["-p", project] if project else []), "up", "--detach")
    small.fill()
    (server,) = small.servers()
    return server


def require_untouched(small: Small, server: str, after: object) -> None:
    """The one server still runs, with every row."""
    assert small.servers() == [server], after
    assert small.sql(server, "SELECT count(*) FROM orders") == ["1000"], after


def backed_up(small: Small) -> int:
    """Rows of `orders` in the newest set."""
    (newest,) = sorted(small.folder.glob("backups/*/manifest.json"))[-1:]
    (database,) = json.loads(newest.read_text())["databases"]
    (table,) = [t for t in database["tables"] if t["name"] == "orders"]
    return int(table["rows"])


@pytest.fixture
def small(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Small]:
    """A stack of its own for each test: they leave it in a mess."""
    made = Small.make(tmp_path, **request.param)
    try:
        yield made
    finally:
        made.destroy()


@pytest.mark.parametrize("small", [{"top": "name: NAMEtwin\n"}], indirect=True)
def test_a_name_in_the_compose_file_is_the_project(small: Small) -> None:
    """The accident: a stack that runs as `twin`, and a stack.yaml without a project."""
    server = brought_up(small, "")
    small.succeed("check")
    small.succeed("backup")
    assert backed_up(small) == 1000
    small.succeed("up", "--service", "db")
    require_untouched(small, server, "up")


@pytest.mark.core
@pytest.mark.parametrize(
    "small",
    [
        {"top": "name: NAMEtwin\n"},
        pytest.param({"top": "name: NAMEtwin\n", "data": "./pg"}, marks=pytest.mark.long),
        pytest.param({}, marks=pytest.mark.long),
        pytest.param({"project": "NAME"}, marks=pytest.mark.long),
        {"project": "NAME", "shared": False},
    ],
    indirect=True,
    ids=["named in the file", "in a folder", "named by the folder", "given", "would be empty"],
)
def test_no_second_server_starts_whatever_hint_is_followed(small: Small) -> None:
    """It runs as `other`, which only the one who started it knows. Every task that could start
    something is refused with the line that stack.yaml needs, and what hints say is done."""
    server = brought_up(small, f"{small.name}other")
    refused = small.inv("check")
    assert refused.code != 0
    assert hinted_projects(refused.out + refused.err) == [f"{small.name}other"]
    # If stack.yaml sets no project, all tasks are refused at one place.
    for tried in TRIED if small.declared else TRIED[:2]:
        todo, done = [list(tried)], 0
        while todo and done < 4:
            arguments, done = todo.pop(0), done + 1
            result = small.inv(*arguments)
            require_untouched(small, server, (arguments, result.out, result.err))
            todo += hinted_commands(result.err)
        if tried[0] in ("backup", "up"):
            assert result.code != 0, (tried, result.out)
            assert f"project {small.name}other" in result.err
    assert small.docker("compose", "ls", "--quiet").split().count(small.name) == 0
    small.declare(f"{small.name}other")
    small.succeed("check")
    small.succeed("backup")
    assert backed_up(small) == 1000
    require_untouched(small, server, "the line was added")


@pytest.mark.parametrize("small", [{}], indirect=True)
def test_a_variable_of_the_shell_is_the_project_and_cron_is_refused(small: Small) -> None:
    """As Compose takes it. Without it, as in cron, nothing is begun anew."""
    shell = {"COMPOSE_PROJECT_NAME": f"{small.name}twin"}
    server = brought_up(small, f"{small.name}twin")
    checked = small.succeed("check", **shell)
    assert "cron" in checked.out
    assert hinted_projects(checked.out) == [f"{small.name}twin"]
    small.succeed("backup", **shell)
    assert backed_up(small) == 1000
    for task in ("check", "backup", "up"):
        result = small.inv(task)
        assert result.code != 0
        assert hinted_projects(result.err) == [f"{small.name}twin"]
    require_untouched(small, server, "cron")


@pytest.mark.parametrize("small", [{"project": "NAME", "shared": False}], indirect=True)
def test_two_projects_of_one_file_are_told_apart_by_stack_yaml(small: Small) -> None:
    """Once the declared one exists, another of the same file is only mentioned."""
    small.succeed("up")
    small.docker("compose", "-p", f"{small.name}other", "up", "--detach")
    checked = small.succeed("check")
    assert hinted_projects(checked.out) == [f"{small.name}other"]
    small.succeed("backup")
    small.succeed("up")
