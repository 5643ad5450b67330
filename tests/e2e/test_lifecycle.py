"""Running, looking and going in, on the real stack: terminal, pipe and cron's bare environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.checkout import Checkout, wait_until
from tests.support.terminal import inv_in_terminal

pytestmark = pytest.mark.engine
EVERYTHING = {"db", "redis", "backend", "frontend", "proxy"}


def test_exec_passes_arguments_and_exit_code_through(core: Checkout) -> None:
    """Blanks, quotes and another `--` arrive as they were given; so does what comes back."""
    words = ["printf", "[%s]", "two words", "--", "it's", "$HOME", ""]
    result = core.inv("exec", "--service", "backend", "--", *words)
    assert result.out == "[two words][--][it's][$HOME][]"
    assert core.inv("exec", "--service", "backend", "--", "sh", "-c", "exit 41").code == 41
    piped = core.inv("exec", "--service", "backend", "--", "cat", input="through a pipe\n")
    assert piped.out == "through a pipe\n"


def test_a_program_cannot_run_where_nothing_runs(core: Checkout) -> None:
    """Exit 2 with the nearest name, or the way to start the service."""
    unknown = core.inv("exec", "--service", "bakend", "--", "true")
    assert unknown.code == 2
    assert "backend" in unknown.err
    assert core.inv("exec", "--service", "backend").code == 2
    assert core.inv("shell").code == 2


def test_a_shell_and_psql_open_in_a_terminal(core: Checkout) -> None:
    """What is typed is answered, and leaving ends well."""
    code, shown = inv_in_terminal(
        core, ["shell", "--service", "backend"], [("#", "echo $((6*7)); exit 3\r")]
    )
    assert "42" in shown
    assert code == 3
    code, shown = inv_in_terminal(
        core, ["db-shell", "--database", "memorydb"], [("memorydb=#", "\\conninfo\r\\q\r")]
    )
    assert code == 0
    assert "memorydb" in shown


def test_psql_takes_arguments_without_a_terminal(core: Checkout) -> None:
    """For scripts; the password is in no argument of any process."""
    result = core.inv("db-shell", "--database", "rulesdb", "--", "-XAtc", "SELECT 6 * 7")
    assert result.code == 0, result.err
    assert result.out.split() == ["42"]
    assert core.inv("db-shell", "--database", "rulsdb").code == 2


def test_a_killed_psql_leaves_no_session(core: Checkout) -> None:
    """Killing what `inv db-shell` became ends neither psql in the container nor its session."""
    there = "SELECT 1 FROM pg_stat_activity WHERE application_name ~ '^db-shell:'"
    shell = core.start_inv("db-shell", "--database", "rulesdb", "--", "-c", "SELECT pg_sleep(3600)")
    wait_until(lambda: bool(core.sql("postgres", there)), "psql to be at work")
    os.killpg(shell.pid, signal.SIGKILL)
    shell.communicate()
    wait_until(lambda: not core.sql("postgres", there), "its session to end")


def test_logs_are_printed_and_followed(core: Checkout) -> None:
    """The last lines of the services that were named, each with its name; following goes on."""
    printed = core.succeed("logs", "--service", "db,backend", "--lines", "3").out
    assert {line.split(" | ")[0] for line in printed.splitlines()} == {"db", "backend"}
    say = "DO $$ BEGIN RAISE LOG 'heard %'; END $$"
    core.sql("postgres", say.replace("%", "before"))
    following = core.start_inv("logs", "--service", "db", "--follow", "--lines", "50")
    assert following.stdout is not None
    try:
        assert any("heard before" in line for line in following.stdout)
        core.sql("postgres", say.replace("%", "meanwhile"))
        assert any("heard meanwhile" in line for line in following.stdout)
    finally:
        following.terminate()
        following.communicate()


def test_status_says_everything_at_a_glance(core: Checkout) -> None:
    """As one document, as plain lines in a pipe, and in a terminal; nothing stops for it."""
    before = core.started()
    document = core.succeed("status", "--json").document
    assert {service["name"] for service in document["services"]} == EVERYTHING
    assert all(service["units"][0]["started_at"] for service in document["services"])
    assert {volume["key"] for volume in document["volumes"]} >= {"backend-media", "redis-data"}
    assert all(volume["bytes"] is not None for volume in document["volumes"])
    assert document["last_backup"] is None
    assert document["interrupted_runs"] == []
    assert document["covered_folders"] == []
    plain = core.succeed("status").out
    assert "UP FOR" in plain
    assert "\x1b" not in plain
    code, shown = inv_in_terminal(core, ["status"])
    assert code == 0
    assert "\x1b[" in shown
    assert "backend-media" in shown
    assert core.started() == before


def test_a_volume_above_its_size_is_marked(core: Checkout) -> None:
    """The inventory is shown all the same; exit 7 names the volume."""
    core.succeed("volumes", "--max-size", "100GiB")
    text = (core.folder / "stack.yaml").read_text()
    try:
        limited = text.replace("purpose: User uploads,", "purpose: User uploads, max_size: 1B,")
        assert limited != text
        (core.folder / "stack.yaml").write_text(limited)
        core.call("PUT", "/api/uploads/large.bin", os.urandom(2000))
        result = core.inv("volumes", "--json")
        assert result.code == 7
        marked = {v["key"]: v["max_bytes"] for v in result.document["volumes"]}
        assert marked["backend-media"] == 1
        assert "backend-media" in result.err
    finally:
        (core.folder / "stack.yaml").write_text(text)
    assert core.inv("volumes", "--max-size", "much").code == 2


def test_services_stop_and_start_in_order_and_wait(core: Checkout) -> None:
    """The engine's own record: dependents stop first, and start when what they need is healthy."""
    core.succeed("restart", "--service", "backend")
    times = {}
    for service in ("backend", "frontend", "proxy"):
        (found,) = core.containers(f"label=com.docker.compose.service={service}")
        state = json.loads(core.docker("inspect", "-f", "{{json .State}}", found))
        times[service] = (state["FinishedAt"], state["StartedAt"])
    assert times["proxy"][0] < times["frontend"][0] < times["backend"][0]
    assert times["backend"][1] < times["frontend"][1] < times["proxy"][1]
    core.wait_until_healthy(EVERYTHING)


