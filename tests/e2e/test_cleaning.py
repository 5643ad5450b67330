"""What each operation keeps and what it removes, on the real stack: seed 003's protection table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping

import pytest

from tests.support.checkout import Checkout
from tests.support.sampling import chance
from tests.support.terminal import inv_in_terminal

pytestmark = pytest.mark.engine
EVERYTHING = {"db", "redis", "backend", "frontend", "proxy"}
KINDS = ("database", "media", "static", "cache", "logs")
PHRASE = "DELETE EVERYTHING"

# Operation → its arguments and what it removes. The last one is the last to run. Of those that
# remove nothing the normal run tries two, other ones each time, and `--long` all.
OPERATIONS: Mapping[str, tuple[tuple[str, ...], set[str]]] = {
    "stop": (("stop",), set()),
    "down": (("down",), set()),
    "rebuild": (("rebuild", "--service", "backend"), set()),
    "clean": (("clean",), set()),
    "clean-containers": (("clean-containers",), set()),
    "clean-logs": (("clean-logs", "--yes"), {"logs"}),
    "clean-cache": (("clean-cache", "--confirm", "EMPTY CACHE"), {"cache"}),
    "clean-all": (("clean-all", "--confirm", PHRASE), set(KINDS)),
}
KEEPING = [operation for operation, (_, removed) in OPERATIONS.items() if not removed]
CELLS = [(operation, kind) for operation in OPERATIONS for kind in KINDS]


@pytest.fixture(scope="module")
def other(core: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Another instance of the same stack on the same engine: database and cache are enough."""
    checkout = Checkout.make(tmp_path_factory.mktemp("other") / "app")
    try:
        checkout.succeed("up", "--build", "--service", "db,redis")
        yield checkout
    finally:
        checkout.destroy()


@pytest.fixture(scope="module")
def tried(everything: bool) -> set[str]:
    """The operations that this run tries."""
    kept = KEEPING if everything else chance("protection table").sample(KEEPING, 2)
    return {*kept, *(OPERATIONS.keys() - KEEPING)}


@pytest.fixture(scope="module")
def left(core: Checkout) -> dict[str, dict[str, bool]]:
    """What was found after each operation, filled in as the table is gone through."""
    return {}


def container(checkout: Checkout, service: str) -> str:
    """The id of a service's only container."""
    (found,) = checkout.containers(f"label=com.docker.compose.service={service}")
    return found


def volumes(checkout: Checkout) -> list[str]:
    """The names of the instance's volumes that exist."""
    return [n for n in checkout.docker("volume", "ls", "-q").split() if checkout.stack in n]


def put(core: Checkout, word: str) -> None:
    """Put something of each kind in, through the stack itself."""
    core.call("POST", "/api/projects", {"name": word})
    core.call("PUT", f"/api/uploads/{word}.bin", os.urandom(5000))
    for service, file in (("backend", "/app/staticfiles"), ("proxy", "/var/log/nginx")):
        core.docker("exec", container(core, service), "sh", "-c", f"echo {word} >{file}/{word}")
    core.docker("exec", container(core, "redis"), "redis-cli", "SET", word, "1")
    (core.folder / "backend" / "logs" / word).write_text(word)


def seen(core: Checkout, word: str) -> dict[str, bool]:
    """Which of it is still there."""
    listed = core.call("GET", "/api/uploads")["uploads"]
    static, logs = (
        core.docker("exec", container(core, service), "ls", folder).split()
        for service, folder in (("backend", "/app/staticfiles"), ("proxy", "/var/log/nginx"))
    )
    there = {word in logs, (core.folder / "backend" / "logs" / word).exists()}
    assert len(there) == 1, "the volume and the folder of logs go together"
    return {
        "database": word in core.sql("rulesdb", "SELECT name FROM projects"),
        "media": any(entry["path"] == f"{word}.bin" for entry in listed),
        "static": word in static,
        "cache": core.docker("exec", container(core, "redis"), "redis-cli", "GET", word) == "1",
        "logs": there.pop(),
    }


