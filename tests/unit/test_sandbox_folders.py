"""The folders of a drill's copy: each once, kept ones empty, and nothing of the original's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quiesce.app import sandbox_folders
from quiesce.app.sandbox_folders import CopiedFolders, with_places, write_places
from quiesce.private_files import make_private
from tests.support.builders import a_stack_with_folders


def model(*mounts: tuple[Path, bool]) -> dict[str, Any]:
    """A resolved model of one service with these bind mounts."""
    volumes = [{"type": "bind", "source": str(s), "read_only": ro} for s, ro in mounts]
    return {"services": {"a": {"volumes": volumes}}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a kept one in it, both with content."""
    (tmp_path / "data/photos/new").mkdir(parents=True)
    (tmp_path / "data/photos/new/one").write_text("1")
    (tmp_path / "data/settings").write_text("s")
    (tmp_path / "data/photos").chmod(0o750)
    return tmp_path / "data"


def test_a_kept_folder_begins_empty_and_is_one_for_all_services(data: Path, tmp_path: Path) -> None:
    """With its mode; a mount of a folder in it leads into the same copy."""
    folders = CopiedFolders(tmp_path / "binds", {"photos": data / "photos"})
    places = folders.places(model((data / "photos", False), (data / "photos/new", True)))
    made = Path(places["photos"])
    assert folders.of(str(data / "photos")) == str(made)
    assert folders.of(str(data / "photos/new")) == f"{made}/new"
    assert list(made.iterdir()) == []
    assert made.stat().st_mode & 0o777 == 0o750
    assert made.is_relative_to(tmp_path / "binds")
    assert (data / "photos/new/one").read_text() == "1"


def test_a_folder_around_a_kept_one_is_copied_without_what_is_kept(
    data: Path, tmp_path: Path
) -> None:
    """However large the kept one is; both are seen through one copy."""
    folders = CopiedFolders(tmp_path / "binds", {"photos": data / "photos"})
    places = folders.places(model((data / "photos", False), (data, False)))
    around = Path(folders.of(str(data)))
    assert Path(places["photos"]) == around / "photos"
    assert (around / "settings").read_text() == "s"
    assert list((around / "photos").iterdir()) == []


def test_what_is_only_read_around_a_kept_folder_is_not_copied(data: Path, tmp_path: Path) -> None:
    """A monitor that mounts all of the machine would have all of it copied."""
    folders = CopiedFolders(tmp_path / "binds", {"photos": data / "photos"})
    folders.places(model((Path("/"), True)))
    assert not folders.is_kept("/")
    assert folders.is_kept(str(data / "photos/new"))
    assert [path.name for path in (tmp_path / "binds").iterdir()] == ["0-photos"]


def test_a_large_folder_is_empty_in_the_copy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As services expect a folder there."""
    monkeypatch.setattr(sandbox_folders, "MOST_COPIED", 0)
    made = Path(CopiedFolders(tmp_path / "binds", {}).of(str(data)))
    assert made.is_dir()
    assert list(made.iterdir()) == []


def test_the_stack_of_the_copy_has_the_copys_folders(tmp_path: Path) -> None:
    """Also when it is opened again later; one that is not recorded is never the original's."""
    folder = tmp_path / "copy"
    make_private(folder)
    write_places(folder, {"photos": "/copy/photos"})
    stack = with_places(a_stack_with_folders(), folder)
    assert {v.key: str(v.folder) for v in stack.folders} == {
        "photos": "/copy/photos",
        "previews": str(folder / "absent"),
        "pgdata": str(folder / "absent"),
    }
    (folder / "paths.json").unlink()
    stack = with_places(a_stack_with_folders(), folder)
    assert {str(v.folder) for v in stack.folders} == {str(folder / "absent")}
