"""Which phase of a run is shown on a terminal, and since when."""

from __future__ import annotations

from quiesce.report.renderer import Running

#: The phase of the steps after a failure, such as starting services again.
_AFTER_A_FAILURE = "put back what was changed"


class Phases:
    """The phase that runs now. Steps that belong to no phase are shown one by one."""

    def __init__(self, shown: bool) -> None:  # noqa: FBT001
        self._shown = shown
        self._name = ""
        self._failed: set[str] = set()
        self._began = self._last = 0.0

    def of(self, step: Running) -> str:
        """Return the phase in which the step is shown, "" if the step has a line of its own."""
        phase = step.phase if self._shown else ""
        return _AFTER_A_FAILURE if phase in self._failed else phase

    def begins(self, step: Running, clock: float) -> tuple[str, float] | None:
        """Note that the step begins; return name and seconds of the phase that ended with that."""
        if self.of(step) == self._name:
            return None
        ended = self.ends()
        self._name, self._began, self._last = self.of(step), clock, clock
        return ended

    def covers(self, step: Running | None, clock: float) -> bool:
        """Note that the step ended; return whether it needs no line of its own."""
        self._last = clock
        return step is not None and bool(self.of(step))

    def fails(self) -> None:
        """Note that a step failed: its line replaces the line of its phase. The remaining steps of
        the phase only undo changes."""
        self._failed.update({self._name} - {""})
        self._name = ""

    def ends(self) -> tuple[str, float] | None:
        """Return name and seconds of the phase that ends, None if there is none."""
        name, self._name = self._name, ""
        return (name, self._last - self._began) if name else None
