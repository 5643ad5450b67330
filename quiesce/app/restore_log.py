"""The log of restores: one line at the start of a restore, one at its end. It is never truncated.

    backups/.reports/<instance>/restores.jsonl

A killed restore cannot write its end; its recovery does, so that no restore seems to run forever,
and the newest successful one is known.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.app.backups_folder import REPORTS, RUNS
from quiesce.errors import RequestError
from quiesce.execute import journal
from quiesce.private_files import make_private, open_private, read_private
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.model import Stack


def reports_folder(stack: Stack) -> Path:
    """Return the folder of the instance's reports and log of restores."""
    return stack.backups / REPORTS / stack.instance.name


def restore_log(stack: Stack) -> Path:
    """Return the log file of the instance's restores."""
    return reports_folder(stack) / "restores.jsonl"


def append(file: Path, line: dict[str, Any]) -> None:
    """Append one line to a file and sync it."""
    make_private(file.parent)
    descriptor = open_private(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        # One write, so that lines of two processes never mix.
        os.write(descriptor, words.utf_8(json.dumps(line, ensure_ascii=False)) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def operator() -> str:
    """Return the user and host of this run."""
    name = os.environ.get("SUDO_USER", "")
    try:
        name = name or getpass.getuser()
    except (OSError, KeyError):
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def end_interrupted(stack: Stack, now: datetime) -> None:
    """Write the end of every restore that has ended without writing it. Raise OSError."""
    for line in _without_end(stack):
        run = str(line["run"])
        found = _end_of(stack, run)
        if found is not None:
            ok, fact = found
            error = {} if ok else {"error": {"fact": fact, "hint": ""}}
            append(
                restore_log(stack),
                {
                    **line,
                    "at": words.utc(now),
                    "event": "ended",
                    "operator": operator(),
                    "ok": ok,
                    "exit_code": 0 if ok else 4,
                    "recovered": True,
                    **error,
                },
            )


def _without_end(stack: Stack) -> Iterator[dict[str, Any]]:
    try:
        lines = read_private(restore_log(stack)).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return
    begun: dict[str, dict[str, Any]] = {}
    for text in lines:
        try:
            line = json.loads(text)
            if line["event"] == "begun":
                begun[str(line["run"])] = line
            elif line["event"] == "ended":
                begun.pop(str(line["run"]), None)
        except (ValueError, KeyError, TypeError):
            continue
    yield from begun.values()


def _end_of(stack: Stack, run: str) -> tuple[bool, str] | None:
    """Return whether a restore succeeded, and why not; None while that is undecided."""
    path = stack.backups / RUNS / stack.instance.name / f"{run}.jsonl"
    if not path.exists():
        return False, "it was interrupted, and its journal no longer exists"
    try:
        found = journal.read(path)
    except RequestError:
        return None
    if not found.progress.closed:
        return None
    if found.outcome in journal.ENDED_WELL:
        return True, ""
    return False, "it was interrupted, and the previous data was put back"
