"""Who is measured: each makes a backup and says how long the service was down for it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import missing, output, pipe, seconds, start_inv
from benchmarks.stack import Bench
from quiesce.app import Options, Session, open_app
from quiesce.commands.backup import run_backup
from quiesce.commands.restore import run_restore
from quiesce.execute.handlers import HANDLERS
from quiesce.model import BackupSet
from quiesce.plan import services
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from quiesce.report import make_reporter


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds: how long the service was down, and how long the whole took."""

    down: float
    whole: float


class InTheWindow:
    """A program that copies the files between a stop and a start."""

    def __init__(self, bench: Bench, work: Callable[[], object]) -> None:
        self._bench = bench
        self._work = work

    def __call__(self) -> Result:
        self._bench.churn()
        began = time.monotonic()
        self._bench.stop()
        self._work()
        self._bench.start()
        down = time.monotonic() - began
        return Result(down, down)


class Quiesce:
    """Files and database by `inv backup`; the churn comes after level 0, as it does in life."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.last: BackupSet | None = None

    def __call__(self) -> Result:
        archive = HANDLERS[s.ArchiveVolume]
        spent = 0.0

        def archive_and_churn(step: s.ArchiveVolume, run: Any) -> str:
            nonlocal spent
            said = archive(step, run)
            if step.level == 0:
                spent += seconds(self._bench.churn)
            return said

        HANDLERS[s.ArchiveVolume] = archive_and_churn
        try:
            began = time.monotonic()
            self.last = run_backup(self.session(), BackupRequest())
            whole = time.monotonic() - began - spent
        finally:
            HANDLERS[s.ArchiveVolume] = archive
        assert self.last is not None
        return Result(self.last.manifest.downtime_seconds.overall, whole)

    def restart(self) -> Result:
        """The services that a backup stops, stopped and started by the same code: no copy."""
        app = self.session()
        run = app.change(
            "restart",
            lambda _, seen, run: services.plan_restart(app.stack, seen, run, ("writer",)),
        )
        assert run is not None
        down = run.downtime.result().overall
        return Result(down, down)

    def restore(self) -> float:
        """Seconds for bringing back the last set, without a safety set."""
        last = self.last
        assert last is not None
        request = RestoreRequest(safety=False)
        return seconds(lambda: run_restore(self.session(), last.name, request))

    def restore_with_safety_set(self, *, first: bool = False) -> float:
        """Seconds of downtime for bringing back the last set; its safety set is made afterwards,
        or before the exchange with `first`."""
        last = self.last
        assert last is not None
        outcome = run_restore(self.session(), last.name, RestoreRequest(safety_first=first))
        assert outcome is not None
        return outcome.downtime.overall

    def session(self, confirm: str | None = None) -> Session:
        """The application, as the tasks open it; what it says is dropped."""
        nowhere = io.StringIO()
        reporter = make_reporter(
            task="bench", json=False, stdout=nowhere, stderr=nowhere, environ={}, background=False
        )
        return open_app(
            self._bench.folder, None, None, reporter, Options(yes=True, confirm=confirm)
        )

    def resident_megabytes(self) -> float:
        """The most memory that `inv backup` has, in a process of its own."""
        running = self._inv("backup")
        most = 0
        while running.poll() is None:
            # Not what the system counts for a child that ended: that includes what we had when
            # it was made.
            most = max(most, peak_kilobytes(running.pid))
            time.sleep(0.02)
        if running.returncode:
            raise RuntimeError(f"inv backup ended with {running.returncode}")
        return most / 1024

    def killed(self) -> float:
        """Seconds from SIGKILL in the window until the service runs again, with nobody there."""
        running = self._inv("backup")
        while self._bench.runs("writer"):
            if running.poll() is not None:
                raise RuntimeError("inv backup ended before anything had stopped")
            time.sleep(0.01)
        running.kill()
        began = time.monotonic()
        running.wait()
        while not self._bench.runs("writer"):
            time.sleep(0.02)
        took = time.monotonic() - began
        settled = self._inv("recover", "--wait", "60").wait()
        if settled:
            raise RuntimeError(f"inv recover ended with {settled}")
        return took

    def _inv(self, *arguments: str) -> subprocess.Popen[bytes]:
        return start_inv(self._bench.folder, *arguments)


def peak_kilobytes(pid: int) -> int:
    """The most memory that a running process ever had; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


