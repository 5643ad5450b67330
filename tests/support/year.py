"""A year of backups, pruned after each: run as a program, because the process's zone is part of it.

TZ=… python -m tests.support.year ZONE MINUTES
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from quiesce.model import Retention
from quiesce.plan.retention import Candidate, decide

POLICY = Retention(
    "year", keep_last=3, keep_hourly=6, keep_daily=10, keep_weekly=8, keep_monthly=14, keep_yearly=3
)
# Samoa went from the 29th of December 2011 straight to the 31st.
BEGIN, END = datetime(2011, 1, 5, tzinfo=UTC), datetime(2012, 1, 10, tzinfo=UTC)
GROUP = ("core", "full", ("rulesdb",), False)


def times(minutes: int) -> list[datetime]:
    """Return when sets are made: every so many minutes of the real year."""
    step, now, found = timedelta(minutes=minutes), BEGIN, []
    while now < END:
        found.append(now)
        now += step
    return found


def made_at(when: datetime) -> Candidate:
    """A good set of this time."""
    return Candidate(f"core-{when:%Y%m%d-%H%M%S}", GROUP, when)


def walk(zone: ZoneInfo, minutes: int) -> tuple[list[Candidate], str, int]:
    """Return what is left at the end, a digest of every removal, and the most sets at once."""
    sets: list[Candidate] = []
    digest, most = hashlib.sha256(), 0
    for when in times(minutes):
        sets.append(made_at(when))
        most = max(most, len(sets))
        kept = decide(sets, POLICY, when, zone)
        for entry in sets:
            if not kept[entry.name]:
                digest.update(f"{when} {entry.name}\n".encode())
        sets = [entry for entry in sets if kept[entry.name]]
    return sets, digest.hexdigest(), most


if __name__ == "__main__":
    left, removals, at_once = walk(ZoneInfo(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps([[entry.name for entry in left], removals, at_once]))
