"""The places at which volumes are exchanged, open from staging until the exchange is settled.

A helper takes a second or more to start. Kept open, it is there already while services are stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from quiesce.adapters.volumes.location import Place
from quiesce.errors import QuiesceError
from quiesce.observed import VolumeState

_Result = TypeVar("_Result")


class ExchangePlaces:
    """`open_place` opens a writable place; the folders that it gets are visible there, too."""

    def __init__(self, open_place: Callable[[VolumeState, Sequence[Path]], Place]) -> None:
        self._open = open_place
        self._kept: dict[str, Place] = {}

    @contextmanager
    def staging(self, volume: VolumeState, folders: Sequence[Path]) -> Iterator[Place]:
        """A new place, which is kept if the block succeeds."""
        self.release(volume)
        place = self._open(volume, folders)
        try:
            yield place
        except BaseException:
            place.close()
            raise
        self._kept[volume.name] = place

    def run(self, volume: VolumeState, work: Callable[[Place], _Result]) -> _Result:
        """Return the result of work that can be repeated, at the kept place or at a new one."""
        kept = self._kept.get(volume.name)
        if kept is not None:
            try:
                return work(kept)
            except QuiesceError:
                # Its helper may have been removed meanwhile, for example by a reboot.
                self.release(volume)
        place = self._open(volume, ())
        try:
            return work(place)
        finally:
            place.close()

    def release(self, volume: VolumeState) -> None:
        """Close the place that is kept for this volume, if there is one."""
        if place := self._kept.pop(volume.name, None):
            place.close()

    def close(self) -> None:
        """Close all places."""
        while self._kept:
            _, place = self._kept.popitem()
            place.close()