class Plain:
    """`tar | zstd`, `pg_dump -Fc -Z zstd:1`, one pass of digests; and back. Nothing stops.

    Back is in the place of what was there: unpacked beside, on the disk, and the old copy, which
    lies on the disk too, removed.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        folder.mkdir()
        self._live = folder / "live"

    def back_up(self) -> float:
        """Seconds for both and the digests."""
        return seconds(self._back_up)

    def _back_up(self) -> None:
        archive, dump = self._folder / "files.tar.zst", self._folder / "benchdb.dump"
        tar = ["tar", "-c", "--numeric-owner", "--xattrs", "-C", str(self._bench.files), "."]
        pipe([tar, ["zstd", "-q", "-T0"]], archive)
        clients = ["docker", "exec", self._bench.container("db"), "pg_dump", "-U", "postgres"]
        pipe([[*clients, "-Fc", "-Z", "zstd:1", "benchdb"]], dump)
        output("sha256sum", str(archive), str(dump))

    def restore(self) -> float:
        """Seconds for unpacking beside, loading beside, the digests, and removing the old."""
        if not self._live.exists():
            self._unpack(self._live)
            os.sync()
        return seconds(self._restore)

    def restore_in_the_window(self) -> float:
        """Seconds of downtime if the files are emptied and unpacked, and the database is dropped
        and loaded, between a stop and a start."""
        bench = self._bench

        def replace_all() -> None:
            output("find", str(bench.files), "-mindepth", "1", "-delete")
            archive, dump = self._folder / "files.tar.zst", self._folder / "benchdb.dump"
            tar = ["tar", "-x", "--numeric-owner", "--xattrs", "-C", str(bench.files)]
            pipe([["zstd", "-q", "-d", "-c", str(archive)], tar])
            container = bench.container("db")
            output("docker", "cp", str(dump), f"{container}:/tmp/plain.dump")
            inside = ["docker", "exec", container]
            output(*inside, "dropdb", "-U", "postgres", "--force", "benchdb")
            output(*inside, "createdb", "-U", "postgres", "-T", "template0", "benchdb")
            load = ["pg_restore", "-U", "postgres", "-j", "2", "-d", "benchdb", "/tmp/plain.dump"]
            output(*inside, *load)

        def whole() -> None:
            bench.stop()
            try:
                replace_all()
            finally:
                bench.start()

        return seconds(whole)

    def _unpack(self, folder: Path) -> None:
        folder.mkdir()
        archive = str(self._folder / "files.tar.zst")
        tar = ["tar", "-x", "--numeric-owner", "--xattrs", "-C", str(folder)]
        pipe([["zstd", "-q", "-d", "-c", archive], tar])

    def _restore(self) -> None:
        archive, dump = self._folder / "files.tar.zst", self._folder / "benchdb.dump"
        output("sha256sum", str(archive), str(dump))
        beside = self._folder / "beside"
        self._unpack(beside)
        container = self._bench.container("db")
        output("docker", "cp", str(dump), f"{container}:/tmp/plain.dump")
        inside = ["docker", "exec", container]
        output(*inside, "createdb", "-U", "postgres", "-T", "template0", "plain")
        output(*inside, "pg_restore", "-U", "postgres", "-j", "2", "-d", "plain", "/tmp/plain.dump")
        output(*inside, "dropdb", "-U", "postgres", "plain")
        output("sync", "-f", str(beside))
        output("rm", "-rf", str(self._live))
        beside.rename(self._live)


def in_the_window(bench: Bench, folder: Path) -> tuple[dict[str, InTheWindow], Mapping[str, str]]:
    """Return who stops, copies and starts, ready to begin, and who takes no part and why."""
    image = output("docker", "inspect", "--format", "{{.Image}}", bench.container("db")).strip()
    mounts = ["--volume", f"{bench.project}-files:/data:ro", "--volume", f"{folder}:/backup"]
    tar = ["docker", "run", "--rm", "--entrypoint", "tar", *mounts, image]
    found = {
        "bare stop and start": InTheWindow(bench, lambda: None),
        "stop, docker run tar czf, start": InTheWindow(
            bench, lambda: output(*tar, "czf", "/backup/classic.tar.gz", "-C", "/data", ".")
        ),
    }
    absent = {}
    for name, prepare in (("restic", _restic), ("borg", _borg)):
        if reason := missing(name):
            absent[name] = reason
        else:
            found[f"{name} in the window"] = InTheWindow(bench, prepare(bench, folder))
    return found, absent


def _restic(bench: Bench, folder: Path) -> Callable[[], object]:
    variables = {
        "RESTIC_REPOSITORY": str(folder / "restic"),
        "RESTIC_PASSWORD": "bench",
        "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
    }

    def back_up() -> object:
        return output("restic", "--quiet", "backup", str(bench.files), **variables)

    output("restic", "--quiet", "init", **variables)
    back_up()
    return back_up


def _borg(bench: Bench, folder: Path) -> Callable[[], object]:
    repository = folder / "borg"
    variables = {"BORG_BASE_DIR": str(folder / "borg-base")}

    def back_up() -> object:
        name = f"{repository}::{time.time_ns()}"
        return output("borg", "create", name, str(bench.files), **variables)

    (folder / "borg-base").mkdir()
    output("borg", "init", "--encryption", "none", str(repository), **variables)
    back_up()
    return back_up
