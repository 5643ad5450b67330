"""The composition root: connects adapters and planners for the verbs in `commands`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app import last_config
from quiesce.app.backups_folder import runs_folder
from quiesce.app.passwords import with_passwords
from quiesce.app.project import resolve_project
from quiesce.app.run_log import rotate_log
from quiesce.app.session import Options, Session
from quiesce.errors import RequestError

if TYPE_CHECKING:
    from quiesce.report import Reporter


def open_app(
    start: Path,
    stack: str | None,
    instance: str | None,
    reporter: Reporter,
    options: Options,
    *,
    anyhow: bool = False,
) -> Session:
    """Read `stack.yaml` and return the session for one of its instances.

    `stack` or `QUIESCE_STACK` names the file; otherwise it is in `start`, beside the tasks.py that
    was loaded. Raise ConfigError or RequestError if it is invalid; with `anyhow`, use its copy from
    an interrupted run if there is one.
    """
    from quiesce.config import load_stack

    named = stack or options.environ.get("QUIESCE_STACK")
    if anyhow:
        file = (Path(named).expanduser() if named else start / "stack.yaml").absolute()
        loaded = last_config.load_anyhow(file, instance, options.environ, reporter.warn)
    else:
        loaded = load_stack(_stack_file(start, named), instance, options.environ)
    loaded = with_passwords(resolve_project(loaded, anyhow=anyhow))
    rotate_log(loaded)
    reporter.use_zone(ZoneInfo(loaded.timezone))
    return Session(loaded, reporter, options)


def engines_of(start: Path, stack: str | None) -> Mapping[str, tuple[str, str]]:
    """Return the identity of each instance's engine. Raise ConfigError."""
    from quiesce.config import read_engines

    return read_engines(_stack_file(start, stack or os.environ.get("QUIESCE_STACK")))


def _stack_file(start: Path, named: str | None) -> Path:
    file = Path(named).expanduser() if named else start / "stack.yaml"
    if not file.is_file():
        hint = "name it with --stack PATH or QUIESCE_STACK"
        if not named:
            hint = f"write one with 'inv init' in the folder of the Compose file, or {hint}"
        raise RequestError(f"there is no {file}", hint)
    return file.absolute()


__all__ = ["Options", "Session", "engines_of", "open_app", "runs_folder"]
