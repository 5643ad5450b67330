"""The verb `schedule`: cron lines or systemd timers for `schedule:`."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app.run_log import _log_folder, log_file
from quiesce.app.session import Session
from quiesce.errors import QuiesceError, RequestError
from quiesce.findings import Finding
from quiesce.plan import schedule, timers
from quiesce.private_files import make_private
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.model import Stack, Timing

#: How many seconds a scheduled run waits for a previous one.
WAIT = 3600

#: cron's own PATH has neither /usr/local/bin nor /usr/sbin.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DEFAULT_HOST = "unix:///var/run/docker.sock"


#: The longest line that Vixie cron accepts.
LONGEST_LINE = 990


def run_schedule(session: Session, *, install: bool, remove: bool, systemd: bool) -> None:
    """Print the cron lines, or add them to this user's crontab, or remove them.

    With `systemd`, timers instead. Other lines and units are not changed. Idempotent.
    """
    if install and remove:
        raise RequestError("--install and --remove exclude each other", "use one of them")
    if systemd:
        _timers(session, install=install, remove=remove)
        return
    lines = () if remove else cron_lines(session.stack, session.options.environ)
    if not remove:
        _warn_about_zone(session)
    if not (install or remove) or session.options.dry_run:
        session.reporter.text("".join(f"{line}\n" for line in lines))
        return
    _replace(session, lines)


def _timers(session: Session, *, install: bool, remove: bool) -> None:
    from quiesce.adapters.schedule import systemd

    where = systemd.manager(session.options.environ)
    place = timers.Place(
        session.stack.instance.name,
        str(session.stack.directory),
        str(log_file(session.stack)),
        where.boot_target,
    )
    wanted = {} if remove else timer_units(session.stack, session.options.environ, place)
    if not (install or remove) or session.options.dry_run:
        session.reporter.text("\n".join(f"### {name}\n{text}" for name, text in wanted.items()))
        return
    # systemd opens the log before Quiesce runs.
    make_private(log_file(session.stack).parent)
    changed = systemd.replace(where, place.mark, wanted)
    how = "on systemd timers" if wanted else "no longer on systemd timers"
    same = "" if changed else " (unchanged)"
    session.reporter.result({"units": sorted(wanted), "changed": changed})
    session.reporter.done(f"{session.stack.instance.name} runs {how}{same}")
    user = getpass.getuser()
    if wanted and not systemd.lingers(user):
        session.reporter.warn(
            f"timers of {user} run only while {user} is logged in; run 'loginctl enable-linger "
            f"{user}' to change that"
        )


def _replace(session: Session, lines: Sequence[str]) -> None:
    from quiesce.adapters.schedule.crontab import read_crontab, write_crontab

    name = f"{session.stack.instance.name} in {session.stack.directory}"
    before = read_crontab()
    try:
        after = schedule.with_block(before, name, lines)
    except schedule.NotATiming as error:
        raise RequestError(str(error), error.hint) from None
    if after != before:
        write_crontab(after)
    how = "in the crontab" if lines else "no longer in the crontab"
    same = "" if after != before else " (unchanged)"
    facts = {"lines": list(lines), "changed": after != before}
    session.reporter.result(facts)
    session.reporter.done(f"the schedule of {session.stack.instance.name} is {how}{same}")
    if lines:
        session.reporter.note(
            f"output goes to {log_file(session.stack)}; cron also mails the output of failed runs"
        )


def _warn_about_zone(
    session: Session,
) -> None:
    now = session.clock.now()
    here, there = now.astimezone(), now.astimezone(ZoneInfo(session.stack.timezone))
    if here.utcoffset() != there.utcoffset():
        session.reporter.warn(
            f"cron uses this machine's time zone, where it is {here:%H:%M} now; in "
            f"{session.stack.timezone} it is {there:%H:%M}"
        )


def cron_lines(stack: Stack, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the lines for a crontab: one per entry, and the recovery after a reboot.

    Raise RequestError for a stack without a schedule, or a folder that a crontab cannot contain.
    """
    _require_schedule(stack)
    folder = str(stack.directory)
    if not folder.isprintable():
        raise RequestError(
            f"a crontab cannot contain the folder name {folder!r}",
            "move the stack to a folder with another name",
        )
    log = shlex.quote(log_file(stack).relative_to(stack.directory).as_posix())
    begin = f"cd {shlex.quote(folder)} && umask 077 && mkdir -p {shlex.quote(_log_folder())} &&"
    # cron mails the output of failed runs.
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
            f"the line for cron has {longest} characters, but cron allows {LONGEST_LINE}",
            "move the stack to a folder with a shorter name",
        )
    return tuple(lines)


