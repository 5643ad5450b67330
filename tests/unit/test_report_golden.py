"""What each result looks like, compared whole with `tests/golden/report/`.

`UPDATE_GOLDEN=1` writes the files anew; the difference is then reviewed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from quiesce.errors import ConfigError, Problem, QuiesceError, StepFailed
from quiesce.findings import Finding
from quiesce.model import Downtime
from quiesce.observed import ShadowedFolder
from quiesce.report import (
    MigrationRow,
    Reporter,
    RestoredDatabase,
    RestoredVolume,
    RestoreOutcome,
    UnfinishedRun,
)
from quiesce.report.values import DrillRecord, LastRestore, Leftover
from tests.unit import report_samples as samples

GOLDEN = Path(__file__).parent.parent / "golden" / "report"

Scene = Callable[[samples.Room], None]


def _told(tell: Callable[[Reporter], None]) -> Scene:
    return lambda room: tell(room.reporter)


def _sets(reporter: Reporter) -> None:
    reasons = {
        "core-20260901-020000": ("pinned",),
        "core-20261120-153012": ("last 3", "daily"),
        "core-20261121-025959": ("last 3",),
    }
    unreadable = (("core-20261117-020000", "manifest.json is not JSON"),)
    reporter.sets(samples.several_sets(), samples.NOW, reasons=reasons, unreadable=unreadable)


def _status(reporter: Reporter) -> None:
    runs = (UnfinishedRun("20261121020000-ab12", "full backup", samples.NOW - timedelta(hours=3)),)
    sizes = {"postgres-data": (1234, 8_200_000), "backend-media": (62569, 2_000_000_000)}
    sets = samples.several_sets()
    covered = (ShadowedFolder("worker", "/srv/app", "/app", ("bin", "node_modules", "lib")),)
    restored = LastRestore("restore core-20261120-153012", samples.NOW - timedelta(days=3))
    drilled = DrillRecord(samples.NOW - timedelta(days=20), True, "core-20261101-020000", 48.2, "")
    left = Leftover(
        "20261120020000-cd34", "database rulesdb__old_cd34",
        "database rulesdb__old_cd34 (8.2 MB) of run 20261120020000-cd34 could not be removed: "
        "it is used by logical replication subscription s",
        "every later run tries again (3 tries since 2026-11-20 01:00 UTC); by hand: "
        'DROP DATABASE "rulesdb__old_cd34" WITH (FORCE);', 8_200_000, tries=3,
    )  # fmt: skip
    reporter.status(
        samples.observed(), samples.stack(), sets, samples.NOW, runs, sizes,
        covered=covered, last_restore=restored, last_drill=drilled, left=(left,),
    )  # fmt: skip


def _volumes(reporter: Reporter) -> None:
    sizes = {"postgres-data": (1234, 8_200_000), "backend-media": (62569, 2_000_000_000)}
    reporter.volumes(samples.observed(), samples.stack(), sizes)


def _migrations(reporter: Reporter) -> None:
    reporter.migrations(
        [
            MigrationRow("rulesdb", ("ab12",), ("ab12",)),
            MigrationRow("memorydb", ("a1",), ("c3",), ("b2", "c3")),
            MigrationRow("newer", ("ff99",), ("c3",), (), ("ff99",)),
            MigrationRow("away", problem="the server cannot be asked"),
            MigrationRow("plain"),
        ]
    )


def _findings(reporter: Reporter) -> None:
    reporter.findings(
        [
            Finding("ok", "stack.yaml", "matches the stack"),
            Finding("warning", "free space", "3.0 GiB left", "free some, or prune"),
            Finding("error", "surprise", "is neither listed nor excluded", "add it to volumes"),
        ]
    )


def _restore(reporter: Reporter) -> None:
    reporter.restore_done(
        RestoreOutcome(
            "core-20261121-020000",
            (RestoredDatabase("rulesdb", 12, 12345), RestoredDatabase("old", 1, 1, False)),
            (RestoredVolume("backend-media", 62569, 2_000_000_000),),
            75.25,
            Downtime(4.2, {"backend": 4.2}),
            "core-20261121-050000-safety",
        )
    )


def _done(reporter: Reporter) -> None:
    facts = {
        "identical": True,
        "tables": 12,
        "bytes": 12_986_613,
        "backup_seconds": 1.5,
        "sets": ["a", "b"],
        "runtime": "host",
        "lost": None,
    }
    reporter.done("the demo came back identical", facts)


def _failure(reporter: Reporter) -> None:
    details = [f"log line {number}" for number in range(1, 44)]
    reporter.error(StepFailed("backend is not healthy", "check 'inv logs'", details=details))


def _problems(reporter: Reporter) -> None:
    problems = [
        Problem("stack.yaml", 12, "volumes.media", "unknown key purpos", "purpose?"),
        Problem("stack.yaml", 30, "retention", "no rule keeps anything"),
    ]
    reporter.error(ConfigError(problems))


def _run(room: samples.Room) -> None:
    reporter, watch = room.reporter, room.watch
    reporter.note("run 20261120 (backup of core) was interrupted: recovering it first")
    reporter.step_begins("/0", "stop backend, proxy", "writes to backend-media", 0)
    watch.advance(1.2)
    reporter.step_ends("/0", "stop backend, proxy", 1.2, "")
    reporter.step_begins(
        "/1/body/0", "dump database rulesdb (full)", "from the exported snapshot", 1
    )
    reporter.step_begins(
        "/1/body/1", "dump database memorydb (full)", "from the exported snapshot", 1
    )
    for done in range(50):
        watch.advance(1)
        if done % 10 == 0:
            reporter.progress("memorydb.dump", done * 10_000_000)
    reporter.warn("backend did not end in 60 s\nand was killed")
    reporter.step_ends("/1/body/0", "dump database rulesdb (full)", 50, "12 tables, 4.1 MiB")
    watch.advance(0.02)
    reporter.step_fails("/1/body/1", "dump database memorydb (full)", "disk full: a\x1b[2J\udcff")


SCENES: dict[str, Scene] = {
    "plan": _told(lambda reporter: reporter.plan(samples.plan())),
    "sets": _told(_sets),
    "no-sets": _told(lambda reporter: reporter.sets([], samples.NOW)),
    "status": _told(_status),
    "volumes": _told(_volumes),
    "migrations": _told(_migrations),
    "findings": _told(_findings),
    "backup": _told(lambda reporter: reporter.backup_done(samples.backup_set())),
    "restore": _told(_restore),
    "done": _told(_done),
    "failure": _told(_failure),
    "problems": _told(_problems),
    "run": _run,
}

FACES = {
    "terminal": {"renderer": "terminal", "columns": 80},
    "narrow terminal without colour": {
        "renderer": "terminal",
        "columns": 44,
        "environ": {"TERM": "xterm", "NO_COLOR": "1"},
    },
    "ascii terminal": {
        "renderer": "terminal",
        "encoding": "ascii",
        "environ": {"TERM": "xterm", "NO_COLOR": "1"},
    },
    "plain": {"renderer": "plain"},
    "json": {"renderer": "json"},
}


@pytest.mark.parametrize("scene", SCENES)
def test_every_renderer_shows_the_result_as_in_the_golden_file(scene: str) -> None:
    """Terminal, narrow, ASCII, plain and JSON, each stream on its own."""
    shown = "".join(_section(scene, title, options) for title, options in FACES.items())
    golden = GOLDEN / f"{scene}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown)
    assert shown == golden.read_text()


@pytest.mark.parametrize("scene", SCENES)
def test_with_json_stdout_is_one_document_that_names_its_task(scene: str) -> None:
    """Whatever is told, stdout parses, and says ok and task."""
    room = samples.Room(renderer="json")
    SCENES[scene](room)
    room.reporter.close()
    document = json.loads(room.stdout)
    assert document["task"] == "backup"
    assert document["ok"] is (scene not in ("failure", "problems", "findings"))


def _section(scene: str, title: str, options: dict[str, object]) -> str:
    room = samples.Room(**options)  # type: ignore[arg-type]
    SCENES[scene](room)
    room.reporter.close()
    text = ""
    for name, content in (("stdout", room.stdout), ("stderr", room.stderr)):
        if content:
            text += f"=== {title}: {name}\n{_visible(content)}"
    assert "could not be shown" not in text
    return text


def _visible(content: str) -> str:
    """Escape codes as text, one drawing of the live lines below the other."""
    return content.replace("\r", "␍\n").replace("\x1b", "␛") + (
        "" if content[-1] == "\n" else "⏎\n"
    )


def test_an_error_without_a_hint_is_one_line() -> None:
    """No empty HINT line follows."""
    room = samples.Room()
    room.reporter.error(QuiesceError("something happened"))
    assert room.stderr == "error: something happened\n"