def test_a_service_that_does_not_get_healthy_shows_its_last_lines(core: Checkout) -> None:
    """The failure names it, with the end of its log, on stderr only."""
    file = core.folder / "docker-compose.yml"
    text = file.read_text()
    broken = "  broken:\n    image: ${PYTHON_IMAGE}\n    entrypoint: [sh, -c]\n"
    broken += "    command: ['echo the reason is here; exit 9']\n\nvolumes:\n  postgres-data:\n"
    try:
        assert text.count("\nvolumes:\n  postgres-data:\n") == 1
        file.write_text(text.replace("volumes:\n  postgres-data:\n", broken))
        result = core.inv("up", "--service", "broken")
        assert result.code == 3, result.out
        assert "broken" in result.err
        assert "the reason is here" in result.err
        assert "inv logs --service broken" in result.err
    finally:
        core.inv("down", "--service", "broken")
        file.write_text(text)


def test_up_asks_before_it_makes_anew_what_runs(core: Checkout) -> None:
    """A changed configuration is named in the plan and asked about; without a yes nothing is."""
    before = core.started()
    core.succeed("up")
    assert core.started() == before
    file = core.folder / "docker-compose.yml"
    text = file.read_text()
    changed = text.replace("  proxy:\n", "  proxy:\n    labels: {changed: once}\n", 1)
    assert changed != text
    try:
        file.write_text(changed)
        plan = core.succeed("up", "--dry-run").out
        assert "proxy is recreated: its configuration differs" in plan
        refused = core.inv("up")
        assert refused.code == 6
        assert "proxy (its configuration differs)" in refused.err
        assert core.started() == before
        core.succeed("up", "--yes")
        assert len(set(before) - set(core.started())) == 1, "only the proxy is another one"
    finally:
        file.write_text(text)
        core.succeed("up", "--yes")


