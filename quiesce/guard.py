"""The watchdog process: waits until the run ends, and recovers it if it died.

Started by `execute/guard.py` as `python -m quiesce.guard STACK INSTANCE`, with the pipe as its
standard input. While it waits, only the standard library is loaded.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

#: Seconds to wait for the lock, because the user may be recovering already.
_WAIT = 600.0
#: Seconds to keep trying while the engine does not answer or the project is locked.
_LOST = 7 * 24 * 3600.0
#: Seconds between two attempts: initial value, growth factor and maximum.
_PAUSE, _GROWTH, _LONGEST_PAUSE = 1.0, 1.5, 15.0


def main() -> int:
    """Return 0 if there was nothing to do or the recovery worked, else the error's exit code."""
    if os.read(0, 1):
        return 0
    file, instance = Path(sys.argv[1]), sys.argv[2]
    from quiesce.app import Options, Session
    from quiesce.app.last_config import load_anyhow
    from quiesce.app.project import resolve_project
    from quiesce.commands.recover import run_recover
    from quiesce.errors import Busy, QuiesceError
    from quiesce.report import make_reporter

    with make_reporter(
        task="guard",
        json=False,
        stdout=sys.stdout,
        stderr=sys.stderr,
        environ=os.environ,
        plain=True,
    ) as reporter:
        deadline, pause = time.monotonic() + _LOST, _PAUSE
        while True:
            try:
                stack = load_anyhow(file, instance, os.environ, reporter.warn)
                stack = resolve_project(stack, anyhow=True, patient=True)
                run_recover(Session(stack, reporter, Options(yes=True, wait=_WAIT)))
            except QuiesceError as error:
                # Another machine may be using the same engine: retry later.
                if (error.lost_engine or isinstance(error, Busy)) and time.monotonic() < deadline:
                    time.sleep(pause)
                    pause = min(pause * _GROWTH, _LONGEST_PAUSE)
                    continue
                reporter.error(error)
                return error.exit_code
            return 0


if __name__ == "__main__":
    sys.exit(main())
