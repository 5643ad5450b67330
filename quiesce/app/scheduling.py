"""Running by itself: cron lines for what `schedule:` says, their log, and what was missed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app.frame import Frame
from quiesce.app.reports import last_run
from quiesce.errors import RequestError
from quiesce.plan import retention, schedule
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.model import BackupSet, Stack, Timing

#: A scheduled run waits so many seconds for the one before it.
WAIT = 3600
#: cron's own PATH has neither /usr/local/bin nor /usr/sbin.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_HOST = "unix:///var/run/docker.sock"
LONGEST_LOG = 5_000_000
#: What is due is given so long to be done.
GRACE = timedelta(hours=1)
#: Vixie cron takes no longer command.
LONGEST_LINE = 990


@dataclass(frozen=True, slots=True)
class Due:
    """An entry of `schedule:`, when it was due last, and when it was done last."""

    timing: Timing
    due: datetime
    done: datetime | None
    overdue: bool


class Scheduling(Frame):
    """What runs without anybody there."""

    def schedule(self, *, install: bool, remove: bool) -> None:
        """Print the cron lines, or put them into this user's crontab, or take them out.

        Other lines stay byte for byte. Doing the same twice changes nothing.
        """
        if install and remove:
            raise RequestError("--install and --remove exclude each other", "give one of them")
        lines = () if remove else cron_lines(self.stack, self.options.environ)
        if not remove:
            self._tell_zone()
        if not (install or remove) or self.options.dry_run:
            self.reporter.text("".join(f"{line}\n" for line in lines))
            return
        self._replace(lines)

    def overdue(self, sets: Sequence[BackupSet]) -> tuple[Due, ...]:
        """Return every entry of the schedule, with what was missed marked."""
        return tuple(
            found
            for timing in self.stack.schedule
            if (found := due(self.stack, timing, sets, self.clock.now())) is not None
        )

    def _tell_overdue(self, sets: Sequence[BackupSet]) -> None:
        entries = self.overdue(sets)
        for entry in entries:
            if entry.overdue:
                last = words.age(entry.done, self.clock.now()) if entry.done else "never"
                self.reporter.warn(f"OVERDUE: '{entry.timing.text}' was last done: {last}")
        self.reporter.result(
            {
                "schedule": [
                    {
                        "entry": entry.timing.text,
                        "due_at": words.utc(entry.due),
                        "done_at": words.utc(entry.done) if entry.done else None,
                        "overdue": entry.overdue,
                    }
                    for entry in entries
                ]
            }
        )

    # ------------------------------------------------------------------------------------ inside

    def _replace(self, lines: Sequence[str]) -> None:
        from quiesce.adapters.crontab import read_crontab, write_crontab

        name = f"{self.stack.instance.name} in {self.stack.directory}"
        before = read_crontab()
        try:
            after = schedule.with_block(before, name, lines)
        except schedule.NotATiming as error:
            raise RequestError(str(error), error.hint) from None
        if after != before:
            write_crontab(after)
        how = "in the crontab" if lines else "not in the crontab any more"
        same = "" if after != before else ", as before"
        facts = {"lines": list(lines), "changed": after != before}
        self.reporter.result(facts)
        self.reporter.done(f"the schedule of {self.stack.instance.name} is {how}{same}")
        if lines:
            self.reporter.note(f"output goes to {log_file(self.stack)}; what fails is mailed too")

    def _tell_zone(self) -> None:
        now = self.clock.now()
        here, there = now.astimezone(), now.astimezone(ZoneInfo(self.stack.timezone))
        if here.utcoffset() != there.utcoffset():
            self.reporter.warn(
                f"cron goes by this machine's clock, where it is {here:%H:%M} now; "
                f"in {self.stack.timezone} it is {there:%H:%M}"
            )


def cron_lines(stack: Stack, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the lines for a crontab: one per entry, and the recovery after a reboot.

    Raise RequestError for a stack without a schedule, or a folder that cron cannot be told.
    """
    if not stack.schedule:
        raise RequestError(
            f"{stack.file.name} has no schedule",
            "add one, for example 'schedule: [daily 02:00 full, weekly verify]'",
        )
    folder = str(stack.directory)
    if not folder.isprintable():
        raise RequestError(f"cron cannot name the folder {folder!r}", "move it to another one")
    log = shlex.quote(log_file(stack).relative_to(stack.directory).as_posix())
    begin = f"cd {shlex.quote(folder)} && umask 077 && mkdir -p {shlex.quote(_log_folder())} &&"
    # The output of what failed is also cron's output, which cron mails.
    end = f">>{log} 2>&1 || tail -n 20 {log}"
    lines = []
    for timing in stack.schedule:
        task = schedule.arguments(timing)
        wait = () if task[0] == "verify" else ("--wait", str(WAIT))
        call = _call(stack, environ, (*task, *wait))
        lines.append(schedule.cron_line(timing.cron, f"{begin} {call} {end}"))
    call = _call(stack, environ, ("recover", "--wait", str(WAIT)))
    # The engine may start after cron does.
    retry = f"{{ for pause in 5 10 20 40 60 90; do {call} && exit; sleep $pause; done; false; }}"
    lines.append(schedule.cron_line("@reboot", f"{begin} {retry} {end}"))
    if (longest := max(map(len, lines))) > LONGEST_LINE:
        raise RequestError(
            f"the command for cron has {longest} characters, at most {LONGEST_LINE}",
            "move the stack to a folder with a shorter name",
        )
    return tuple(lines)


