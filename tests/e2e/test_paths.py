"""Folders of the machine in `paths`, on a real Docker Engine, as a user has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.volumes_support import describe
from tests.support.byhand import paste
from tests.support.folder_stack import FolderStack

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack(engine: str) -> Iterator[FolderStack]:
    """The stack, up, with files in its folders; one for all tests of this module."""
    with FolderStack.temporary() as made:
        made.begin()
        yield made


def content(folder: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything in a folder except what a service goes on writing."""
    found = describe(folder)
    found.pop(b"n", None)
    found.pop(b".", None)
    return found


def test_a_set_holds_the_folders_and_says_what_it_holds(stack: FolderStack) -> None:
    """Beside the volumes, in two levels, and of the moment in which the writers stood still."""
    before = {service: stack.started(service) for service in ("web", "reader", "apart", "far")}
    assert "matches the stack" in stack.succeed("check")
    done = stack.succeed("backup")
    assert "path photos" in done
    made = stack.sets()[-1]
    manifest = stack.manifest(made)
    assert manifest["consistent"]
    assert {v["key"]: v["name"] for v in manifest["volumes"]} == {
        "notes": f"{stack.project}_notes",
        "photos": str(stack.photos),
        "far": str(stack.outside),
    }
    assert (made / "paths/photos.0.tar.zst").is_file()
    assert [part["pattern"] for v in manifest["volumes"] for part in v["excluded"]] == ["thumbs/*"]
    # The writers stopped, and nobody else.
    assert manifest["services_stopped"] == ["web", "far"]
    after = {service: stack.started(service) for service in before}
    assert {name for name in before if before[name] != after[name]} == {"web", "far"}
    # What one service wrote to a folder and to a volume is of one moment.
    numbers = [
        _one_file(made, "paths/photos", "n"),
        _one_file(made, "volumes/notes", "n"),
    ]
    assert abs(int(numbers[0]) - int(numbers[1])) <= 1
    assert stack.inv("verify", "--deep").returncode == 0


def _one_file(made: Path, stem: str, name: str) -> str:
    """A file as it is in the newest level that has it."""
    for level in (1, 0):
        ended = subprocess.run(
            ["tar", "-xO", "-I", "zstd", "-f", str(made / f"{stem}.{level}.tar.zst"), f"./{name}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode == 0:
            return ended.stdout
    raise AssertionError(f"{name} is not in {stem}")


@pytest.mark.core
def test_a_restore_brings_the_folder_back_and_undo_takes_it_away(stack: FolderStack) -> None:
    """In the folder itself, which containers hold; with owners; and the way back."""
    then = content(stack.photos)
    inode = stack.photos.stat().st_ino
    stack.succeed("backup", "--only", "photos")
    made = stack.sets()[-1].name
    (stack.photos / "albums/summer").unlink()
    (stack.photos / "albums/winter").write_text("snow")
    now = content(stack.photos)
    refused = stack.inv("restore", "--file", made, "--only", "pohtos", "--yes")
    assert refused.returncode == 2
    assert "photos" in refused.stderr
    done = stack.succeed("restore", "--file", made, "--only", "photos", "--yes")
    assert "path photos" in done
    lost = {name for name in then if name.startswith(b"thumbs/")}
    assert content(stack.photos) == {k: v for k, v in then.items() if k not in lost}
    assert stack.photos.stat().st_ino == inode
    assert (stack.photos / "albums/summer").stat().st_uid == 1234
    # The reader of a folder in it stopped too, and sees the new content.
    reader = stack.container("reader")
    assert stack.docker("exec", reader, "cat", "/albums/summer") == "beach"
    stack.succeed("undo-restore", "--yes")
    # What was excluded was in no set, and a restore says so beforehand.
    kept = {k: v for k, v in now.items() if k not in lost}
    assert content(stack.photos) == kept
    assert not list(stack.photos.glob(".quiesce-*"))


def test_one_file_of_a_folder_comes_back_alone(stack: FolderStack) -> None:
    """`--path`, relative to the folder."""
    (stack.photos / "albums/one").write_text("1")
    (stack.photos / "albums/two").write_text("2")
    stack.succeed("backup", "--only", "photos")
    made = stack.sets()[-1].name
    (stack.photos / "albums/one").write_text("changed")
    (stack.photos / "albums/two").write_text("changed")
    stack.succeed("restore", "--file", made, "--only", "photos", "--path", "albums/one", "--yes")
    assert (stack.photos / "albums/one").read_text() == "1"
    assert (stack.photos / "albums/two").read_text() == "changed"


def test_everything_comes_back_on_a_machine_that_has_nothing(stack: FolderStack) -> None:
    """Folders that are missing are made, outside of the stack's folder too; a backup without them
    is refused before anything stops."""
    (stack.outside / "from afar").write_text("seen")
    stack.succeed("backup")
    made = stack.sets()[-1].name
    stack.succeed("stop", "--service", "far")
    shutil.rmtree(stack.outside.parent)
    started = stack.started("web")
    refused = stack.inv("backup")
    assert refused.returncode == 2
    assert f"path far does not exist: there is no folder {stack.outside}" in refused.stderr
    assert stack.started("web") == started
    stack.succeed("restore", "--file", made, "--yes")
    assert (stack.outside / "from afar").read_text() == "seen"
    stack.succeed("up")


def test_what_cannot_be_exchanged_is_refused_before_anything_stops(stack: FolderStack) -> None:
    """A mount point in the folder, a file, a link, an overlap: one line and a hint each."""
    made = stack.sets()[-1].name
    started = stack.started("web")
    inner = stack.photos / "albums/disk"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(inner)], check=True)
    try:
        refused = stack.inv("restore", "--file", made, "--only", "photos", "--yes")
        assert refused.returncode == 2, refused.stderr
        assert "contains a mount point" in refused.stderr
        assert "./albums/disk" in refused.stderr
        inside = ("--path", "albums/disk/x")
        assert stack.inv(
            "restore", "--file", made, "--only", "photos", *inside, "--yes"
        ).returncode == 2  # fmt: skip
    finally:
        subprocess.run(["umount", str(inner)], check=True)
        inner.rmdir()
    file = stack.folder / "stack.yaml"
    content = file.read_text()
    (stack.folder / "plain").write_text("x")
    (stack.folder / "link").symlink_to(stack.outside)
    notes = stack.docker("volume", "inspect", "-f", "{{.Mountpoint}}", f"{stack.project}_notes")
    try:
        for path, words in (
            ("./plain", "is not a folder"),
            ("./link", f"write the folder that it leads to: {stack.outside}"),
            ("./photos/albums", "contains the other"),
            (".", "without 'stack.yaml'"),
            (notes, "shares files with the engine's own folder"),
        ):
            file.write_text(
                content.replace("paths:\n", f"paths:\n  more: {{path: {path}, backup: files}}\n")
            )
            refused = stack.inv("backup")
            assert refused.returncode == 2, path
            assert words in refused.stderr, path
            assert "HINT" in refused.stderr or "(" in refused.stderr
        file.write_text(content.replace("  photos: {", "  notes: {"))
        assert stack.inv("backup").returncode == 2
    finally:
        file.write_text(content)
        (stack.folder / "link").unlink()
    assert stack.started("web") == started


