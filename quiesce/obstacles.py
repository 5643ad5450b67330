"""What stands in the way of restoring a database, as a set records it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

ObstacleKind = Literal["names", "orphans", "check"]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something in a database that a plain `pg_restore` of its dump stumbles over.

    `names`: what a restore computes again calls a function that finds its tables by the session's
    search path; Quiesce gives it that path while it loads. `orphans`, `check`: rows break a
    foreign key or a check constraint that counts as valid. `constraint` is its table's schema and
    name, and its own name. `fact` says it in words.
    """

    kind: ObstacleKind
    fact: str
    constraint: tuple[str, ...] = ()


def broken_constraints(obstacles: Iterable[Obstacle]) -> frozenset[tuple[str, ...]]:
    """Return the constraints that rows broke when the set was made."""
    return frozenset(o.constraint for o in obstacles if o.kind != "names")
