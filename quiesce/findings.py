"""What a check found: a fact about a subject, how bad it is, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "ok"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of `check` or `doctor`. Only an `error` makes the check fail."""

    level: Level
    subject: str
    fact: str
    hint: str = ""