def root_of(core: Checkout, key: str) -> str:
    """Owner and mode of a volume's root."""
    tiny = os.environ.get("TINY_IMAGE") or os.environ["PYTHON_IMAGE"]
    mount = f"{core.stack}-{key}:/v:ro"
    command = ("run", "--rm", "--volume", mount, "--entrypoint", "stat", tiny)
    return core.docker(*command, "-c", "%u:%g %a", "/v")


REFUSED = [
    (("clean-all",), "delete everything\n"),
    (("clean-all",), f"{PHRASE} \n"),
    (("clean-all",), ""),
    (("clean-all", "--yes"), ""),
    (("clean-all", "--confirm", "delete everything"), f"{PHRASE}\n"),
    (("nuke",), "NUKE\n"),
    (("clean-cache", "--yes"), "yes\n"),
    (("clean-logs",), "no\n"),
]


@pytest.mark.parametrize(("arguments", "typed"), REFUSED)
def test_without_the_exact_words_nothing_changes(
    core: Checkout, arguments: tuple[str, ...], typed: str
) -> None:
    """Exit 6, and the same containers and volumes as before."""
    before = core.started(), volumes(core)
    result = core.inv(*arguments, input=typed)
    assert result.code == 6, result.err
    assert "HINT: " in result.err
    assert (core.started(), volumes(core)) == before


def test_what_will_be_lost_is_listed_before_it_is_asked(core: Checkout) -> None:
    """Sizes, age of the newest verified backup, and the command that makes one."""
    first = core.inv("clean-all").err
    assert "EVERYTHING OF INSTANCE core" in first
    assert "backend-media (User uploads, critical)" in first
    assert "NO verified backup" in first
    assert "inv backup --instance core" in first
    core.succeed("backup")
    second = core.inv("clean-all").err
    lines = {line.split()[1]: line for line in second.splitlines() if line.startswith("  volume")}
    assert core.sets()[-1].name in lines["postgres-data"]
    assert core.sets()[-1].name in lines["backend-media"]
    assert " ago (" in lines["redis-data"] or "just now" in lines["redis-data"]
    assert "is never backed up" in lines["proxy-logs"]
    assert all("KiB" in line or "MiB" in line or " B," in line for line in lines.values())
    assert "backup --instance core" in second


def test_a_dry_run_of_everything_removes_nothing(core: Checkout) -> None:
    """Each has a plan with reasons, asks nothing and exits 0."""
    before = core.started()
    for task in ("clean", "clean-logs", "clean-cache", "clean-all", "nuke", "shutdown"):
        planned = core.succeed(task, "--dry-run").out
        assert "stop proxy" in planned, task
        assert " — " in planned
    assert core.started() == before


def test_a_user_outside_the_project_is_named_and_not_forced(core: Checkout) -> None:
    """Exit 2 before anything stops; the stranger and the data stay."""
    tiny = os.environ.get("TINY_IMAGE") or os.environ["PYTHON_IMAGE"]
    volume = f"{core.stack}-redis-data:/data"
    name = f"{core.stack}-stranger"
    core.docker("run", "--detach", "--name", name, "--volume", volume, tiny, "sleep", "600")
    try:
        before = core.started()
        for task, phrase in (("clean-cache", "EMPTY CACHE"), ("clean-all", PHRASE)):
            result = core.inv(task, "--confirm", phrase)
            assert result.code == 2
            assert name in result.err
        assert core.started() == before
    finally:
        core.docker("rm", "--force", name)


def test_two_changing_tasks_in_one_command_line_are_refused(core: Checkout) -> None:
    """Exit 2 before the first one begins; one that only looks may stand beside it."""
    before = core.started()
    result = core.inv("stop", "backup")
    assert result.code == 2
    assert "stop and backup" in result.err
    assert core.started() == before
    assert core.inv("stop", "--service", "proxy", "stop", "--service", "frontend").code == 2
    assert core.started() == before


