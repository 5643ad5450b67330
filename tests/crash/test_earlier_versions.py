"""What an earlier version left: runs that were killed, and a set. This version goes on from there.

`earlier/` holds journals that version 0.1.0 wrote until it was killed, with its names for the
steps, and a set that it made. A journal belongs to a state of services and databases: the state is
made anew by killing a run of this version at the same step, and the recorded journal takes the
place of its own, with the ids of this run, this engine and these services.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.execute import journal
from quiesce.plan.steps import Step
from tests.support.counting import Counting
from tests.support.kills import inv, manifests, mark, marks, positions, require_kept

EARLIER = Path(__file__).parent / "earlier"
SET = "core-20261129-061747"


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    """A stack that counts, with a set of it."""
    with Counting.temporary() as made:
        made.begin()
        assert made.inv("backup").returncode == 0
        yield made


def _units(value: Any) -> dict[str, Any]:
    """The units in a plan, by their service."""
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        if value.get("step") == "Unit":
            found[value["service"]] = value
        for item in value.values():
            found |= _units(item)
    elif isinstance(value, list):
        for item in value:
            found |= _units(item)
    return found


def _with_units(value: Any, units: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.get("step") == "Unit":
            return units[value["service"]]
        return {key: _with_units(item, units) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_units(item, units) for item in value]
    return value


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _put_in_place(counting: Counting, recorded: Path) -> set[str]:
    """Put the recorded journal in the place of the dead run's; return the steps' names in it."""
    (dead,) = journal.unfinished(runs_folder(counting.session().stack))
    own = dead.path
    new = json.loads(own.read_text().splitlines()[0])
    text = recorded.read_text()
    old = json.loads(text.splitlines()[0])
    # Each name once: plans of later versions name a set in more steps.
    sets = [
        [*dict.fromkeys(re.findall(r'"set":"(core-[^"]+)"', _compact(p["plan"])))]
        for p in (old, new)
    ]
    same = {
        old["plan"]["run"]: new["plan"]["run"],
        old["plan"]["run"][-6:]: new["plan"]["run"][-6:],
        old["plan"]["engine"]: new["plan"]["engine"],
        old["plan"]["stack_digest"]: new["plan"]["stack_digest"],
        **dict(zip(sets[0], sets[1], strict=True)),
    }
    for was in sorted(same, key=len, reverse=True):
        text = text.replace(was, same[was])
    first, *rest = text.splitlines(keepends=True)
    begun = _with_units(json.loads(first), _units(new)) | {"pid": new["pid"], "at": new["at"]}
    own.write_text(_compact(begun) + "\n" + "".join(rest))
    return set(re.findall(r'"step":"(\w+)"', text))


def _at(counting: Counting, task: str, kind: str) -> str:
    return next(at for at, step in positions(counting, task).items() if step == kind)


@pytest.mark.parametrize(
    ("task", "kind", "recorded"),
    [
        ("backup", "StopServices", "backup-killed-after-stop.jsonl"),
        ("restore", "SwapDatabases", "restore-killed-after-SwapDatabases.jsonl"),
    ],
)
def test_a_run_that_an_earlier_version_left_is_recovered(
    counting: Counting, task: str, kind: str, recorded: str
) -> None:
    """Services run again, the data is wholly old or wholly new, and nothing is left."""
    counting.wait_until_it_counts()
    mark(counting, f"earlier {task}")
    older = manifests(counting)
    died = inv(
        counting,
        "after",
        _at(counting, task, kind),
        *(("backup",) if task == "backup" else ("restore", "--file", "latest", "--yes")),
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert counting.is_down("counter")
    names = _put_in_place(counting, EARLIER / recorded)
    former = {kind.former for kind in Step.kinds.values() if kind.former}
    assert names & former, "the journal has none of the former names: it tries nothing"
    recovered = inv(counting, "never", "-", "recover")
    assert recovered.returncode == 0, recovered.stderr
    require_kept(counting, older)


def test_a_set_that_an_earlier_version_made_is_verified_and_restored(counting: Counting) -> None:
    """By name, with its rows and its files."""
    shutil.copytree(EARLIER / SET, counting.folder / "backups" / SET)
    mark(counting, "before the restore")
    verified = counting.inv("verify", "--file", SET, "--deep")
    assert verified.returncode == 0, verified.stderr
    counting.inv("stop", "--service", "counter")
    restored = counting.inv("restore", "--file", SET, "--yes")
    assert restored.returncode == 0, restored.stderr
    (backup,) = [each for each in counting.sets() if each.name == SET]
    numbers = counting.numbers_in(backup, counting.folder / "unpacked")
    assert counting.number() == numbers["memorydb"]
    assert marks(counting) == {""}
    assert counting.inv("start").returncode == 0
    counting.wait_until_it_counts()
