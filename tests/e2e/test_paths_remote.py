"""Folders in `paths` on another machine's engine: seen through helpers only."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.far import far_engine
from tests.support.folder_stack import FolderStack

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack() -> Iterator[FolderStack]:
    """The stack, up on an engine far away, whose folders are not this machine's."""
    images = [os.environ[name] for name in ("POSTGRES_IMAGE", "TINY_IMAGE")]
    with far_engine(images, only=True), FolderStack.temporary() as made:
        made.succeed("up")
        yield made


def inside(stack: FolderStack, command: str) -> str:
    """Run a command in the service that has the folder."""
    return stack.docker("exec", stack.container("web"), "sh", "-c", command)


@pytest.mark.sample
def test_a_folder_of_another_machine_is_kept_and_comes_back(stack: FolderStack) -> None:
    """The folder of this machine that has the same path is not touched."""
    (stack.photos / "here").write_text("here")
    inside(stack, "echo beach >/photos/albums/summer; chown 1234 /photos/albums/summer")
    stack.succeed("backup")
    made = stack.sets()[-1]
    assert stack.manifest(made)["consistent"]
    inside(stack, "rm /photos/albums/summer; echo snow >/photos/albums/winter")
    stack.succeed("restore", "--file", made.name, "--only", "photos,far", "--yes")
    assert inside(stack, "ls /photos/albums; stat -c %u /photos/albums/*") == "summer\n1234"
    assert (stack.photos / "here").read_text() == "here"
    assert os.listdir(stack.photos / "albums") == []
    stack.succeed("undo-restore", "--yes")
    assert inside(stack, "ls /photos/albums") == "winter"


def test_a_folder_that_the_other_machine_lacks_is_refused(stack: FolderStack) -> None:
    """Although this machine has it; it is looked for on the engine."""
    file = stack.folder / "stack.yaml"
    before = file.read_text()
    lacking = stack.folder / "only-here"
    lacking.mkdir()
    file.write_text(
        before.replace("paths:\n", f"paths:\n  x: {{path: {lacking}, backup: files}}\n")
    )
    try:
        refused = stack.inv("backup")
        assert refused.returncode == 2
        assert f"path x does not exist: there is no folder {lacking}" in refused.stderr
    finally:
        file.write_text(before)