@pytest.mark.parametrize(("operation", "kind"), CELLS)
def test_the_protection_table_holds(
    core: Checkout,
    tried: set[str],
    left: dict[str, dict[str, bool]],
    operation: str,
    kind: str,
) -> None:
    """One cell: what was put in before the operation is there after it, or is not."""
    if operation not in tried:
        pytest.skip("not in the sample of this run; --long tries all")
    arguments, removed = OPERATIONS[operation]
    if operation not in left:
        put(core, operation)
        assert all(seen(core, operation).values())
        roots = {key: root_of(core, key) for key in ("redis-data", "proxy-logs")}
        ran = core.running()
        core.succeed(*arguments)
        if operation in ("clean-logs", "clean-cache", "rebuild"):
            assert core.running() == ran, "who was stopped for it is back"
        else:
            assert core.running() == set()
        if operation == "clean-all":
            assert core.containers() == []
            assert volumes(core) == []
            assert not [n for n in core.docker("network", "ls").split() if core.stack in n]
            assert core.sets(), "backups are never removed"
            core.succeed("up")
            core.succeed("migrate")
        else:
            core.succeed("up")
            assert {key: root_of(core, key) for key in roots} == roots
        left[operation] = seen(core, operation)
    assert left[operation][kind] == (kind not in removed)


def test_what_was_down_stays_down_while_the_cache_is_emptied(core: Checkout) -> None:
    """From a pipe; only who ran comes back."""
    core.succeed("stop", "--service", "frontend")
    running = core.running()
    assert running == {"db", "redis", "backend"}
    result = core.inv("clean-cache", "--json", input="EMPTY CACHE\n")
    assert result.code == 0, result.err
    assert result.document["ok"] is True
    assert core.running() == running
    core.succeed("start")


def test_after_nuke_the_databases_are_empty_and_a_set_brings_them_back(core: Checkout) -> None:
    """Seed 000's cycle: nuke, up of the database, migrate, restore of the data, up of the rest."""
    core.call("POST", "/api/projects", {"name": "before the nuke"})
    core.succeed("backup")
    result = core.inv("nuke", input="NUKE core\n")
    assert result.code == 0, result.err
    assert core.running() == {"redis"}
    assert f"{core.stack}-postgres-data" not in volumes(core)
    core.succeed("up", "--service", "db")
    core.succeed("migrate")
    assert core.sql("rulesdb", "SELECT count(*) FROM projects") == ["0"]
    core.succeed("restore", "--file", "latest", "--only", "rulesdb,memorydb", "--yes")
    core.succeed("up")
    assert core.sql("rulesdb", "SELECT name FROM projects")[-1] == "before the nuke"


@pytest.mark.sample
def test_clean_all_of_one_instance_leaves_the_other_alone(core: Checkout, other: Checkout) -> None:
    """Typed in a terminal. The other's containers are the same, and its data is there."""
    other.docker("exec", container(other, "redis"), "redis-cli", "SET", "mine", "1")
    other.sql("rulesdb", "CREATE TABLE mine (x int); INSERT INTO mine VALUES (7)")
    before = other.started()
    kept = volumes(other)
    typed = [("to continue:", f"{PHRASE}\r")]
    code, shown = inv_in_terminal(core, ["clean-all"], typed)
    assert code == 0, shown
    assert "THIS PERMANENTLY REMOVES EVERYTHING OF INSTANCE core" in shown
    assert core.containers() == []
    assert other.started() == before
    assert other.sql("rulesdb", "SELECT x FROM mine") == ["7"]
    assert other.docker("exec", container(other, "redis"), "redis-cli", "GET", "mine") == "1"
    assert volumes(other) == kept
    again = core.succeed("clean-all", "--json")
    assert json.loads(again.out)["ok"] is True, "with nothing left, nothing is asked"
