"""The verb `doctor`: everything of `check`, and what else a backup or a restore relies on.

If one thing cannot be examined, that is a finding, and the rest is still examined.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.app.backups_folder import lock_file, runs_folder
from quiesce.app.run_reports import last_drill, read_reports
from quiesce.app.wiring import open_store
from quiesce.errors import CheckFailed, QuiesceError
from quiesce.execute import lock
from quiesce.execute.run import Ports
from quiesce.findings import Finding
from quiesce.model import Stack, title_of
from quiesce.observed import Observed, ShadowedFolder
from quiesce.plan.platforms import platform_findings
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet
    from quiesce.observed import Observed
import errno
import shlex
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager

from quiesce.app.backups_folder import links_in
from quiesce.app.outlook import room_without_engine
from quiesce.app.session import Session
from quiesce.commands.check import find_findings
from quiesce.execute import journal as journals
from quiesce.execute.run import Ports
from quiesce.file_errors import hint_for, reason
from quiesce.findings import Level
from quiesce.model import BackupSet
from quiesce.observed import Observed
from quiesce.ports import Clock
from quiesce.private_files import trusted_owners

#: Seconds after which a verified backup counts as old.
OLD = 8 * 24 * 3600
#: Seconds after which a drill counts as old: a quarter of a year.
REHEARSED = 92 * 24 * 3600

_SHELLS = ("sh", "bash", "dash", "ash")
#: Placeholder files of git, which are not private.
_FROM_GIT = (".gitkeep", ".gitignore")

Connect = Callable[[], AbstractContextManager[tuple[Ports, Observed]]]


def examine(
    stack: Stack, clock: Clock, connect: Connect, environ: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Return all findings, including good ones."""
    found: list[Finding] = []
    try:
        with connect() as (ports, seen):
            found += find_findings(stack, ports, seen)
            found += _engine(seen)
            found += _attempt("platform", lambda: platform_findings(ports.project.platform()))
            found += _databases(seen)
            found += _tools(ports)
            found += _attempt("bind mounts", lambda: _shadowed(ports))
            found += _attempt("stop signals", lambda: _ignoring_stop_signal(ports))
            found += _attempt("database servers", lambda: _bare_servers(stack, ports))
            sets = tuple(ports.store.sets())
    except QuiesceError as error:
        found.append(Finding("error", "engine", error.fact, error.hint))
        sets = open_store(stack.backups).sets()
        found.append(room_without_engine(stack, sets))
    own = tuple(s for s in sets if s.manifest.instance == stack.instance.name)
    found += _permissions(stack)
    found += _age(stack, own, clock)
    found += _drill(stack, clock)
    found += _attempt("lock", lambda: _lock(stack))
    found += _cron(stack, environ)
    return tuple(found)