def test_a_writer_that_is_not_of_the_project_is_told(stack: FolderStack) -> None:
    """A set while it writes is published and says what it is worth; a restore is refused."""
    name = f"{stack.project}-stranger"
    tiny = os.environ["TINY_IMAGE"]
    stack.docker(
        "run", "-d", "--init", "--name", name, "-v", f"{stack.photos.parent}:/all", tiny,
        "sleep", "1000",
    )  # fmt: skip
    try:
        done = stack.inv("backup", "--only", "photos")
        assert done.returncode == 7, done.stderr
        assert name in done.stderr
        assert not stack.manifest(stack.sets()[-1])["consistent"]
        refused = stack.inv("restore", "--file", "latest", "--only", "photos", "--yes")
        assert refused.returncode == 2
        assert f"path photos is also used by {name}" in refused.stderr
    finally:
        stack.docker("rm", "-f", name)


def test_a_folder_that_is_not_declared_is_found_with_the_line_to_add(stack: FolderStack) -> None:
    """And that line, followed to the letter, is right."""
    file = stack.folder / "stack.yaml"
    before = file.read_text()
    lines = before.splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("  photos:")))
    try:
        checked = stack.inv("check")
        assert checked.returncode == 7
        line = "photos: {path: ./photos, backup: files}"
        assert f"add to paths: {line}" in " ".join(checked.stdout.split())
        file.write_text(file.read_text().replace("paths:\n", f"paths:\n  {line}\n"))
        assert stack.inv("check").returncode == 0
    finally:
        file.write_text(before)


def test_a_set_is_restored_by_hand(stack: FolderStack, tmp_path: Path) -> None:
    """The commands of RESTORE.md, pasted."""
    (stack.photos / "albums/by hand").write_text("hand")
    stack.succeed("backup", "--only", "photos")
    copy = tmp_path / "set"
    shutil.copytree(stack.sets()[-1], copy)
    paste(copy)
    restored = describe(copy / "restored/photos")
    live = describe(stack.photos)
    assert restored[b"albums/by hand"] == live[b"albums/by hand"]
    assert b"thumbs/summer" not in restored


def test_a_set_keeps_the_files_that_define_the_stack(stack: FolderStack) -> None:
    """The Compose file and a single mounted file as they are; of the env file the names."""
    (stack.folder / "secret.txt").write_text("s3cret-of-the-stack")
    stack.succeed("backup", "--only", "photos")
    made = stack.sets()[-1]
    assert (made / "stack/files/config.yml").read_text() == "answer: 42\n"
    assert "quiesce" in (made / "stack/files/compose.yaml").read_text()
    assert (made / "stack/variables.txt").read_text() == "DB_PASSWORD\n"
    named = {entry["file"] for entry in stack.manifest(made)["stack_left_out"]}
    assert ".env" in named
    assert "- `.env`: an env file" in (made / "RESTORE.md").read_text()
    for path in made.rglob("*"):
        assert not path.is_file() or b"s3cret-of-the-stack" not in path.read_bytes(), path
    assert stack.inv("verify").returncode == 0
