"""One file or folder of a volume exchanged, killed anywhere: wholly old or wholly new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quiesce.errors import QuiesceError
from quiesce.observed import VolumeState
from tests.integration.volumes_killer import Killer
from tests.integration.volumes_support import describe, files_of, silent, volume

Tree = dict[bytes, tuple[object, ...]]


class Restoring:
    """A live volume, and an archive of one that has another `a/piece`, staged or not."""

    def __init__(self, base: Path) -> None:
        self.live, source, self.staging = base / "live", base / "source", base / "staging"
        self.staging.mkdir(parents=True)
        for root, word in ((self.live, "old"), (source, "new")):
            (root / "a").mkdir(parents=True)
            (root / "a" / "beside").write_text(word)
            (root / "b").write_text(word)
        (source / "a" / "piece" / "deep").mkdir(parents=True)
        (source / "a" / "piece" / "deep" / "one").write_text("new")
        (source / "a" / "piece" / "two").hardlink_to(source / "a" / "piece" / "deep" / "one")
        (source / "a" / "piece" / "to").symlink_to("/nowhere")
        (source / "a" / "piece").chmod(0o2750)
        self.files = files_of(self.staging)
        record = self.files.archive(volume(source), 0, self.staging, "media", (), silent)
        self.files.close()
        self.archive = self.staging / record.levels[0]
        self.new = _below(source / "a" / "piece")

    @property
    def state(self) -> VolumeState:
        return volume(self.live)

    @property
    def subpath(self) -> Path:
        return self.live / "a" / "piece"

    def make(self, *, there: bool) -> None:
        """The live volume with a file where the set has a folder, or with nothing there."""
        self.files.finish_swap(self.state, "20260101000000-0001")
        if self.subpath.is_dir():
            for path in sorted(self.subpath.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            self.subpath.rmdir()
        self.subpath.unlink(missing_ok=True)
        if there:
            self.subpath.write_text("old piece")

    def stage(self, path: str = "a/piece") -> None:
        self.files.stage(self.state, "20260101000000-0001", [self.archive], None)
        self.files.pick(self.state, "20260101000000-0001", path)

    def swap(self) -> None:
        self.files.swap(self.state, "20260101000000-0001", "a/piece")

    def put_back(self) -> None:
        self.files.put_back(self.state, "20260101000000-0001", "a/piece")

    def finish_swap(self) -> None:
        self.files.finish_swap(self.state, "20260101000000-0001")

    def state_of_piece(self) -> str:
        """Which of the three it is, whole; nothing else of the volume may have changed."""
        assert (self.live / "a" / "beside").read_text() == "old"
        assert (self.live / "b").read_text() == "old"
        if self.subpath.is_dir():
            assert _below(self.subpath) == self.new
            return "new"
        if self.subpath.is_file():
            assert self.subpath.read_text() == "old piece"
            return "old"
        assert not os.path.lexists(self.subpath)
        return "none"


def _below(root: Path) -> Tree:
    """What is in a folder; the times of the folder itself change when it moves."""
    return describe(root)


@pytest.fixture
def restoring(tmp_path: Path) -> Iterator[Restoring]:
    """A volume of which a piece is about to be restored."""
    made = Restoring(tmp_path / "first")
    yield made
    made.files.close()


@pytest.mark.parametrize("there", [True, False])
def test_a_piece_comes_and_goes_back(restoring: Restoring, *, there: bool) -> None:
    """With its hard links, links and mode; every call may be made twice."""
    restoring.make(there=there)
    old = "old" if there else "none"
    restoring.put_back()
    restoring.stage()
    restoring.stage()
    assert restoring.state_of_piece() == old
    for _ in range(2):
        restoring.swap()
        assert restoring.state_of_piece() == "new"
    for _ in range(2):
        restoring.put_back()
        assert restoring.state_of_piece() == old
    restoring.swap()
    restoring.finish_swap()
    assert restoring.state_of_piece() == "new"
    assert not (restoring.live / ".quiesce-20260101000000-0001").exists()


def test_the_size_is_that_of_the_piece(restoring: Restoring) -> None:
    """Itself counted: a folder with a folder, two names of a file and a link."""
    restoring.stage()
    size = restoring.files.pick(restoring.state, "20260101000000-0001", "a/piece")
    assert (size.files, size.bytes) == (5, 6)


def test_what_the_set_does_not_hold_is_said(restoring: Restoring) -> None:
    """Before anything of the volume is touched."""
    for path, fact in (("a/other", "there is no a/other in the set"), ("c/d", "no folder c in")):
        with pytest.raises(QuiesceError) as caught:
            restoring.stage(path)
        assert fact in " ".join(caught.value.details)


def test_a_folder_that_the_volume_lacks_is_said(restoring: Restoring) -> None:
    """What the piece would be put into has to be there; a link is not."""
    restoring.stage()
    (restoring.live / "a" / "beside").unlink()
    (restoring.live / "a").rmdir()
    outside = restoring.staging / "outside"
    outside.mkdir()
    for make in (lambda: None, lambda: (restoring.live / "a").symlink_to(outside)):
        make()
        # Before services stop, and again where it is done: it may have gone meanwhile.
        for step in (restoring.stage, restoring.swap):
            with pytest.raises(QuiesceError) as caught:
                step()
            assert "there is no folder a in the volume" in " ".join(caught.value.details)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("then", ["finish", "undo"])
def test_an_exchange_killed_anywhere_is_finished_or_undone(
    restoring: Restoring, killer: Killer, then: str, *, there: bool
) -> None:
    """After each single rename; the opposite call is killed there too."""

    def again() -> None:
        restoring.make(there=there)
        restoring.stage()

    old = "old" if there else "none"
    for effects in _until_it_lives(killer, again, restoring.swap):
        if then == "finish":
            restoring.swap()
            assert restoring.state_of_piece() == "new"
        else:
            killer.killed_after(effects // 2, restoring.put_back)
            restoring.put_back()
            assert restoring.state_of_piece() == old
        restoring.finish_swap()


@pytest.mark.parametrize("there", [True, False])
def test_an_undoing_killed_anywhere_is_finished(
    restoring: Restoring, killer: Killer, *, there: bool
) -> None:
    """Then all that is left of the attempt can go."""

    def again() -> None:
        restoring.make(there=there)
        restoring.stage()
        restoring.swap()

    for _ in _until_it_lives(killer, again, restoring.put_back):
        restoring.put_back()
        assert restoring.state_of_piece() == ("old" if there else "none")
        restoring.finish_swap()


def test_settling_killed_anywhere_never_lets_half_of_it_come_back(
    restoring: Restoring, killer: Killer
) -> None:
    """What lies aside is put back whole, or is no longer there to be put back."""

    def again() -> None:
        restoring.make(there=True)
        restoring.stage()
        restoring.swap()

    for _ in _until_it_lives(killer, again, restoring.finish_swap):
        restoring.put_back()
        assert restoring.state_of_piece() in ("old", "new")
        restoring.finish_swap()


def test_half_an_exchange_is_not_settled(restoring: Restoring, killer: Killer) -> None:
    """It would remove the only copy of what has moved aside."""
    aside, effects = restoring.live / ".quiesce-20260101000000-0001" / "piece.old", 0
    while not aside.exists():
        restoring.put_back()
        restoring.make(there=True)
        restoring.stage()
        assert killer.killed_after(effects, restoring.swap)
        effects += 1
    with pytest.raises(QuiesceError):
        restoring.finish_swap()
    restoring.put_back()
    assert restoring.state_of_piece() == "old"


def _until_it_lives(
    killer: Killer, again: Callable[[], None], call: Callable[[], None]
) -> Iterator[int]:
    """Yield after each death of the call, which is prepared anew each time."""
    effects, killed = 0, True
    while killed:
        again()
        killed = killer.killed_after(effects, call)
        yield effects
        effects += 1
    assert effects > 4, "it was not killed at every effect"
