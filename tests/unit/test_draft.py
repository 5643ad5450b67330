"""The one record of a set in the making: what is finished, and which sums were taken."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.errors import QuiesceError
from quiesce.execute.draft import Draft, Finished
from quiesce.model import Member, VolumeRecord
from quiesce.plan.steps import OpenSet
from quiesce.ports import Measured
from tests.support.builders import NOW

SET = "core-20261121-020000"


class Reads:
    """Measures, and remembers what; fails on the file `bad` for `failures` times."""

    def __init__(self, bad: str = "", failures: int = 0) -> None:
        self.seen: list[str] = []
        self.bad, self.failures = bad, failures

    def __call__(self, finished: Finished) -> Measured:
        file, kind, source = finished
        if file == self.bad and self.failures:
            self.failures -= 1
            raise QuiesceError(f"{file} cannot be read")
        self.seen.append(file)
        return Measured(Member(Path(file).name, kind, source, file, 1, "0" * 64), (1,))


def a_draft(reads: Reads) -> Draft:
    """A set that was just opened."""
    opened = OpenSet(SET, "full", "consistent", "", False, (), (), "the set")
    return Draft(opened, Path("/staging"), NOW, 0.0, reads)


def archived(level: str) -> VolumeRecord:
    """A volume in one archive."""
    return VolumeRecord("media", "core_media", 1, 1, (level,), None, "zstd")


def silent(text: str, done: int) -> None:
    """Progress that nobody looks at."""


def wait_for_background(draft: Draft) -> None:
    """Return when nothing is measured in the background any more."""
    for thread in threading.enumerate():
        if thread.daemon and thread is draft._thread:
            thread.join(10)


def test_nothing_is_measured_twice() -> None:
    """Neither by the background and the end, nor by two calls for the background."""
    reads = Reads()
    draft = a_draft(reads)
    draft.files.append(("databases/db.dump", "database", "db"))
    draft.measure_meanwhile()
    wait_for_background(draft)
    draft.files.append(("databases/globals.sql", "globals", "server"))
    draft.measure_meanwhile()
    wait_for_background(draft)
    assert reads.seen == ["databases/db.dump", "databases/globals.sql"]
    draft.files.append(("stack.yaml", "document", ""))
    said: list[tuple[str, int]] = []
    draft.measure_rest(lambda text, done: said.append((text, done)))
    assert reads.seen == ["databases/db.dump", "databases/globals.sql", "stack.yaml"]
    assert said == [("computing checksum of stack.yaml", 0)]


def test_the_end_waits_for_what_is_measured_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not read a second time; but a run that fails ends without it."""
    waited, readers = threading.Event(), []

    def measure(finished: Finished) -> Measured:
        readers.append(threading.current_thread())
        if readers[0] is not threading.main_thread():
            waited.wait(10)
        return Reads()(finished)

    draft = a_draft(Reads())
    draft.measure = measure
    draft.files.append(("databases/db.dump", "database", "db"))
    draft.measure_meanwhile()
    thread = draft._thread
    assert thread is not None
    assert thread.daemon
    draft.measure_meanwhile()
    assert draft._thread is thread, "one reads at a time"
    join = thread.join

    def joined() -> None:
        waited.set()
        join(10)

    monkeypatch.setattr(thread, "join", joined)
    draft.measure_rest(silent)
    assert readers == [thread]


def test_members_are_in_the_order_of_the_steps() -> None:
    """Whenever their sums were taken: the archive is read first, as it is finished first."""
    reads = Reads()
    draft = a_draft(reads)
    draft.volumes["media"] = archived("volumes/media.0.tar.zst")
    draft.measure_meanwhile()
    wait_for_background(draft)
    draft.files.append(("databases/db.dump", "database", "db"))
    draft.measure_rest(silent)
    assert reads.seen[-1] == "databases/db.dump"
    assert [member.kind for member in draft.members()][:2] == ["database", "volume"]


def test_the_list_of_what_was_removed_is_a_member() -> None:
    """Without it a restore would bring back files that were deleted before the second level."""
    draft = a_draft(Reads())
    draft.volumes["media"] = replace(archived("volumes/media.0.tar.zst"), gone="volumes/media.gone")
    draft.measure_rest(silent)
    assert [(member.kind, member.source) for member in draft.members()] == [
        ("volume", "media"),
        ("gone", "media"),
    ]


def test_a_level_that_was_taken_back_is_no_member() -> None:
    """A level 1 of the whole volume replaces level 0, whose sum may be known already."""
    draft = a_draft(Reads())
    draft.volumes["media"] = archived("volumes/media.0.tar.zst")
    draft.measure_rest(silent)
    draft.volumes["media"] = archived("volumes/media.1.tar.zst")
    draft.measure_rest(silent)
    assert [member.file for member in draft.members()] == ["volumes/media.1.tar.zst"]


def test_what_fails_in_the_background_is_tried_again_and_raised() -> None:
    """Nobody hears of it there, so it must not be taken for measured."""
    draft = a_draft(Reads("databases/db.dump", failures=2))
    draft.files.append(("databases/db.dump", "database", "db"))
    draft.measure_meanwhile()
    wait_for_background(draft)
    with pytest.raises(QuiesceError, match="cannot be read"):
        draft.measure_rest(silent)
    draft.measure_rest(silent)
    assert [member.file for member in draft.members()] == ["databases/db.dump"]
