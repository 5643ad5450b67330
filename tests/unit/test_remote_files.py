"""Files out of a container: whole, or refused, whatever the engine's archive is like."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quiesce.adapters.compose.copy_files import fetch_file
from quiesce.errors import LostEngine

CONTENT = bytes(range(256)) * 9000


def _archive(kind: bytes = tarfile.REGTYPE) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        header = tarfile.TarInfo("file")
        header.type = kind
        header.size = len(CONTENT) if kind == tarfile.REGTYPE else 0
        archive.addfile(header, io.BytesIO(CONTENT))
    return stream.getvalue()


class _Engine:
    """Answers as the engine's archive endpoint does, in small pieces."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.left = True

    def get_archive(self, container: str, path: str, chunk_size: int) -> Any:
        return self._pieces(), {}

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self._answer), 5000):
            yield self._answer[start : start + 5000]
        self.left = False


def _fetch(answer: bytes, target: Path) -> _Engine:
    engine = _Engine(answer)
    try:
        assert fetch_file(engine, "c", "/file", target)  # type: ignore[arg-type]
    finally:
        # A half-read answer keeps the container locked for whoever comes next.
        assert not engine.left
    return engine


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with something older in it."""
    path = tmp_path / "file"
    path.write_bytes(b"older" * 1_000_000)
    path.chmod(0o600)
    return path


def test_a_file_comes_whole(target: Path) -> None:
    """And takes the place of what was there; its mode stays."""
    _fetch(_archive(), target)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kept", [0, 100, 512, 700, 100_000, 512 + len(CONTENT) - 1])
def test_a_broken_answer_is_a_lost_engine(target: Path, kept: int) -> None:
    """Cut in the header, after it, and in the content."""
    with pytest.raises(LostEngine, match="was not received completely"):
        _fetch(_archive()[:kept], target)


@pytest.mark.parametrize("answer", [b"x" * 5000, _archive(tarfile.DIRTYPE), _archive(b"2")])
def test_what_is_no_file_is_refused(target: Path, answer: bytes) -> None:
    """No archive at all, a folder, a link."""
    with pytest.raises(LostEngine, match="was not received completely"):
        _fetch(answer, target)
