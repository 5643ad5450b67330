"""The guard: a tiny process beside a run, which finishes what the run owes should it die.

It holds the read end of a pipe whose write end only the run has. When the run ends in order it says
so and the guard ends, too. When the pipe closes without a word, the run was killed: the guard
takes the instance's lock, as anybody would, and recovers. A person who recovers first holds the
lock; the guard then finds nothing left to do. A run that could not put everything back because
the engine was lost leaves the rest to its guard, too, which waits until the engine is back.
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

#: `off` keeps a run without a guard: its recovery itself, and tests of `inv recover`.
SWITCH = "QUIESCE_GUARD"
#: What an orderly end says.
SETTLED = b"."
_PATIENCE = 5.0


def stops(plan: Plan) -> bool:
    """Whether anything is down while the plan is carried out."""
    return any(isinstance(step, StopServices) for _, step in steps_of(plan.nodes))


@contextmanager
def guarded(
    stack: Stack, plan: Plan, log: Path, environ: Mapping[str, str] = os.environ
) -> Iterator[None]:
    """Keep a guard while the block runs, if the plan stops anything.

    `log` is where the guard writes what it did. A guard that cannot be started is no reason not
    to run: the journal is what the promise stands on.
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
            pending.hint = (
                f"{pending.hint}; or wait: the watchdog does it when the engine answers again"
            )
            raise
        # What is still owed for another reason is for a person to see (exit 4).
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
                # The pipe is the one descriptor it inherits for a purpose.
                stdin=reading,
                stdout=written,
                stderr=written,
                cwd="/",
                # Of its own, so that neither Ctrl-C nor a closed terminal reaches it.
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
