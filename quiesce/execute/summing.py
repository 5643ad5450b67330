"""Checksums of finished members, computed in the background.

Each member is read back once before its set is published. For archives this happens while services
become healthy and databases are dumped.
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

    Errors are ignored here: the member is measured again when its sum is needed.
    """

    def __init__(self, measure: Callable[[Finished], object]) -> None:
        self._measure = measure
        self._known: set[Finished] = set()
        self._thread: threading.Thread | None = None

    def begin(self, finished: Iterable[Finished]) -> None:
        """Start measuring the members that are new. Their files must not change any more."""
        new = [member for member in finished if member not in self._known]
        if not new or (self._thread is not None and self._thread.is_alive()):
            return
        self._known.update(new)
        # A daemon thread, so that a failed run does not wait for sums that it does not need.
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
