"""The schedule with Debian's real crontab and cron, whose spool is one of the test's own.

A mount namespace puts a folder of the test over cron's: the machine's tables are never touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, wait_until
from tests.support.programs import require_programs

SPOOL = "/var/spool/cron/crontabs"
STACK = """
version: 1
timezone: UTC
default_instance: core
instances:
  core: {runtime: host, retention: short}
  other: {runtime: host, retention: short}
volumes:
  files: {}
retention:
  short: {keep_last: 3}
schedule:
  - "* * * * * verify"
  - daily 02:00 files
"""
OTHERS = b"MAILTO=somebody@example.org\n# theirs\r\n17 * * * *\techo 100\\% \xff\n\n"


class Place:
    """A stack in a folder with an awkward name, and a cron of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my stack 100%"
        self.spool = folder / "spool"
        self.folder.mkdir()
        self.spool.mkdir()
        for name in ("quiesce", "tasks.py"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "stack.yaml").write_text(STACK)
        (self.folder / "inv").write_text(f'#!/bin/sh\nexec {sys.executable} -m invoke "$@"\n')
        (self.folder / "inv").chmod(0o755)

    def start(self, *argv: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a program for which cron's folders are the test's."""
        mounts = (
            f"mount --bind '{self.spool}' {SPOOL} && mount --bind /dev/null /etc/crontab && "
            'mount -t tmpfs none /etc/cron.d && mount -t tmpfs none /run && exec "$@"'
        )
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts, "sh"]
        return subprocess.Popen([*command, *argv], **options)  # type: ignore[call-overload,no-any-return]

    def run(self, *argv: str, input: bytes = b"") -> bytes:  # noqa: A002
        """Run such a program to its end."""
        pipe = subprocess.PIPE
        process = self.start(*argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=self.folder)
        out, err = process.communicate(input, timeout=60)
        assert process.returncode == 0, err.decode()
        return out

    def schedule(self, *arguments: str, instance: str = "core") -> object:
        """Call `inv schedule` and return its document."""
        called = ("schedule", *arguments, "--instance", instance, "--json")
        return json.loads(self.run(str(self.folder / "inv"), *called))

    def table(self) -> bytes:
        """What is in cron's own file, after the three lines of its head: `crontab -l` says CR in
        words."""
        rows = (self.spool / "root").read_bytes().split(b"\n", 3)
        assert all(row.startswith(b"# ") for row in rows[:3])
        return rows[3]

    def reports(self) -> Sequence[Path]:
        """Reports of runs that verified."""
        return sorted(self.folder.glob("backups/.reports/core/*-verify.json"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Skips, with the reason, where there is no cron or no way to give it a spool."""
    require_programs(["cron"], ["crontab", "cron"])
    probe = ["unshare", "--mount", "--propagation", "private", "true"]
    if os.geteuid() != 0 or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("giving cron a spool of its own needs root and mount namespaces")
    return Place(tmp_path)


def test_installed_twice_and_removed_it_is_as_it_was(place: Place) -> None:
    """By the real crontab; what others wrote stays byte for byte, MAILTO too."""
    place.run("crontab", "-", input=OTHERS)
    printed = place.schedule()
    assert place.table() == OTHERS
    first = place.schedule("--install")
    once = place.table()
    assert first["changed"] is True  # type: ignore[index]
    assert once.startswith(OTHERS)
    assert "".join(f"{line}\n" for line in first["lines"]) == printed["text"]  # type: ignore[index]
    again = place.schedule("--install")
    assert again["changed"] is False  # type: ignore[index]
    assert place.table() == once
    place.schedule("--install", instance="other")
    assert place.table().startswith(once)
    place.schedule("--remove")
    place.schedule("--remove", instance="other")
    assert place.table() == OTHERS


def test_the_first_table_of_a_user_is_made(place: Place) -> None:
    """No table yet is no error; a dry run makes none."""
    place.schedule("--install", "--dry-run")
    assert list(place.spool.iterdir()) == []
    place.schedule("--install")
    assert place.table().startswith(b"# quiesce begins: core in ")


def test_a_line_works_in_the_environment_of_cron(place: Place) -> None:
    """By /bin/sh in the home folder, with cron's five variables and nothing else."""
    lines = place.schedule()["text"].splitlines()  # type: ignore[index]
    command = lines[0].removeprefix("* * * * * ").replace(r"\%", "%")
    environment = {
        "HOME": "/root",
        "LOGNAME": "root",
        "PATH": "/usr/bin:/bin",
        "SHELL": "/bin/sh",
        "LANG": "C",
    }
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd="/", env=environment, capture_output=True, check=False
    )
    log = place.folder / "backups" / ".log" / "core.log"
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), log.read_text()
    assert "verified" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert len(place.reports()) == 1
    # What fails is said on cron's output too, which is what cron mails.
    failing = command.replace("verify --all", "verify --file absent")
    done = subprocess.run(
        ["/bin/sh", "-c", failing], cwd="/", env=environment, capture_output=True, check=False
    )
    assert b"there is no set absent" in done.stdout


def test_a_log_that_grew_too_long_is_put_aside(place: Place) -> None:
    """At the start of the next run, which then writes into a new one."""
    lines = place.schedule()["text"].splitlines()  # type: ignore[index]
    command = lines[0].removeprefix("* * * * * ").replace(r"\%", "%")
    log = place.folder / "backups" / ".log" / "core.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"old\n" * 1_500_000)
    subprocess.run(["/bin/sh", "-c", command], cwd="/", env={"PATH": "/usr/bin:/bin"}, check=True)
    assert "verified" in log.read_text()
    assert "old" not in log.read_text()
    assert log.with_name("core.log.1").stat().st_size == 6_000_000
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_cron_itself_runs_it(place: Place) -> None:
    """Debian's cron with a one-minute schedule: at most a minute, and a report is there."""
    place.schedule("--install")
    daemon = place.start("cron", "-f", stdin=subprocess.DEVNULL)
    try:
        for _ in range(2):
            if not place.reports():
                try:
                    wait_until(place.reports, "cron to run the line")
                except pytest.fail.Exception:
                    continue
        assert place.reports()
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
    document = json.loads(place.reports()[0].read_text())
    assert (document["task"], document["ok"], document["instance"]) == ("verify", True, "core")
    assert "verified" in (place.folder / "backups" / ".log" / "core.log").read_text()
