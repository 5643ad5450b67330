"""The watchdog (guard): a small process beside a run that recovers it if it dies.

It reads from a pipe whose write end only the run has. A run that ends normally writes a message,
and the watchdog exits. If the pipe closes without a message, the run was killed: the watchdog takes
the instance's lock and recovers. If the user recovers first, the watchdog finds nothing to do. If a
run could not put everything back because it lost the engine, the watchdog waits until the engine is
back.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from quiesce.errors import RecoveryPending
from quiesce.model import Stack
from quiesce.plan.steps import Plan, StopServices, steps_of
from quiesce.private_files import open_private

#: `off` runs without a watchdog: for recoveries themselves and for tests of `inv recover`.
SWITCH = "QUIESCE_GUARD"
#: The message of a normal end.
SETTLED = b"."
_PATIENCE = 5.0


def stops(plan: Plan) -> bool:
    """Whether the plan stops anything temporarily."""
    return any(isinstance(step, StopServices) for _, step in steps_of(plan.nodes))


@contextmanager
def guarded(
    stack: Stack, plan: Plan, log: Path, environ: Mapping[str, str] = os.environ
) -> Iterator[None]:
    """Run a watchdog beside the block, if the plan stops anything.

    It writes its output to `log`. If it cannot be started, the run continues: the journal alone
    suffices for a recovery by hand.
    """
    if environ.get(SWITCH) == "off" or not stops(plan) or stack.instance.throwaway:
        yield
        return
    try:
        process, word = _start(stack, log, environ)
    except OSError:
        yield
        return
    try:
        yield
    except RecoveryPending as pending:
        if pending.lost_engine:
            os.close(word)
            pending.hint += "; or wait: the watchdog recovers the run when the engine answers again"
            raise
        # If something is pending for another reason, the user must look at it (exit 4).
        _dismiss(process, word)
        raise
    except BaseException:
        _dismiss(process, word)
        raise
    _dismiss(process, word)


def _dismiss(process: subprocess.Popen[bytes], word: int) -> None:
    with contextlib.suppress(OSError):
        os.write(word, SETTLED)
    os.close(word)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)


def _start(
    stack: Stack, log: Path, environ: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    reading, writing = os.pipe()
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [environ.get("PYTHONPATH")])]
    try:
        written = open_private(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "quiesce.guard", str(stack.file), stack.instance.name],
                # The pipe is the only descriptor that it needs to inherit.
                stdin=reading,
                stdout=written,
                stderr=written,
                cwd="/",
                # Its own session, so that neither Ctrl-C nor a closed terminal reaches it.
                start_new_session=True,
                env={**environ, "PYTHONPATH": os.pathsep.join(paths), SWITCH: "off"},
            )
        finally:
            os.close(written)
    except OSError:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return process, writing
