"""Runs a task for every instance of `stack.yaml`, each in a separate process: concurrently on
different engines, one after the other on the same engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.menu.command_name import called_as

if TYPE_CHECKING:
    from quiesce.report import Reporter

#: Exit codes from best to worst: success, refused and busy, a finding, put back, wrong request,
#: unexpected, something left to recover.
_WORSE = (0, 6, 5, 7, 3, 2, 1, 4)


@dataclass(frozen=True, slots=True)
class Ended:
    """The result for one instance; `document` is what it printed with `--json`."""

    instance: str
    code: int
    document: Any = None


def run_everywhere(
    task: str, given: Mapping[str, Any], folder: Path, stack: str | None, reporter: Reporter
) -> int:
    """Run the task once per instance and return the worst exit code.

    `given` are the options of the command line. Raise RequestError if `stack.yaml` cannot be read
    at all; errors in the configuration of one instance affect only that instance.
    """
    options = arguments(given)
    groups = _by_engine(folder, stack)
    as_json = bool(given.get("json"))

    def one_after_the_other(names: Sequence[str]) -> list[Ended]:
        return [_run([task, "--instance", name, *options], folder, name, as_json) for name in names]

    with ThreadPoolExecutor(max_workers=len(groups)) as pool:
        ended = [entry for group in pool.map(one_after_the_other, groups) for entry in group]
    worst = max((entry.code for entry in ended), key=_badness)
    facts = {entry.instance: "done" if entry.code == 0 else f"exit {entry.code}" for entry in ended}
    if as_json:
        documents = {entry.instance: entry.document for entry in ended}
        codes = {entry.instance: entry.code for entry in ended}
        reporter.result({"ok": worst == 0, "instances": documents, "exit_codes": codes})
    else:
        reporter.note("; ".join(f"{name}: {said}" for name, said in facts.items()))
    return worst


def arguments(given: Mapping[str, Any]) -> list[str]:
    """Return options as command-line arguments, without those that were not given."""
    found: list[str] = []
    for name, value in given.items():
        flag = f"--{name.strip('_').replace('_', '-')}"
        if value is True:
            found.append(flag)
        elif value not in (None, False, "", 0):
            found += [flag, str(value)]
    return found


def _by_engine(folder: Path, stack: str | None) -> list[list[str]]:
    from quiesce.app import engines_of

    groups: dict[tuple[str, str], list[str]] = {}
    for name, engine in engines_of(folder, stack).items():
        groups.setdefault(engine, []).append(name)
    return list(groups.values())


def _run(arguments: Sequence[str], folder: Path, instance: str, as_json: bool) -> Ended:
    ended = subprocess.run(
        [*_program(folder), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if as_json else None,
        check=False,
    )
    document = None
    if as_json:
        try:
            document = json.loads(ended.stdout)
        except ValueError:
            document = None
    # Ended by a signal: the exit code that a shell would report.
    code = ended.returncode if ended.returncode >= 0 else 128 - ended.returncode
    return Ended(instance, code, document)


def _program(folder: Path) -> list[str]:
    if called_as() == "inv":
        return [sys.executable, "-m", "invoke", "--search-root", str(folder)]
    # The current folder, or one above it, is the stack's; no module may come from there.
    return [sys.executable, "-P", "-m", "quiesce"]


def _badness(code: int) -> int:
    return _WORSE.index(code) if code in _WORSE else len(_WORSE)
