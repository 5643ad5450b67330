"""Containers whose first process is a PostgreSQL server, and the programs that can be run in them
safely. Pure.

The first process of a container inherits every orphaned child. A PostgreSQL server treats an
unknown child that ends with anything but 0 or 1 as a crashed session: it terminates all sessions
and recovers. A program started by the engine or `docker exec` is not its child, but the children of
that program become so when it is killed. So only a single program without children may run there. A
container with an init process does not have this problem.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from quiesce.adapters.compose.inspected import Inspected, health_command, service_of
from quiesce.model import Database, engine_of

INITS = ("docker-init", "dumb-init", "tini", "catatonit", "init", "s6-svscan", "runit", "launch")
SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh", "busybox")
#: Programs of PostgreSQL that start no others.
_SINGLE = ("pg_isready", "psql")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_OR_FAIL = re.compile(r"\s*\|\|\s*(?:exit\s+1|false)\s*;?\s*$")
#: Characters that make a shell do more than split words.
_SYNTAX = re.compile(r"[`$|&;<>()*?\[\]{}~!\n\\]")


def sensitive_servers(databases: Iterable[Database]) -> frozenset[str]:
    """Return the services of these databases whose servers mistake the exit of an orphan for a
    crash."""
    return frozenset(one.service for one in databases if engine_of(one.engine).minds_orphans)


def is_bare_server(container: Inspected, servers: Collection[str]) -> bool:
    """Whether a PostgreSQL server is the first process: by its image, or as the service of a
    declared database (`servers`)."""
    if container["HostConfig"].get("Init") or _program(str(container.get("Path") or "")) in INITS:
        return False
    return "PGDATA" in _environment(container) or service_of(container) in servers


def probe_command(container: Inspected, servers: Collection[str]) -> list[str]:
    """Return the container's health command as Quiesce may run it, [] if only the engine may.

    In a container with a bare server, without a shell: just `pg_isready …`, as in most health
    checks.
    """
    if not is_bare_server(container, servers):
        return health_command(container["Config"])
    test = list((container["Config"].get("Healthcheck") or {}).get("Test") or [])
    argv = test[1:]
    if test and test[0] == "CMD-SHELL":
        argv = _without_shell(" ".join(test[1:]), _environment(container))
    return argv if argv and _program(argv[0]) in _SINGLE else []


def orphaning_check(container: Inspected) -> str:
    """Return why a bare server's health check may leave it an orphaned child, "" if it cannot."""
    test = list((container["Config"].get("Healthcheck") or {}).get("Test") or [])
    if not test or test[0] == "NONE":
        return ""
    if test[0] == "CMD-SHELL" or _program(test[1] if len(test) > 1 else "") in SHELLS:
        return "its health check runs in a shell"
    if len(test) > 1 and _program(test[1]) not in _SINGLE:
        return f"its health check runs {_program(test[1])}, which may start other programs"
    return ""


def _without_shell(line: str, environment: Mapping[str, str]) -> list[str]:
    """Return the words of a simple command, [] for one that needs a shell."""
    line = _OR_FAIL.sub("", line)
    unknown = [
        name
        for braced, plain in _VARIABLE.findall(line)
        if not re.fullmatch(r"[\w./:@-]+", environment.get(name := braced or plain, ""))
    ]
    if unknown:
        return []
    line = _VARIABLE.sub(lambda found: environment[found[1] or found[2]], line)
    if _SYNTAX.search(line):
        return []
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _environment(container: Inspected) -> Mapping[str, str]:
    pairs = (str(line).partition("=") for line in container["Config"].get("Env") or ())
    return {name: value for name, _, value in pairs}


def _program(path: str) -> str:
    return PurePosixPath(path).name
