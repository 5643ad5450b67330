"""Finds backup jobs in the user's crontab, and checks whether they work in cron's environment."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from quiesce.adapters.process import program as process
from quiesce.errors import QuiesceError

#: The PATH that cron sets for a job.
_BARE_PATH = "/usr/bin:/bin"
#: Five fields or a name like @daily, then the command.
_LINE = re.compile(r"\s*(?:@\w+|(?:\S+\s+){4}\S+)\s+(?P<command>\S.*)")
#: A backup task, after the program that is called.
_BACKUP = re.compile(r"(?P<program>\S*\binv)\b(?P<options>[^;|&>]*?)\s(?:backup|backup-db)\b")


def backup_lines(folder: Path, environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the crontab's commands that back up the stack in `folder`; None without cron."""
    if shutil.which("crontab", path=environ.get("PATH", os.defpath)) is None:
        return None
    try:
        done = process.run(["crontab", "-l"], accept=(0, 1), timeout=10, what="crontab")
    except QuiesceError:
        return None
    found = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        entry = None if line.lstrip().startswith("#") else _LINE.fullmatch(line)
        if entry and str(folder) in line and _BACKUP.search(entry["command"]):
            found.append(entry["command"])
    return tuple(found)


def works_from_bare_environment(command: str, folder: Path, instance: str) -> str:
    """Return why the command would not work from cron, "" if it does.

    The program is run with `status` for the instance, in cron's environment: that needs everything
    that a backup needs (Python, packages, stack.yaml, Docker), and changes nothing.
    """
    found = _BACKUP.search(command)
    if found is None:
        return "it contains no task that Quiesce recognizes"
    user = pwd.getpwuid(os.getuid())
    environment = {
        "HOME": user.pw_dir,
        "LOGNAME": user.pw_name,
        "PATH": _BARE_PATH,
        "SHELL": "/bin/sh",
    }
    program = found["program"]
    if "/" not in program and shutil.which(program, path=_BARE_PATH) is None:
        return f"cron does not find {program}: its PATH is {_BARE_PATH}"
    try:
        process.run(
            [program, "status", "--json", "--instance", instance],
            environment=environment,
            cwd=folder,
            timeout=120,
            what=f"{program} status",
        )
    except QuiesceError as error:
        return "; ".join((error.fact, *error.details[-2:]))
    return ""
