"""The same sets and the same policy, decided by restic: an oracle where the rules are the same.

restic has neither groups, verification nor floors, so all sets are good and `keep_last` is given.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from quiesce.model import Retention
from quiesce.plan.retention import decide
from tests.support.programs import require_programs
from tests.support.year import made_at

ZONE = "Europe/Vienna"
RULES = ("keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")


@pytest.fixture(scope="module")
def restic() -> str:
    """The program; from Debian where we may install it."""
    require_programs(["restic"], ["restic"])
    return str(shutil.which("restic"))


def _moments(count: int) -> list[datetime]:
    """Ever further apart before 2021; some on one day, around DST and new year.

    All of them in the past: restic asks the real clock what the future is.
    """
    chance = random.Random(8)
    found = {
        datetime(2021, 1, 1, 11, 5, tzinfo=UTC),
        datetime(2020, 12, 31, 23, 30, tzinfo=UTC),  # 2021 in Vienna, in 2020-W53
        datetime(2020, 12, 31, 22, 30, tzinfo=UTC),
        datetime(2020, 10, 25, 2, 10, tzinfo=UTC),  # after the change of clocks
    }
    while len(found) < count:
        minutes = int(chance.expovariate(1 / (60 * 24 * chance.choice([1, 20, 200]))))
        when = datetime(2021, 1, 1, 11, tzinfo=UTC) - timedelta(minutes=minutes)
        # The repeated hour is two hours for us and one for restic.
        if (
            not datetime(2020, 10, 25, 0, tzinfo=UTC)
            <= when
            < datetime(2020, 10, 25, 2, tzinfo=UTC)
        ):
            found.add(when)
    return sorted(found)


def _policies(count: int) -> list[Retention]:
    chance = random.Random(4)
    found = []
    for _ in range(count):
        counts = {rule: chance.choice([None, 1, 2, 3, 5]) for rule in RULES}
        within = chance.choice([None, None, 3, 40])
        seconds = None if within is None else within * 86_400.0
        found.append(
            Retention("p", keep_last=chance.randint(1, 3), keep_within=seconds, **counts)  # type: ignore[arg-type]
        )
    return found


def _options(policy: Retention) -> list[str]:
    found = [f"--keep-last={policy.keep_last}"]
    if policy.keep_within is not None:
        found.append(f"--keep-within={policy.keep_within / 86_400:.0f}d")
    for rule in RULES:
        if count := getattr(policy, rule):
            found.append(f"--{rule.replace('_', '-')}={count}")
    return found


def _compare(restic: str, folder: Path, sets: int, policies: int) -> None:
    repository, file = folder / "repository", folder / "file"
    environ: Mapping[str, str] = {
        "RESTIC_PASSWORD": "test",
        "RESTIC_REPOSITORY": str(repository),
        "HOME": str(folder),
        "TZ": ZONE,
        "PATH": os.environ["PATH"],
    }

    def call(*arguments: str) -> str:
        argv = [restic, "--no-cache", *arguments]
        return subprocess.run(
            argv, env=environ, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    file.write_text("content")
    call("init", "--quiet")
    moments = _moments(sets)
    zone = ZoneInfo(ZONE)
    texts = [f"{when.astimezone(zone):%Y-%m-%d %H:%M:%S}" for when in moments]
    assert len(set(texts)) == sets
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda text: call("backup", "--quiet", "--time", text, str(file)), texts))
    ours = {text: made_at(when) for text, when in zip(texts, moments, strict=True)}
    removed = 0
    for policy in _policies(policies):
        (group,) = json.loads(call("forget", "--dry-run", "--json", *_options(policy)))
        theirs = {_local(snapshot["time"], zone) for snapshot in group["keep"]}
        reasons = decide(ours.values(), policy, datetime(2021, 6, 1, tzinfo=UTC), zone)
        kept = {
            text
            for text, entry in ours.items()
            # Floors are ours alone.
            if any(why.startswith("keep_") for why in reasons[entry.name])
        }
        assert kept == theirs, policy
        removed += sets - len(kept)
    assert removed > policies


def _local(moment: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def test_restic_keeps_the_same_sets(restic: str, tmp_path: Path) -> None:
    """A few sets and policies: every one of restic's calls costs a second."""
    _compare(restic, tmp_path, sets=12, policies=5)


@pytest.mark.long
def test_restic_keeps_the_same_of_many_sets(restic: str, tmp_path: Path) -> None:
    """Sets over years, policies of all kinds."""
    _compare(restic, tmp_path, sets=80, policies=40)
