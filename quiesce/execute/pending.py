"""Records of pending steps of ended runs, one file per run, beside the journals.

    backups/.runs/<instance>/<run>.pending.json

A record is on disk before the journal says that its bracket is finished, so that a crash cannot
lose it. Each later run retries its steps, and removes the record when nothing is left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from quiesce.codec import NotDecodable, decode, encode
from quiesce.errors import QuiesceError, place_of
from quiesce.plan.pending import is_clean_up
from quiesce.plan.steps import Node, Plan, Step
from quiesce.private_files import read_private, replace_private

VERSION = 1
_ENDING = ".pending.json"


@dataclass(frozen=True, slots=True)
class Pending:
    """The pending steps of a run: its plan with only these steps, how often and since when they
    were tried, and the last error of each by position."""

    path: Path
    plan: Plan
    tries: int
    since: datetime
    problems: Mapping[str, str]

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(node for node in self.plan.nodes if isinstance(node, Step))

    @property
    def clean_ups(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if is_clean_up(step))

    @property
    def services(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not is_clean_up(step))

    def problem(self, step: Step) -> str:
        """The last error of the step, or ""."""
        return self.problems.get(str(self.plan.nodes.index(step)), "")


def note(
    folder: Path,
    plan: Plan,
    steps: tuple[Step, ...],
    failed: Mapping[Step, str],
    now: datetime,
    earlier: Pending | None = None,
) -> Pending:
    """Record that these steps of the plan's run are pending. Raise OSError if that fails."""
    nodes: tuple[Node, ...] = steps
    made = Pending(
        folder / f"{plan.run}{_ENDING}",
        replace(plan, nodes=nodes),
        (earlier.tries if earlier else 0) + 1,
        earlier.since if earlier else now,
        {str(nodes.index(step)): text for step, text in failed.items()},
    )
    _write(made)
    return made


def keep_only(pending: Pending, steps: tuple[Step, ...]) -> None:
    """Record that only these of its steps are left. Raise OSError if that fails."""
    if not steps:
        pending.path.unlink(missing_ok=True)
    elif steps != pending.steps:
        problems = {
            str(index): text for index, step in enumerate(steps) if (text := pending.problem(step))
        }
        _write(replace(pending, plan=replace(pending.plan, nodes=steps), problems=problems))


def forget(folder: Path, run: str) -> None:
    """Remove the record of this run, if there is one."""
    (folder / f"{run}{_ENDING}").unlink(missing_ok=True)


def _write(pending: Pending) -> None:
    document = {
        "version": VERSION,
        "plan": encode(pending.plan),
        "tries": pending.tries,
        "since": pending.since.isoformat(),
        "problems": dict(pending.problems),
    }
    replace_private(pending.path, json.dumps(document, indent=1).encode() + b"\n")


def read_all(folder: Path) -> tuple[tuple[Pending, ...], tuple[Path, ...]]:
    """Return all records, oldest first, and those that cannot be read."""
    found: list[Pending] = []
    strange: list[Path] = []
    for path in sorted(folder.glob(f"*{_ENDING}")):
        try:
            document = json.loads(read_private(path))
            if document["version"] != VERSION:
                strange.append(path)
                continue
            plan: Plan = decode(Plan, document["plan"])
            since = datetime.fromisoformat(document["since"])
            problems = {str(key): str(text) for key, text in document["problems"].items()}
            found.append(Pending(path, plan, int(document["tries"]), since, problems))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, NotDecodable):
            strange.append(path)
    return tuple(found), tuple(strange)


def words_of(error: BaseException) -> str:
    """Return why a step failed, in one line without secrets."""
    return str(error) if isinstance(error, QuiesceError) else f"unexpected {place_of(error)}"