def _attempt(subject: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except QuiesceError as error:
        return [Finding("warning", subject, error.fact, error.hint)]


def _engine(seen: Observed) -> list[Finding]:
    where = "volumes can be read from here" if seen.engine.local else "data is streamed"
    return [Finding("ok", "engine", f"{seen.engine.kind} {seen.engine.version}, {where}")]


def _databases(seen: Observed) -> list[Finding]:
    found = []
    for state in seen.databases:
        if not state.reachable:
            hint = state.remedy or "start its service with 'inv up', then run 'inv doctor' again"
            found.append(Finding("warning", state.key, state.problem, hint))
        elif not state.exists:
            fact = f"database {state.name} does not exist on its server"
            found.append(
                Finding(
                    "error", state.key, fact, "create it, or remove it from databases in stack.yaml"
                )
            )
        else:
            # Dumps are made with the client of the server's own image, so versions match.
            fact = f"{title_of(state.engine)} {state.server_version} answers"
            found.append(Finding("ok", state.key, fact))
    return found


def _tools(ports: Ports) -> list[Finding]:
    try:
        tools = ports.project.tools()
    except QuiesceError as error:
        return [Finding("error", "tools", error.fact, error.hint)]
    return [Finding("ok", name, version) for name, version in tools.items()]


def _shadowed(ports: Ports) -> list[Finding]:
    return [
        Finding(
            "warning",
            folder.service,
            f"the bind mount of {folder.source} hides {folder.target} of the image "
            f"({', '.join(folder.entries)}, …)",
            f"mount a named volume on {folder.target}: a new volume starts with a copy of the "
            "image's content",
        )
        for folder in ports.project.shadowed_folders()
    ]


def _ignoring_stop_signal(ports: Ports) -> list[Finding]:
    return [
        Finding(
            "warning",
            service,
            f"its main process ignores {name}: every stop takes the whole grace period and then "
            "kills it",
            f"add 'init: true' to services.{service}, or put 'exec' before the command in its "
            "start script",
        )
        for service, name in ports.project.services_ignoring_stop_signal().items()
    ]


def _bare_servers(stack: Stack, ports: Ports) -> list[Finding]:
    """Return what may leave orphaned child processes to a server that is PID 1."""
    found = []
    bare = ports.project.bare_servers()
    for service, check in bare.items():
        shells = [
            command.argv[0]
            for command in (*stack.before, *stack.after)
            if command.service == service and Path(command.argv[0]).name in _SHELLS
        ]
        why = [check] if check else []
        why += [f"before: or after: runs {shells[0]} in it"] if shells else []
        if why:
            fact = (
                f"PostgreSQL is PID 1 in its container, and {' and '.join(why)}: if that process "
                "is killed, its orphaned children make the server terminate all sessions and "
                "recover"
            )
            hint = f"add 'init: true' to services.{service}" + (
                ", or write the health check as [CMD, pg_isready, …]" if check else ""
            )
            found.append(Finding("warning", service, fact, hint))
    return found


def _permissions(stack: Stack) -> list[Finding]:
    folder = stack.backups
    if not folder.exists():
        hint = "the first 'inv backup' creates it, with mode 0700"
        return [Finding("ok", "backups", f"{folder} does not exist yet", hint)]
    shown = shlex.quote(str(folder))
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        refused = OSError(errno.EROFS if read_only else errno.EACCES, "")
        fact = f"cannot write to {folder}: {reason(refused)}"
        return [Finding("error", "backups", fact, hint_for(refused, folder))]
    if links := links_in(stack):
        fact = f"{links[0]} is a symbolic link, and Quiesce does not follow links there"
        hint = f"check where it points with ls -l {shlex.quote(str(links[0]))}, then remove it"
        return [Finding("error", "backups", fact, hint)]
    mode = stat.S_IMODE(folder.stat().st_mode)
    open_ = [
        path
        for path in _files(folder)
        if path.name not in _FROM_GIT and stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]
    # git creates the folder with 0755; the first task that changes something corrects that.
    ours = folder.stat().st_uid in trusted_owners(stack.directory)
    if mode & 0o077:
        fact = f"other users can access {folder}: its mode is {mode:04o}"
        used = any(path.name not in _FROM_GIT for path in _files(folder))
        if ours and not used:
            hint = "the first task that changes something sets its mode to 0700"
            return [Finding("ok", "backups", fact, hint)]
        level: Level = "warning" if ours and not mode & 0o022 else "error"
        return [Finding(level, "backups", fact, f"chmod 0700 {shown}")]
    if open_:
        fact = (
            "other users can access "
            f"{words.counted(len(open_), 'file or folder', 'files and folders')} in it"
        )
        return [Finding("warning", "backups", fact, f"chmod -R go-rwx {shown}")]
    return [Finding("ok", "backups", "private: mode 0700, its files 0600")]


def _files(folder: Path) -> Iterator[Path]:
    """Yield everything below the folder, without following links."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            if not path.is_symlink():
                yield path


def _age(stack: Stack, sets: tuple[BackupSet, ...], clock: Clock) -> list[Finding]:
    hint = f"inv backup --instance {stack.instance.name}"
    good = [s for s in sets if s.state.verified_good and s.manifest.kind == "full"]
    if not good:
        return [Finding("warning", "last backup", "there is no verified full backup", hint)]
    last = max(good, key=lambda s: s.manifest.created_at)
    now = clock.now()
    fact = f"{last.name}, verified, {words.age(last.manifest.created_at, now)}"
    old = (now - last.manifest.created_at).total_seconds() > OLD
    return [Finding("warning" if old else "ok", "last backup", fact, hint if old else "")]


def _drill(stack: Stack, clock: Clock) -> list[Finding]:
    """Report when a drill last ran. Runtimes that cannot run drills get no finding."""
    hint = f"inv drill --instance {stack.instance.name}"
    last = last_drill(read_reports(stack))
    if last is None:
        if stack.instance.runtime == "host":
            return []
        return [Finding("warning", "last drill", "no drill has been run yet", hint)]
    when = words.age(last.at, clock.now())
    if not last.ok:
        return [Finding("error", "last drill", f"failed {when}: {last.fact}", hint)]
    took = last.recovery_seconds
    timed = f"; recovery took {words.duration(took)}" if took is not None else ""
    old = (clock.now() - last.at).total_seconds() > REHEARSED
    fact = f"everything was restored, {when}{timed}"
    return [Finding("warning" if old else "ok", "last drill", fact, hint if old else "")]


def _lock(stack: Stack) -> list[Finding]:
    file = lock_file(stack)
    if lock.is_free(file) and (runs := journals.living(runs_folder(stack))):
        fact = f"the lock file was removed while run {runs[0].run} is in progress"
        hint = f"make sure that no program removes files in {file.parent}; wait until the run ends"
        return [Finding("warning", "lock", fact, hint)]
    if lock.is_free(file):
        return [Finding("ok", "lock", "free: no other run is in progress")]
    return [Finding("ok", "lock", "held: another run is in progress", "wait with --wait SECONDS")]


def _cron(stack: Stack, environ: Mapping[str, str]) -> list[Finding]:
    """Look for a cron line of this stack, and test its command in cron's minimal environment."""
    from quiesce.adapters.schedule.cron import backup_lines, works_from_bare_environment
    from quiesce.commands.schedule import timers_state

    if timers := timers_state(stack, environ):
        return timers
    command = f"cd {shlex.quote(str(stack.directory))} && ./inv"
    lines = backup_lines(stack.directory, environ)
    if lines is None:
        return [Finding("ok", "schedule", "cron is not installed on this machine", "")]
    if not lines:
        return [
            Finding(
                "warning",
                "schedule",
                "no line in this user's crontab makes backups of this stack",
                f"add 'schedule: [daily 02:00 full]' to {stack.file.name}, then run 'inv "
                "schedule --install'",
            )
        ]
    problem = works_from_bare_environment(lines[0], stack.directory, stack.instance.name)
    if problem:
        hint = f"reproduce it with: env -i HOME=$HOME PATH=/usr/bin:/bin sh -c '{command} status'"
        return [Finding("error", "schedule", f"does not work from cron: {problem}", hint)]
    return [
        Finding(
            "ok",
            "schedule",
            "a cron line makes backups, and its command works in cron's environment",
        )
    ]


def run_doctor(
    session: Session,
) -> None:
    """Check everything that a backup or a restore relies on; exit 7 for any error."""
    from quiesce.commands.doctor import examine

    findings = examine(session.stack, session.clock, session.observed, session.options.environ)
    session.reporter.findings(findings)
    if count := sum(finding.level == "error" for finding in findings):
        raise CheckFailed(
            f"doctor found {words.counted(count, 'error')}", "see the hint next to each of them"
        )


def shadowed_folders(ports: Ports) -> tuple[ShadowedFolder, ...]:
    """Return the bind mounts that hide a folder of an image; none if they cannot be examined."""
    try:
        return ports.project.shadowed_folders()
    except QuiesceError as error:
        ports.sink.warn(str(error))
        return ()
