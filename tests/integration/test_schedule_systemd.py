"""Timers with the real systemd: its calendar as an oracle, its parser, and its manager at work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.plan.schedule import last_before
from quiesce.plan.timers import on_calendar
from tests.support.checkout import ROOT, wait_until
from tests.support.programs import require_programs

STACK = """
version: 1
timezone: UTC
default_instance: core
instances:
  core: {runtime: host, retention: short}
volumes:
  files: {}
retention:
  short: {keep_last: 3}
schedule:
  - "* * * * * verify"
  - daily 02:00 files
"""
#: A manager wants a machine that systemd booted, which this folder says; nothing else is asked.
BEGIN = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/user/0 && chmod 700 /run/user/0
exec "$@"
"""


@pytest.fixture(scope="module", autouse=True)
def systemd() -> None:
    """Debian's systemd, which need not be running."""
    require_programs(["systemd"], ["systemd-analyze", "systemctl"])


def field(least: int, most: int) -> st.SearchStrategy[str]:
    """A field of a cron expression."""
    numbers = st.integers(least, most)
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(2, 20).map(lambda step: f"*/{step}")
    lists = st.lists(numbers, min_size=1, max_size=3).map(lambda found: ",".join(map(str, found)))
    return st.one_of(st.just("*"), lists, ranges, steps)


expressions = st.tuples(
    field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)
).map(" ".join)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(expressions, st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31)))  # noqa: DTZ001
def test_a_timer_elapses_when_cron_would_run(cron: str, base: datetime) -> None:
    """The next time that systemd gives is one of cron's, and cron has none in between."""
    base = base.replace(microsecond=0, tzinfo=UTC)
    found = []
    for expression in on_calendar(cron):
        since = f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC"
        ended = subprocess.run(
            ["systemd-analyze", "calendar", since, expression],
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        (line,) = [line for line in ended.stdout.splitlines() if "Next elapse:" in line]
        if "never" not in line:
            text = line.partition(": ")[2].strip()
            found.append(datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC))
    following = min(found)
    assert last_before(cron, following) == following
    before = last_before(cron, following - timedelta(seconds=1))
    assert before is None or before <= base


class Place:
    """A stack in a folder with an awkward name, and a service manager of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my stack 100%"
        self.units = folder / "home" / ".config" / "systemd" / "user"
        self.folder.mkdir()
        self.units.mkdir(parents=True)
        for name in ("quiesce", "tasks.py"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "stack.yaml").write_text(STACK)
        (self.folder / "inv").write_text(f'#!/bin/sh\nexec {sys.executable} -m invoke "$@"\n')
        (self.folder / "inv").chmod(0o755)
        self.environment = {
            "HOME": str(folder / "home"),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "XDG_RUNTIME_DIR": "/run/user/0",
        }
        # Root's timers are the machine's: in here, root's own manager has them.
        code = "import quiesce.adapters.schedule.systemd as s, os, sys\n"
        code += "os.geteuid = lambda: 1\ns.lingers = lambda user: True\n"
        code += "from invoke.main import program\nprogram.run()\n"
        self.inv = [sys.executable, "-c", code]

    def start(self) -> None:
        """Start the manager in a mount namespace of its own."""
        namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", BEGIN, "sh"]
        self.manager = subprocess.Popen(
            [*namespace, "/lib/systemd/systemd", "--user", "--unit=basic.target"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: self.run("systemctl", "--user", "is-active", "basic.target") == 0, "it")

    def stop(self) -> None:
        """End the manager and all it runs."""
        self.manager.terminate()
        self.manager.wait(timeout=30)

    def run(self, *argv: str) -> int:
        """Run a program beside the manager."""
        return self._run(*argv).returncode

    def schedule(self, *options: str) -> dict[str, object]:
        """Run `inv schedule --systemd` there and return its document."""
        done = self._run(*self.inv, "schedule", "--systemd", "--json", *options)
        assert done.returncode == 0, done.stderr
        document: dict[str, object] = json.loads(done.stdout)
        return document

    def _run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        entering = ["nsenter", f"--target={self.manager.pid}", "--mount", "--wd=."]
        return subprocess.run(
            [*entering, *argv],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A stack and a manager that runs."""
    if os.geteuid() != 0:
        pytest.skip("a mount namespace is root's to make")
    made = Place(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_timers_run_what_is_scheduled(place: Place) -> None:
    """Installed, they elapse; the service runs, writes the log, and recovery follows it."""
    theirs = place.units / "quiesce-core-other.timer"
    theirs.write_text("[Timer]\nOnCalendar=daily\n")
    first = place.schedule("--install")
    assert first["changed"] is True
    assert place.schedule("--install")["changed"] is False
    names = sorted(path.name for path in place.units.glob("quiesce-core-*") if path != theirs)
    assert len(names) == 5
    (timer,) = [name for name in names if name.endswith("1-verify.timer")]
    assert place.run("systemctl", "--user", "is-active", timer) == 0
    service = timer.replace(".timer", ".service")
    # What the timer does when it elapses, without the minute until then.
    assert place.run("systemctl", "--user", "start", service) == 0
    log = (place.folder / "backups" / ".log" / "core.log").read_text()
    assert "verified" in log
    assert log.index("verified") < log.index("nothing to recover")
    assert place.run("systemctl", "--user", "start", names[-1]) == 0
    assert place.schedule("--remove")["changed"] is True
    assert list(place.units.glob("quiesce-core-*")) == [theirs]
    assert place.run("systemctl", "--user", "is-active", timer) != 0
    assert place.schedule("--remove")["changed"] is False


def test_a_timer_that_was_edited_is_put_right(place: Place) -> None:
    """And an entry that is gone from stack.yaml takes its units with it."""
    place.schedule("--install")
    (daily,) = place.units.glob("*2-backup.timer")
    daily.write_text(daily.read_text().replace("02:00", "05:00"))
    assert place.schedule("--install")["changed"] is True
    assert "02:00" in daily.read_text()
    text = (place.folder / "stack.yaml").read_text()
    (place.folder / "stack.yaml").write_text(text.replace("  - daily 02:00 files\n", ""))
    assert place.schedule("--install")["changed"] is True
    assert not list(place.units.glob("*2-backup*"))


@pytest.mark.long
def test_the_manager_itself_starts_it(place: Place) -> None:
    """At most a minute, and a report is there."""
    place.schedule("--install")
    reports = place.folder / "backups" / ".reports" / "core"
    for _ in range(2):
        try:
            wait_until(lambda: list(reports.glob("*-verify.json")), "the timer to elapse")
            break
        except pytest.fail.Exception:
            continue
    assert list(reports.glob("*-verify.json"))


def test_systemd_reads_the_units_without_a_complaint(place: Place) -> None:
    """Folder and file names with blanks and percent signs among them."""
    place.schedule("--install")
    units = [str(path) for path in sorted(place.units.glob("quiesce-core-*"))]
    done = place._run("systemd-analyze", "--user", "verify", *units)
    assert (done.returncode, done.stderr) == (0, "")
