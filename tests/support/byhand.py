"""Pasting a set's `RESTORE.md` into a shell, as a person who has nothing else would."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support.postgres import PASSWORD, PostgresServer


def paste(folder: Path, server: PostgresServer | None = None, *programs: Path) -> str:
    """Run every block of the page in the set's folder, and return what was said.

    Every line has to work, but for a role that exists already: that is an error of psql, whose exit
    status stays 0. `programs` are folders of more programs.
    """
    blocks = re.findall(r"```sh\n(.*?)\n```", (folder / "RESTORE.md").read_text(), re.DOTALL)
    assert blocks
    environment = {"LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    path = [*map(str, programs), os.environ["PATH"]]
    if server is not None:
        path.insert(0, str(server.programs))
        environment |= {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGPASSWORD": PASSWORD,
        }
    ended = subprocess.run(
        ["bash", "-c", "set -eo pipefail\n" + "\n".join(blocks)],
        cwd=folder, env={**environment, "PATH": ":".join(path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr
