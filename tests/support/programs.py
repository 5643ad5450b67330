"""Programs that some tests compare with or run under: installed where we may, else a reason."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine import Unavailable
from tests.engine.debian import install_packages, refuse_unless_installable
from tests.engine.machine import find_program, with_system_paths


def require_programs(packages: Sequence[str], programs: Sequence[str]) -> None:
    """Go on with the programs in PATH; skip with the reason where they cannot be had.

    PATH gets the folders of system programs if one of them lies there: cron's lacks these.

    They are installed from Debian's packages as root under CI=true: on a developer's machine
    nothing is installed behind anybody's back.
    """
    missing = [name for name in programs if find_program(name) is None]
    if missing:
        _install(packages, missing)
    if any(shutil.which(name) is None for name in programs):
        os.environ.update(with_system_paths(os.environ))


def _install(packages: Sequence[str], missing: Sequence[str]) -> None:
    if os.environ.get("CI") != "true":
        pytest.skip(f"{', '.join(missing)} is not installed")
    try:
        refuse_unless_installable()
        with _one_at_a_time():
            install_packages(packages)
    except Unavailable as reason:
        pytest.skip(f"{', '.join(missing)} is not installed: {reason}")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Tests run side by side, and the package manager does not."""
    lock = Path(tempfile.gettempdir()) / "quiesce-test-packages.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
