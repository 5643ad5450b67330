"""The space and downtime that a run is expected to need. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quiesce.amounts import duration, size
from quiesce.plan.expected import Expected

#: The number of earlier runs that are considered.
RECENT = 3


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a plan is expected to need. `room` is None if the plan makes no set, or if the space was
    not computed.

    `downtimes` are the seconds for which the same services were down in the last runs.
    """

    room: Expected | None = None
    free_bytes: int = 0
    downtimes: tuple[float, ...] = ()

    def lines(self) -> tuple[tuple[str, str], ...]:
        """Return each expectation with its basis."""
        found = []
        if self.room is not None:
            fact = f"the set needs about {size(self.room.about)}; {size(self.free_bytes)} is free"
            found.append((fact, self.room.reason()))
        if self.downtimes:
            found.append((f"services will be down for {self.span()}", self._runs()))
        return tuple(found)

    def span(self) -> str:
        """Return the expected downtime."""
        least, most = (duration(pick(self.downtimes)) for pick in (min, max))
        return f"about {most}" if least == most else f"{least} to {most}"

    def _runs(self) -> str:
        count = len(self.downtimes)
        return "as in the last run" if count == 1 else f"as in the last {count} runs"


#: No expectation: there is no earlier run, or nothing was computed.
UNKNOWN = Outlook()


def last(
    spans: Iterable[tuple[frozenset[str], float]], stopped: Iterable[str]
) -> tuple[float, ...]:
    """Return the last downtimes of exactly these services, oldest first. `spans` are the stopped
    services and seconds of earlier runs, newest first."""
    wanted = frozenset(stopped)
    found = [seconds for services, seconds in spans if services == wanted and seconds > 0]
    return tuple(reversed(found[:RECENT]))
