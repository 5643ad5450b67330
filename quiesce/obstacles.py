"""Obstacles to restoring a database, as a set records them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

ObstacleKind = Literal["names", "orphans", "check", "rounded"]
NOT_VALID = "--not-valid"
SKIP_BROKEN = "--skip-broken"
# Since this major version, a foreign key of a partitioned table can be NOT VALID.
_PARTITIONED_SINCE = 18


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something in a database that makes a plain `pg_restore` of its dump fail.

    `names`: a function that a restore evaluates finds its tables by the session's search path;
    Quiesce sets that path while it loads. `orphans`, `check`: rows violate a foreign key or a
    check constraint that is marked as valid. `rounded`: the dump itself has rounded values.
    `constraint` is the schema and name of its table, and
    its own name. `fact` describes it. `partitioned`: it is a foreign key of a partitioned table.
    """

    kind: ObstacleKind
    fact: str
    constraint: tuple[str, ...] = ()
    partitioned: bool = False


def broken_constraints(obstacles: Iterable[Obstacle]) -> frozenset[tuple[str, ...]]:
    """Return the constraints that rows violated when the set was made."""
    return frozenset(o.constraint for o in obstacles if o.kind in ("orphans", "check"))


def flag_for(obstacle: Obstacle, server_version: str) -> str:
    """Return the flag that a full restore needs on a server of this version (such as `17.2`), ""
    for none."""
    if obstacle.kind in ("names", "rounded"):
        return ""
    major = int(server_version.partition(".")[0])
    return SKIP_BROKEN if obstacle.partitioned and major < _PARTITIONED_SINCE else NOT_VALID