def timer_units(stack: Stack, environ: Mapping[str, str], place: timers.Place) -> dict[str, str]:
    """Return the units for systemd, by name: two per entry, and the recovery after a boot.

    Raise RequestError for a stack without a schedule, or a folder that a unit cannot contain.
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
    """Return the task of an entry with its options. Changing tasks wait for the lock."""
    task = schedule.arguments(timing)
    return task if task[0] == "verify" else (*task, "--wait", str(WAIT))


def _call(
    stack: Stack, environ: Mapping[str, str], arguments: Sequence[str], *, absolute: bool = False
) -> timers.Call:
    """Return the call of `inv`: the one in the stack's folder, or the one in use.

    `quiesce` where no `tasks.py` in the folder has the tasks.
    """
    host = environ.get("DOCKER_HOST", "")
    named = stack.instance.runtime == "compose" and stack.instance.context is None
    variables = {"PATH": PATH}
    if named and host and host != DEFAULT_HOST:
        variables["DOCKER_HOST"] = host
    program = str(stack.directory / "inv") if absolute else "./inv"
    if not os.access(stack.directory / "inv", os.X_OK):
        scripts = Path(sys.executable).parent
        own = (scripts / "quiesce").exists() and not _has_tasks(stack.directory)
        program = str(scripts / ("quiesce" if own else "inv"))
    options = ["--instance", stack.instance.name]
    if stack.file.name != "stack.yaml":
        options += ["--stack", str(stack.file)]
    return timers.Call((program, *arguments, *options), variables)


def _has_tasks(folder: Path) -> bool:
    """Whether `inv` finds the tasks of Quiesce here: a `tasks.py` may be another program's."""
    for entry in (folder / "tasks.py", folder / "tasks" / "__init__.py"):
        try:
            return b"quiesce" in entry.read_bytes()
        except OSError:
            continue
    return False


def _for_shell(call: timers.Call) -> str:
    """Return the call quoted for a shell."""
    variables = (f"{name}={shlex.quote(value)}" for name, value in call.environment.items())
    return " ".join([*variables, *map(shlex.quote, call.argv)])


def timers_state(stack: Stack, environ: Mapping[str, str]) -> list[Finding]:
    """Return `doctor`'s findings about this instance's timers; none if none are installed."""
    from quiesce.adapters.schedule import systemd

    where = systemd.manager(environ)
    place = timers.Place(
        stack.instance.name, str(stack.directory), str(log_file(stack)), where.boot_target
    )
    there = systemd.installed(where, place.mark)
    if not there:
        return []
    if there != timer_units(stack, environ, place):
        fact = f"the installed timers do not match {stack.file.name}"
        return [Finding("error", "schedule", fact, "run 'inv schedule --systemd --install'")]
    try:
        idle = [n for n in there if n.endswith(".timer") and not systemd.active(where, n)]
    except QuiesceError as error:
        return [Finding("error", "schedule", error.fact, error.hint)]
    if idle:
        hint = "run 'inv schedule --systemd --install'"
        return [Finding("error", "schedule", f"timer {idle[0]} is not active", hint)]
    return [Finding("ok", "schedule", f"{words.counted(len(stack.schedule), 'timer')} active")]
