"""A project of processes, with `inv` in it: no Docker, no PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import preloaded

ROOT = Path(__file__).resolve().parents[2]
#: One service that runs, with one volume that is kept.
ONE_VOLUME = """\
version: 1
instances:
  local: {runtime: host, retention: short}
services:
  web:
    command: [sleep, '1000']
    cwd: .
    volumes: {media: MEDIA}
volumes:
  media: {purpose: Uploads, priority: critical}
retention:
  short: {keep_last: 50}
"""


class Place:
    """A project with this stack, and `inv` in it."""

    def __init__(self, folder: Path, stack: str) -> None:
        self.folder = folder
        (folder / "stack.yaml").write_text(stack)
        (folder / "tasks.py").write_text("from quiesce.menu import namespace\n")
        (folder / "logs").mkdir(exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """What `inv` runs with here."""
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(self.folder)}

    def start_inv(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin a task, for a test that ends it."""
        return preloaded.Popen(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def inv(
        self, *arguments: str, typed: str = "", **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a task to its end."""
        return preloaded.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.folder,
            env={**self.environment, **extra},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, *arguments: str, typed: str = "", **extra: str) -> str:
        """Run a task that has to end well, and return what it printed."""
        ended = self.inv(*arguments, typed=typed, **extra)
        assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def volume(self, key: str) -> Path:
        """The folder of a volume of the instance `local`."""
        (found,) = self.folder.glob(f".quiesce/local/volumes/{key}")
        return found

    def running(self) -> set[str]:
        """The services that run."""
        lines = self.succeed("status").splitlines()
        return {line.split()[0] for line in lines if " running " in line}