def test_the_doctor_finds_what_is_wrong_and_how_to_mend_it(core: Checkout) -> None:
    """A deaf first process, a bind mount that hides the image, its data, open permissions."""
    file = core.folder / "docker-compose.yml"
    text = file.read_text()
    source = core.folder / "hiding"
    source.mkdir()
    (source / "data").write_text("of somebody")
    deaf = "  deaf:\n    image: ${PYTHON_IMAGE}\n    entrypoint: [sh, -c]\n"
    deaf += "    command: ['while :; do sleep 1; done']\n    stop_grace_period: 1s\n"
    deaf += "    volumes: ['./hiding:/usr/share']\n\nvolumes:\n  postgres-data:\n"
    try:
        file.write_text(text.replace("volumes:\n  postgres-data:\n", deaf))
        core.succeed("up", "--service", "deaf")
        core.succeed("backup", "--data-only")
        (core.folder / "backups").chmod(0o755)
        result = core.inv("doctor", "--json")
        assert result.code == 7
        found = {f["subject"]: f for f in result.document["findings"] if f["level"] != "ok"}
        hidden, nosy = found["deaf"], found[str(source)]
        facts = [f["fact"] for f in result.document["findings"] if f["subject"] == "deaf"]
        assert any("ignores SIGTERM" in fact for fact in facts)
        # They have 'init: true', which is what the hint asks for.
        assert not {"backend", "frontend"} & set(found)
        assert any("/usr/share" in fact and "hides" in fact for fact in facts)
        assert hidden["hint"]
        assert "paths:  hiding: {path: ./hiding, backup: files}" in nosy["hint"]
        assert nosy["level"] == "error"
        assert found["backups"]["hint"] == f"chmod 0700 {core.folder / 'backups'}"
        assert all(f["hint"] for f in found.values())
        subjects = {f["subject"] for f in result.document["findings"]}
        assert {"engine", "rulesdb", "docker compose", "free space", "lock"} <= subjects
        covered = core.succeed("status", "--json").document["covered_folders"]
        assert [(c["service"], c["target"]) for c in covered] == [("deaf", "/usr/share")]
    finally:
        # Not by `down`: nobody in there hears its stop, for a whole minute.
        core.docker("rm", "--force", *core.containers("label=com.docker.compose.service=deaf"))
        (core.folder / "backups").chmod(0o700)
        file.write_text(text)


def test_the_doctor_goes_on_without_an_engine(core: Checkout) -> None:
    """It says that it does not answer, and still looks at everything else."""
    result = core.inv("doctor", "--json", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert result.code == 7
    found = {f["subject"]: f for f in result.document["findings"]}
    assert "does not answer" in found["engine"]["fact"]
    assert "start Docker" in found["engine"]["hint"]
    assert "free space" in found


@pytest.mark.core
def test_everything_works_from_a_bare_environment(core: Checkout) -> None:
    """As cron starts it: `env -i`, /bin/sh, no terminal, nothing to read."""
    line = f"cd {core.folder} && {sys.executable} -m invoke"
    for task in ("status", "volumes", "clean-logs --yes", "restart --service proxy", "logs"):
        ended = subprocess.run(
            ["env", "-i", f"DOCKER_HOST={core.environment['DOCKER_HOST']}", "PATH=/usr/bin:/bin",
             "SHELL=/bin/sh", "/bin/sh", "-c", f"{line} {task}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert ended.returncode == 0, f"{task}: {ended.stderr}"
        assert "\x1b" not in ended.stdout + ended.stderr


def test_every_task_works_in_a_terminal(core: Checkout) -> None:
    """What the other tests run in a pipe and a bare environment, typed at a terminal."""
    wanted = [
        (["up"], ()),
        (["status"], ()),
        (["volumes"], ()),
        (["check"], ()),
        (["doctor"], ()),
        (["logs", "--service", "redis"], ()),
        (["restart", "--service", "frontend"], ()),
        (["rebuild", "--service", "frontend"], ()),
        (["stop", "--service", "frontend"], ()),
        (["start"], ()),
        (["clean-logs"], [("[yes/no]", "yes\r")]),
        (["clean-cache"], [("to continue", "EMPTY CACHE\r")]),
        (["down"], ()),
        (["clean-containers"], ()),
        (["clean"], ()),
        (["nuke"], [("to continue", "NUKE core\r")]),
        (["up"], ()),
    ]
    for arguments, typed in wanted:
        code, shown = inv_in_terminal(core, arguments, typed)
        assert code == 0, f"{arguments}: {shown}"
    core.wait_until_healthy(EVERYTHING)
