"""Who hears of a run: people, monitors, Prometheus, and programs that collect logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quiesce.app.wiring import end_host_processes
from tests.support.listener import Listener, a_listener
from tests.support.place import ONE_VOLUME, Place

SECRET = "hidden-token"
HEARD_OF = """
schedule: [daily 02:00 full]
notify:
  - {url: "${NOTIFY_URL}", on: [success, failure, recovery, overdue]}
ping:
  backup: {url: "${PING_URL}"}
metrics: metrics
"""


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Somebody who listens."""
    with a_listener() as there:
        yield there


@pytest.fixture
def place(tmp_path: Path, listener: Listener) -> Iterator[Place]:
    """The stack, up; its addresses are in the env file, as secrets are."""
    made = Place(tmp_path, ONE_VOLUME + HEARD_OF)
    lines = [f"NOTIFY_URL=json://{listener.url}/notify?{SECRET}=1"]
    lines.append(f"PING_URL=http://{listener.url}/ping/{SECRET}")
    (tmp_path / ".env").write_text("\n".join(lines) + "\n")
    (tmp_path / "metrics").mkdir()
    try:
        made.succeed("up")
        (made.volume("media") / "upload").write_text("x")
        listener.heard.clear()
        yield made
    finally:
        end_host_processes(tmp_path)


def figures(place: Place) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What a collector reads."""
    text = (place.folder / "metrics" / "quiesce-local.prom").read_text()
    return {
        family.name: [(dict(s.labels), s.value) for s in family.samples]
        for family in text_string_to_metric_families(text)
    }


def titles(listener: Listener) -> list[str]:
    """The titles of the messages that came."""
    return [json.loads(body)["title"] for path, body in listener.heard if "notify" in path]


def test_a_good_run_is_heard_of(place: Place, listener: Listener) -> None:
    """Start and success at the monitor, a message, and figures that a parser understands."""
    place.succeed("backup")
    pings = [path for path in listener.paths() if path.startswith("/ping")]
    assert pings == [f"/ping/{SECRET}/start", f"/ping/{SECRET}"]
    assert any(title.startswith("local: backup succeeded in ") for title in titles(listener))
    found = figures(place)
    assert ({"instance": "local", "task": "backup"}, 1.0) in found["quiesce_run_success"]
    ((labels, size),) = found["quiesce_set_bytes"]
    assert labels == {"instance": "local", "kind": "full"}
    assert size > 0
    assert [labels["service"] for labels, _ in found["quiesce_downtime_seconds"]] == ["web"]
    assert {"quiesce_last_success_timestamp_seconds", "quiesce_verified_timestamp_seconds"} <= set(
        found
    )


def test_a_failed_run_is_heard_of(place: Place, listener: Listener) -> None:
    """With the reason and the way out, and without what lets people in."""
    place.succeed("backup")
    listener.heard.clear()
    (made,) = place.folder.glob("backups/local-*")
    archive = next(made.glob("volumes/media.0*"))
    archive.write_bytes(b"damaged")
    assert place.inv("restore", "--file", made.name, "--yes").returncode == 2
    (title,) = [t for t in titles(listener) if "FAILED" in t]
    assert title == "local: restore FAILED"
    (body,) = [json.loads(b)["message"] for p, b in listener.heard if "FAILED" in b]
    assert f"{made.name} is damaged" in body
    assert "HINT" in body
    failed = {labels["task"]: value for labels, value in figures(place)["quiesce_run_success"]}
    assert failed == {"backup": 1.0, "restore": 0.0, "up": 1.0}


@pytest.mark.parametrize("trouble", ["refuses", "hangs", "is not there"])
def test_a_message_that_fails_fails_nothing(place: Place, listener: Listener, trouble: str) -> None:
    """It says so; the backup is as good as ever; nothing of the address is shown."""
    if trouble == "refuses":
        listener.status = 500
    elif trouble == "hangs":
        listener.answer.clear()
    else:
        file = place.folder / ".env"
        file.write_text(file.read_text().replace(listener.url, "127.0.0.1:9"))
    (place.folder / "metrics").rmdir()
    done = place.inv("backup", "--json")
    assert done.returncode == 0, done.stderr
    assert "notify[0] could not be notified" in done.stderr
    assert "could not ping the monitor for the end of backup" in done.stderr
    assert "cannot write the metrics: No such file or directory" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"] is True


def test_no_address_is_in_anything_that_stays(place: Place) -> None:
    """Not in sets, journals, reports, figures."""
    place.succeed("backup")
    for top in ("backups", "metrics"):
        for path in (place.folder / top).rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path


def test_what_happens_is_told_as_lines_of_json(place: Place) -> None:
    """Every line on stderr is one object, also of an error; the document stays on stdout."""
    done = place.inv("backup", "--log-format", "json", "--json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    events = [line["event"] for line in lines]
    assert events.count("step_begins") == events.count("step_ends") > 5
    assert all(line.keys() >= {"time", "level", "event", "task", "message"} for line in lines)
    assert json.loads(done.stdout)["ok"] is True
    failed = place.inv("restore", "--file", "nothing", QUIESCE_LOG_FORMAT="json")
    (line,) = [json.loads(line) for line in failed.stderr.splitlines()]
    assert (line["level"], line["event"]) == ("error", "failure")
    assert line["hint"]
    assert place.inv("status", "--log-format", "xml").returncode == 2


def test_what_was_missed_is_told(place: Place, listener: Listener) -> None:
    """The last backup is days old: whatever runs next says so."""
    place.succeed("backup")
    (manifest,) = place.folder.glob("backups/local-*/manifest.json")
    for path in place.folder.glob("backups/.reports/local/*"):
        path.unlink()
    text = manifest.read_text()
    manifest.write_text(re.sub(r'("created_at": ")\d{4}', r"\g<1>2020", text))
    listener.heard.clear()
    place.inv("verify")
    assert any("overdue" in title for title in titles(listener))
    assert ({"instance": "local", "entry": "daily 02:00 full"}, 1.0) in figures(place)[
        "quiesce_overdue"
    ]
