"""Every command of README, run in the order it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import Checkout

ROOT = Path(__file__).resolve().parents[2]
# Run by tests of their own: test_demo.py, and whatever runs this test.
ELSEWHERE = {"./inv demo", "./inv test"}


def _commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def checkout(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A copy of the repository whose env file is only the example so far."""
    made = Checkout.make(tmp_path_factory.mktemp("readme") / "app")
    shutil.copytree(ROOT / "env", made.folder / "env", dirs_exist_ok=True)
    try:
        yield made
    finally:
        made.destroy()


@pytest.mark.engine
def test_the_commands_of_readme_work_in_their_order(checkout: Checkout) -> None:
    """As a newcomer types them, one after the other."""
    env_file = checkout.folder / "env/local/core.env"
    filled = env_file.read_text()
    env_file.unlink()
    for command in _commands():
        if command in ELSEWHERE:
            continue
        words = shlex.split(command)
        if words[0] == "./inv":
            checkout.succeed(*words[1:])
        else:
            subprocess.run(words, cwd=checkout.folder, check=True)
            assert env_file.read_text() == (ROOT / "env/local/core.env.example").read_text()
            env_file.write_text(filled)


def test_readme_names_the_two_commands_first() -> None:
    """The one that runs the main job with nothing prepared, then the one that runs the tests."""
    assert _commands()[:2] == ["./inv demo", "./inv test"]


def test_every_document_readme_points_at_is_there() -> None:
    """And every one of those points at documents that are there."""
    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for file in files:
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name} points at {target}"
