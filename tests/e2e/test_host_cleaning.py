"""Cleaning, going in and shutting down where services are processes: no Docker, no PostgreSQL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.checkout import free_ports
from tests.support.place import Place

ROOT = Path(__file__).resolve().parents[2]
STACK = """\
version: 1
instances:
  local: {runtime: host, retention: short}
  second: {runtime: host, retention: short}
default_instance: local
services:
  web:
    command: [python, -c, "import time; print('web is here', flush=True); time.sleep(1000)"]
    cwd: .
    volumes: {media: MEDIA, cache: CACHE}
  page: {command: [sleep, '1000'], cwd: ., depends_on: [web]}
volumes:
  media: {purpose: Uploads, priority: critical}
  cache: {purpose: Cache, priority: optional, backup: never, clean: cache}
paths:
  logs: {path: logs, backup: never, clean: logs}
retention:
  short: {keep_last: 3}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The stack, up."""
    made = Place(tmp_path, STACK)
    try:
        made.succeed("up")
        yield made
    finally:
        end_host_processes(tmp_path)


def test_cleaning_keeps_and_removes_the_same_as_on_docker(place: Place) -> None:
    """Cache and logs by their marks, everything by the phrase, backups never."""
    (place.volume("media") / "photo").write_text("x")
    (place.volume("cache") / "entry").write_text("x")
    (place.folder / "logs" / "app.log").write_text("x")
    place.succeed("clean-logs", "--yes")
    assert list((place.folder / "logs").iterdir()) == []
    assert (place.volume("cache") / "entry").exists()
    assert place.inv("clean-cache", typed="empty cache\n").returncode == 6
    place.succeed("clean-cache", typed="EMPTY CACHE\n")
    assert list(place.volume("cache").iterdir()) == []
    assert (place.volume("media") / "photo").exists()
    assert place.running() == {"web", "page"}

    place.succeed("backup")
    assert place.inv("clean-all", "--confirm", "DELETE EVERYTHING").returncode == 2
    named = ("clean-all", "--instance", "local")
    refused = place.inv(*named, typed="DELETE EVERYTHING \n")
    assert refused.returncode == 6
    assert "newest verified backup" in refused.stderr
    assert place.running() == {"web", "page"}
    place.succeed(*named, typed="DELETE EVERYTHING\n")
    assert not list(place.folder.glob(".quiesce/local/volumes/*"))
    assert len(list(place.folder.glob("backups/*/manifest.json"))) == 1
    assert place.running() == set()


def test_going_in_and_looking_work_without_containers(place: Place) -> None:
    """The service's own environment, arguments and exit code untouched; its log."""
    done = place.inv("exec", "--service", "web", "--", "sh", "-c", 'printf "%s" "$MEDIA"; exit 7')
    assert (done.stdout, done.returncode) == (str(place.volume("media")), 7)
    assert place.succeed("logs", "--service", "web") == "web | web is here\n"
    place.succeed("doctor")


def test_a_shutdown_without_databases_keeps_the_volumes(place: Place) -> None:
    """There is nothing to dump, so the set is a full one."""
    (place.volume("media") / "photo").write_text("x")
    last = place.succeed("shutdown").splitlines()[-1]
    assert "safe to power off" in last
    assert place.running() == set()
    assert list(place.folder.glob("backups/*/volumes/media*"))


def test_a_set_of_another_instance_takes_the_flag_and_a_phrase(place: Place) -> None:
    """What is live is another instance's only after its name and the phrase were given."""
    (place.volume("media") / "upload").write_text("of local")
    place.succeed("backup", "--label", "source")
    place.succeed("up", "--instance", "second")
    (media,) = place.folder.glob(".quiesce/second/volumes/media")
    (media / "upload").write_text("of second")
    name = next(path.name for path in place.folder.glob("backups/local-*"))

    def restore(*more: str) -> subprocess.CompletedProcess[str]:
        return place.inv("restore", "--instance", "second", *more)

    refused = restore("--file", name, "--yes")
    assert refused.returncode == 2
    assert f"{name} is a set of instance local" in refused.stderr
    assert restore("--file", name, "--from-instance", "second", "--yes").returncode == 2
    assert restore("--file", name, "--from-instance", "local", "--yes").returncode == 6
    assert (media / "upload").read_text() == "of second"
    phrase = ("--confirm", f"RESTORE {name} INTO second")
    done = restore("--file", "latest", "--from-instance", "local", *phrase)
    assert done.returncode == 0, done.stderr
    assert (media / "upload").read_text() == "of local"
    assert (place.volume("media") / "upload").read_text() == "of local"
    undone = place.inv("undo-restore", "--instance", "second", "--yes")
    assert undone.returncode == 0, undone.stderr
    assert (media / "upload").read_text() == "of second"


