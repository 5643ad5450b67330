"""Programs that some tests compare with or run under: installed where we may, else a reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

import pytest

from tests.engine import Unavailable
from tests.engine.debian import install_packages, refuse_unless_installable


def require_programs(packages: Sequence[str], programs: Sequence[str]) -> None:
    """Go on with the programs in PATH; skip with the reason where they cannot be had.

    They are installed from Debian's packages as root under CI=true: on a developer's machine
    nothing is installed behind anybody's back.
    """
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        return
    if os.environ.get("CI") != "true":
        pytest.skip(f"{', '.join(missing)} is not installed")
    try:
        refuse_unless_installable()
        install_packages(packages)
    except Unavailable as reason:
        pytest.skip(f"{', '.join(missing)} is not installed: {reason}")