def _call(stack: Stack, environ: Mapping[str, str], arguments: Sequence[str]) -> str:
    """Return the call of `inv` as a shell reads it: ./inv, or the one we run from."""
    host = environ.get("DOCKER_HOST", "")
    named = stack.instance.runtime == "compose" and stack.instance.context is None
    variables = [f"PATH={PATH}"]
    if named and host and host != DEFAULT_HOST:
        variables.append(f"DOCKER_HOST={shlex.quote(host)}")
    program = "./inv"
    if not os.access(stack.directory / "inv", os.X_OK):
        program = shlex.quote(str(Path(sys.executable).parent / "inv"))
    options = ["--instance", stack.instance.name]
    if stack.file.name != "stack.yaml":
        options += ["--stack", str(stack.file)]
    words_ = (shlex.quote(word) for word in (*arguments, *options))
    return " ".join([*variables, program, *words_])


def _log_folder() -> str:
    return "backups/.log"


def log_file(stack: Stack) -> Path:
    """Where scheduled runs of this instance write."""
    return stack.directory / _log_folder() / f"{stack.instance.name}.log"


def rotate_log(stack: Stack, longest: int = LONGEST_LOG) -> None:
    """When our output goes to the log and it is too long, go on in a new one.

    One older log is kept. Whatever goes wrong with that, the run matters more.
    """
    file = log_file(stack)
    try:
        there = file.stat()
        ours = [fd for fd in (1, 2) if os.path.samestat(os.fstat(fd), there)]
        if not ours or there.st_size < longest:
            return
        file.replace(file.with_name(f"{file.name}.1"))
        fresh = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for fd in ours:
            os.dup2(fresh, fd)
        os.close(fresh)
    except OSError:
        return


def due(stack: Stack, timing: Timing, sets: Sequence[BackupSet], now: datetime) -> Due | None:
    """Return when the entry was due and done last; None for one that is never due."""
    # What became due just now may be at work.
    found = schedule.last_before(timing.cron, (now - GRACE).astimezone())
    if found is None:
        return None
    # By the machine's clock of that day, which may have had another offset.
    at = found.replace(tzinfo=None).astimezone()
    done = _done(stack, timing, sets)
    return Due(timing, at, done, done is None or done < at)


def _done(stack: Stack, timing: Timing, sets: Sequence[BackupSet]) -> datetime | None:
    task, *options = schedule.arguments(timing)
    if task != "backup":
        deep = "--deep" in options
        return last_run(stack, lambda run: run["task"] == task and (run.get("deep") or not deep))
    wanted = {name for name in timing.what if name not in schedule.TASKS}
    if timing.what == ("full",) or not wanted:
        wanted = {database.key for database in stack.databases}
    kinds = ("full", timing.what[0])
    made = [
        backup.manifest.created_at
        for backup in sets
        if backup.manifest.instance == stack.instance.name
        and not retention.is_safety(backup.manifest)
        and backup.manifest.kind in kinds
        and wanted <= set(retention.contents(backup.manifest))
    ]
    return max(made, default=None)