PROBED = """
probes:
  - {service: web, port: PORT, path: /upload}
"""


def test_what_was_answered_before_a_restore_is_answered_after_it(tmp_path: Path) -> None:
    """A service that is healthy and answers nothing sensible any more is told: exit 7."""
    (port,) = free_ports(1)
    command = STACK[STACK.index("command: ") : STACK.index("    cwd: .")]
    folder = ".quiesce/local/volumes/media"
    serving = f"command: [python, -m, http.server, '{port}', --directory, {folder}]\n"
    served = STACK.replace(command, serving).replace(
        "    volumes", f"    port: {port}\n    volumes"
    )
    stack = served + PROBED.replace("PORT", str(port)) + "restart: {health_timeout: 5s}\n"
    place = Place(tmp_path, stack)
    try:
        place.succeed("up")
        place.succeed("backup")
        (place.volume("media") / "upload").write_text("there")
        failed = place.inv("restore", "--file", "latest", "--yes")
        assert failed.returncode == 7, failed.stderr
        assert f"web:{port}/upload" in failed.stderr
        assert "undo-restore" in failed.stderr
        place.succeed("undo-restore", "--yes")
        place.succeed("backup")
        place.succeed("restore", "--file", "latest", "--yes")
    finally:
        end_host_processes(tmp_path)


def test_one_task_for_every_instance(place: Place) -> None:
    """Each makes its own set; the worst exit code is the answer, and says whose it is."""
    place.succeed("up", "--instance", "second")
    done = json.loads(place.succeed("backup", "--all-instances", "--label", "night", "--json"))
    assert set(done["instances"]) == {"local", "second"}
    assert {d["set"]["label"] for d in done["instances"].values()} == {"night"}
    names = sorted(path.parent.name for path in place.folder.glob("backups/*/manifest.json"))
    assert [name.partition("-")[0] for name in names] == ["local", "second"]
    place.succeed("verify", "--all-instances")
    (member,) = place.folder.glob("backups/second-*/volumes/media.0*")
    member.write_bytes(b"")
    worst = place.inv("verify", "--all-instances")
    assert worst.returncode == 7
    assert "local: done; second: exit 7" in worst.stdout + worst.stderr
    assert place.inv("verify", "--all-instances", "--instance", "local").returncode == 2


HOOKS = """
before: [{service: web, command: [sh, -c, "echo before >> HERE/hooks; cat HERE/fine"]}]
after: [{service: web, command: [sh, -c, "echo after >> HERE/hooks"]}]
"""


def test_commands_run_around_a_backup(tmp_path: Path) -> None:
    """Before the services rest, and once they are back; one that fails first stops nothing."""
    place = Place(tmp_path, STACK + HOOKS.replace("HERE", str(tmp_path)))
    hooks = tmp_path / "hooks"
    try:
        place.succeed("up")
        (tmp_path / "fine").write_text("")
        plan = place.succeed("backup", "--dry-run")
        assert plan.index("echo before") < plan.index("stop page, web") < plan.index("echo after")
        assert not hooks.exists()
        place.succeed("backup")
        assert hooks.read_text() == "before\nafter\n"
        (tmp_path / "fine").unlink()
        failed = place.inv("backup")
        assert failed.returncode == 3, failed.stderr
        assert "sh in service web" in failed.stderr
        assert hooks.read_text() == "before\nafter\nbefore\nafter\n"
        assert place.running() == {"web", "page"}
        assert len(list(tmp_path.glob("backups/local-*"))) == 1
    finally:
        end_host_processes(tmp_path)
