"""What a killed run is tried with, and everything that must hold after it was recovered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quiesce.adapters.sets.local import LocalStore
from quiesce.app.backups_folder import runs_folder
from quiesce.execute import journal, lock
from tests.support import preloaded
from tests.support.counting import DATABASES, ROOT, Counting, wait_until
from tests.support.patience import TASK

TASKS = {
    "backup": ("backup",),
    "restore": ("restore", "--file", "latest", "--yes"),
}


@dataclass
class Tried:
    """What was tried so far, for the line at the end."""

    points: int = 0
    kept: int = 0


def inv(
    counting: Counting, when: str, position: str, *arguments: str, guard: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `inv` with a death in it."""
    argv = [sys.executable, "-m", "tests.support.killing", when, position, *arguments]
    return preloaded.run(
        [*argv, "--stack", str(counting.folder / "stack.yaml")],
        cwd=ROOT,
        env={**os.environ, "QUIESCE_GUARD": "on" if guard else "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TASK,
    )


def positions(counting: Counting, task: str) -> dict[str, str]:
    """Every step that the task would do when nothing goes wrong: position and kind."""
    ended = inv(counting, "never", "-", *TASKS[task], "--dry-run", "--json")
    return positions_of(json.loads(ended.stdout)["plan"])


def positions_of(plan: dict[str, Any]) -> dict[str, str]:
    """Every step of a plan that is done when nothing goes wrong: position and kind."""
    found: dict[str, str] = {}

    def visit(nodes: list[dict[str, Any]], at: str) -> None:
        for index, node in enumerate(nodes):
            if node["step"] != "Bracket":
                found[f"{at}/{index}"] = node["step"]
                for number, part in enumerate(node.get("steps", [])):
                    found[f"{at}/{index}/steps/{number}"] = part["step"]
                continue
            for part in ("enter", "body", "on_success", "always"):
                visit(node[part], f"{at}/{index}/{part}")

    visit(plan["nodes"], "")
    return found


def mark(counting: Counting, word: str) -> None:
    """Write down, in all three places, what is live now."""
    for key in DATABASES:
        counting.sql(key, "CREATE TABLE IF NOT EXISTS marked (word text)")
        counting.sql(key, f"DELETE FROM marked; INSERT INTO marked VALUES ('{word}')")
    counting.write_file("marked", word)


def marks(counting: Counting) -> set[str]:
    """What the three places say is live; a place that is of the set's time says nothing."""
    found = set()
    for key in DATABASES:
        there = counting.sql(key, "SELECT to_regclass('marked') IS NOT NULL")[0][0]
        rows = counting.sql(key, "SELECT word FROM marked") if there else []
        found.add(rows[0][0] if rows else "")
    found.add(counting.read_file("marked"))
    return found


def leftovers(counting: Counting) -> list[str]:
    """What a dead run may leave nowhere."""
    found = [str(path) for path in counting.folder.glob("backups/.staging/*")]
    found += [name for name in counting.files() if name.startswith(".quiesce-")]
    found += counting.helpers()
    query = "SELECT datname FROM pg_database WHERE datname ~ '__' OR NOT datallowconn"
    found += [row[0] for row in counting.sql("rulesdb", query) if row[0] != "template0"]
    query = "SELECT application_name FROM pg_stat_activity WHERE application_name ~ '^quiesce:'"
    found += [row[0] for row in counting.sql("rulesdb", query)]
    return found


def require_kept(counting: Counting, older: dict[str, str]) -> None:
    """Raise AssertionError unless every promise was kept."""
    for service in ("db", "counter"):
        assert not counting.is_down(service), f"{service} does not run"
    counting.wait_until_it_counts()
    left = leftovers(counting)
    assert not left, left
    assert len(marks(counting)) == 1, "the live data is neither old nor new"
    store = LocalStore(counting.folder / "backups")
    assert store.unreadable() == ()
    for backup in store.sets():
        assert store.verify(backup, lambda *_: None) == ()
    for name, manifest in older.items():
        assert (counting.folder / "backups" / name / "manifest.json").read_text() == manifest


def manifests(counting: Counting) -> dict[str, str]:
    """The sets that are there, with what they say."""
    found = counting.folder.glob("backups/*/manifest.json")
    # Those that retention may take away when the run gets that far are not promised to stay.
    return {path.parent.name: path.read_text() for path in sorted(found)[-1:]}


def is_settled(counting: Counting) -> bool:
    """Whether nobody works on the instance and nothing is owed."""
    folder = runs_folder(counting.session().stack)
    return lock.is_free(folder / "lock") and not list(journal.unfinished(folder))


def kill_and_look(
    counting: Counting, tried: Tried, task: str, when: str, position: str, *, guard: bool
) -> None:
    """One point: killed there, recovered, and everything looked at."""
    counting.wait_until_it_counts()
    mark(counting, f"{when} {position}")
    older = manifests(counting)
    died = inv(counting, when, position, *TASKS[task], guard=guard)
    assert died.returncode == -signal.SIGKILL, f"{position}: {died.stderr}"
    tried.points += 1
    if guard:
        wait_until(lambda: is_settled(counting), "the guard to settle it")
    else:
        # The recovery is killed once, too, at its own first step where it has one.
        inv(counting, "after", "/0", "recover")
        recovered = inv(counting, "never", "-", "recover")
        assert recovered.returncode == 0, recovered.stderr
    require_kept(counting, older)
    tried.kept += 1


def paused(
    counting: Counting,
    at: str,
    file: Path,
    task: str = "backup",
    *,
    guard: bool = True,
    impatient: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a task that stands still before a step; `impatient` where it will lose its engine."""
    stack = str(counting.folder / "stack.yaml")
    process = preloaded.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.killing",
            "pause",
            at,
            *TASKS[task],
            "--stack",
            stack,
        ],
        cwd=ROOT,
        env={
            **os.environ,
            **({"IMPATIENT": "yes"} if impatient else {}),
            "QUIESCE_GUARD": "on" if guard else "off",
            "PAUSED_AT": str(file),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_until(lambda: file.exists() or process.poll() is not None, f"the {task} to stand still")
    assert process.poll() is None, process.communicate()[0].decode()
    return process


def let_go(process: subprocess.Popen[bytes], file: Path) -> tuple[int, str]:
    """Let it go on to its end; return its exit code and all it said."""
    file.unlink()
    said = process.communicate(timeout=TASK)[0].decode()
    return process.returncode, said
