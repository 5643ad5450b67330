"""A program that is forked from a preloaded process ends as one that was started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import preloaded

pytestmark = pytest.mark.thorough

PROGRAMS = {
    "the end": "print('said', end='')",
    "a code": "import sys; print('said', end=''); sys.exit(7)",
    "a message": "import sys; sys.exit('a message')",
    "a traceback": "print('said'); raise ValueError('x')",
    "a handler": "import atexit; atexit.register(print, 'at the end')",
    "a thread": (
        "import threading, time\n"
        "def later():\n    time.sleep(0.2); print('from a thread')\n"
        "threading.Thread(target=later).start()"
    ),
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "an interrupt": "raise KeyboardInterrupt",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_ends_with_the_same_code_and_output(program: str, tmp_path: Path) -> None:
    """Exit code, both streams, what threads and exit handlers still do."""
    (tmp_path / "program.py").write_text(PROGRAMS[program])
    argv = [sys.executable, "-m", "program"]
    started = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    forked = preloaded.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_a_full_disk_is_told_at_the_end(tmp_path: Path) -> None:
    """What cannot be written is not lost in silence."""
    (tmp_path / "program.py").write_text("print('said')")
    argv = [sys.executable, "-m", "program"]
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        given = {"cwd": tmp_path, "env": environment, "stdout": full, "stderr": subprocess.PIPE}
        started = subprocess.run(argv, check=False, **given)
        forked = preloaded.run(argv, **given)
    assert forked.returncode == started.returncode == 120
    assert b"No space left" in forked.stderr
