"""Cleaning, going in and shutting down where services are processes: no Docker, no PostgreSQL."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.app.connect import end_host_processes
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
    assert f"{name} was made of instance local" in refused.stderr
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
