"""Sums of finished members, taken while the run waits for something else.

A member is read back once before its set is published. For the archives that can happen while
services become well and databases are dumped, which wait for others more than they compute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from quiesce.errors import QuiesceError
from quiesce.model import MemberKind

#: A member before it is measured: its file in the set, what it is, what it is of.
Finished = tuple[str, MemberKind, str]


class Summing:
    """Calls `measure` for members in the background, one after the other.

    What fails there is not told: whoever needs the member measures it again and hears of it.
    """

    def __init__(self, measure: Callable[[Finished], object]) -> None:
        self._measure = measure
        self._known: set[Finished] = set()
        self._thread: threading.Thread | None = None

    def begin(self, finished: Iterable[Finished]) -> None:
        """Begin with those not begun with before. Files must not change any more."""
        new = [member for member in finished if member not in self._known]
        if not new or (self._thread is not None and self._thread.is_alive()):
            return
        self._known.update(new)
        # A daemon: a run that failed ends without waiting for sums nobody needs.
        self._thread = threading.Thread(target=self._work, args=(new,), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Return when nothing is being measured any more."""
        if self._thread is not None:
            self._thread.join()

    def _work(self, members: list[Finished]) -> None:
        for member in members:
            try:
                self._measure(member)
            except (OSError, QuiesceError):
                return
