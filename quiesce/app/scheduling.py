"""Running by itself: cron lines or timers for `schedule:`, their log, and what was missed."""

from __future__ import annotations

import getpass
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
from quiesce.errors import QuiesceError, RequestError
from quiesce.findings import Finding
from quiesce.plan import retention, schedule, timers
from quiesce.private_files import make_private
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

    def schedule(self, *, install: bool, remove: bool, systemd: bool) -> None:
        """Print the cron lines, or put them into this user's crontab, or take them out.

        With `systemd`, timers instead. What is others' stays byte for byte. Doing the same twice
        changes nothing.
        """
        if install and remove:
            raise RequestError("--install and --remove exclude each other", "give one of them")
        if systemd:
            self._timers(install=install, remove=remove)
            return
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

    def _timers(self, *, install: bool, remove: bool) -> None:
        from quiesce.adapters.schedule import systemd

        where = systemd.manager(self.options.environ)
        place = timers.Place(
            self.stack.instance.name,
            str(self.stack.directory),
            str(log_file(self.stack)),
            where.boot_target,
        )
        wanted = {} if remove else timer_units(self.stack, self.options.environ, place)
        if not (install or remove) or self.options.dry_run:
            self.reporter.text("\n".join(f"### {name}\n{text}" for name, text in wanted.items()))
            return
        # systemd opens the log before anything of ours runs.
        make_private(log_file(self.stack).parent)
        changed = systemd.replace(where, place.mark, wanted)
        how = "by timers" if wanted else "not by timers any more"
        same = "" if changed else ", as before"
        self.reporter.result({"units": sorted(wanted), "changed": changed})
        self.reporter.done(f"{self.stack.instance.name} runs {how}{same}")
        user = getpass.getuser()
        if wanted and not systemd.lingers(user):
            self.reporter.warn(
                f"timers of {user} run only while {user} is logged in, "
                f"until 'loginctl enable-linger {user}' was run"
            )

    def _replace(self, lines: Sequence[str]) -> None:
        from quiesce.adapters.schedule.crontab import read_crontab, write_crontab

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
    _require_schedule(stack)
    folder = str(stack.directory)
    if not folder.isprintable():
        raise RequestError(f"cron cannot name the folder {folder!r}", "move it to another one")
    log = shlex.quote(log_file(stack).relative_to(stack.directory).as_posix())
    begin = f"cd {shlex.quote(folder)} && umask 077 && mkdir -p {shlex.quote(_log_folder())} &&"
    # The output of what failed is also cron's output, which cron mails.
    end = f">>{log} 2>&1 || tail -n 20 {log}"
    lines = []
    for timing in stack.schedule:
        call = _for_shell(_call(stack, environ, _task(timing)))
        lines.append(schedule.cron_line(timing.cron, f"{begin} {call} {end}"))
    call = _for_shell(_call(stack, environ, ("recover", "--wait", str(WAIT))))
    # The engine may start after cron does.
    retry = f"{{ for pause in 5 10 20 40 60 90; do {call} && exit; sleep $pause; done; false; }}"
    lines.append(schedule.cron_line("@reboot", f"{begin} {retry} {end}"))
    if (longest := max(map(len, lines))) > LONGEST_LINE:
        raise RequestError(
            f"the command for cron has {longest} characters, at most {LONGEST_LINE}",
            "move the stack to a folder with a shorter name",
        )
    return tuple(lines)


def timer_units(stack: Stack, environ: Mapping[str, str], place: timers.Place) -> dict[str, str]:
    """Return the units for systemd, by name: two per entry, and the recovery after a boot.

    Raise RequestError for a stack without a schedule, or a folder that systemd cannot be told.
    """
    _require_schedule(stack)
    entries = [
        (timing.text, timing.cron, _call(stack, environ, _task(timing), absolute=True))
        for timing in stack.schedule
    ]
    recover = _call(stack, environ, ("recover", "--wait", str(WAIT)), absolute=True)
    try:
        return timers.unit_files(place, entries, recover)
    except ValueError as error:
        raise RequestError(str(error), "move the stack to a folder with another name") from None


def _require_schedule(stack: Stack) -> None:
    if not stack.schedule:
        raise RequestError(
            f"{stack.file.name} has no schedule",
            "add one, for example 'schedule: [daily 02:00 full, weekly verify]'",
        )


def _task(timing: Timing) -> tuple[str, ...]:
    """Return the task of an entry and its options. What changes something waits for its turn."""
    task = schedule.arguments(timing)
    return task if task[0] == "verify" else (*task, "--wait", str(WAIT))


def _call(
    stack: Stack, environ: Mapping[str, str], arguments: Sequence[str], *, absolute: bool = False
) -> timers.Call:
    """Return the call of `inv`: that of the stack's folder, or the one we run from."""
    host = environ.get("DOCKER_HOST", "")
    named = stack.instance.runtime == "compose" and stack.instance.context is None
    variables = {"PATH": PATH}
    if named and host and host != DEFAULT_HOST:
        variables["DOCKER_HOST"] = host
    program = str(stack.directory / "inv") if absolute else "./inv"
    if not os.access(stack.directory / "inv", os.X_OK):
        program = str(Path(sys.executable).parent / "inv")
    options = ["--instance", stack.instance.name]
    if stack.file.name != "stack.yaml":
        options += ["--stack", str(stack.file)]
    return timers.Call((program, *arguments, *options), variables)


def _for_shell(call: timers.Call) -> str:
    """Return the call as a shell reads it."""
    variables = (f"{name}={shlex.quote(value)}" for name, value in call.environment.items())
    return " ".join([*variables, *map(shlex.quote, call.argv)])


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
        wants = [
            option.removeprefix("--") for option in options if option in ("--deep", "--restore")
        ]
        return last_run(
            stack, lambda run: run["task"] == task and all(run.get(want) for want in wants)
        )
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
        and wanted <= set(backup.manifest.sources)
    ]
    return max(made, default=None)


def timers_state(stack: Stack, environ: Mapping[str, str]) -> list[Finding]:
    """Return what `doctor` says of this instance's timers; nothing where none are installed."""
    from quiesce.adapters.schedule import systemd

    where = systemd.manager(environ)
    place = timers.Place(
        stack.instance.name, str(stack.directory), str(log_file(stack)), where.boot_target
    )
    there = systemd.installed(where, place.mark)
    if not there:
        return []
    if there != timer_units(stack, environ, place):
        fact = f"the timers are not those of {stack.file.name}"
        return [Finding("error", "schedule", fact, "run 'inv schedule --systemd --install'")]
    try:
        idle = [n for n in there if n.endswith(".timer") and not systemd.active(where, n)]
    except QuiesceError as error:
        return [Finding("error", "schedule", error.fact, error.hint)]
    if idle:
        hint = "run 'inv schedule --systemd --install'"
        return [Finding("error", "schedule", f"timer {idle[0]} is not active", hint)]
    return [Finding("ok", "schedule", f"{words.counted(len(stack.schedule), 'timer')} active")]
