"""The wheel of this repository, as `pip wheel` builds it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def build(folder: Path) -> Path:
    """Return the wheel, built from a copy of what it needs. Skip where nothing can build it."""
    source = folder / "source"
    source.mkdir()
    for name in ("quiesce", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=skip)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, source / name)
    run_pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("quiesce-*.whl")
    return wheel


def run_pip(python: Path, *arguments: str) -> None:
    """Run pip of this Python. Skip where it finds no package index."""
    ended = subprocess.run([python, *PIP, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode and "No matching distribution" in ended.stderr:
        pytest.skip("this needs a package index")
    assert ended.returncode == 0, ended.stderr
