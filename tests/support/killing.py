"""Runs `inv` with a death in it: `python -m tests.support.killing WHEN POSITION TASK …`.

WHEN is `before` or `after`: this process is killed by SIGKILL just before or just after the step at
POSITION of the plan is done; `POSITION/steps/N` is part N of the step that makes a safety set.
`never` with `-` kills nobody. `broken` is a mutation of the code that must be noticed: steps that
start services do nothing. `pause` waits at the step for the test: the file in PAUSED_AT appears,
and it goes on when that is gone. With IMPATIENT in the environment the engine has five seconds for
an answer, for tests that take it away. Nothing of this is in the product.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from invoke.main import program

from quiesce.adapters.compose import engine
from quiesce.execute import executor, handlers
from quiesce.execute.handlers import safety
from quiesce.plan import steps as s


def main() -> None:
    """Arrange the death, then be `inv`."""
    when, position = sys.argv[1:3]
    sys.argv = ["inv", *sys.argv[3:]]
    if when == "broken":
        handlers.HANDLERS[s.StartServices] = lambda *_: "not started"
        handlers.HANDLERS[s.WaitHealthy] = lambda *_: "not waited for"
    if "IMPATIENT" in os.environ:
        engine.PATIENCE = 5
    undisturbed = executor.Executor._step

    def step(self: Any, step: s.Step, at: str, depth: int) -> None:
        if (when, position) == ("before", at):
            os.kill(os.getpid(), signal.SIGKILL)
        if (when, position) == ("pause", at):
            _pause(Path(os.environ["PAUSED_AT"]))
        undisturbed(self, step, at, depth)
        if (when, position) == ("after", at):
            os.kill(os.getpid(), signal.SIGKILL)

    executor.Executor._step = step  # type: ignore[method-assign]
    _die_within(when, position)
    program.run()


def _die_within(when: str, position: str) -> None:
    whole, _, number = position.rpartition("/steps/")
    if not whole:
        return
    carried_out = safety._carry_out
    parts = 0

    def carry_out(step: s.Step, run: Any) -> None:
        nonlocal parts
        here = parts == int(number)
        parts += 1
        if here and when == "pause":
            _pause(Path(os.environ["PAUSED_AT"]))
        if here and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        carried_out(step, run)
        if here and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    safety._carry_out = carry_out


def _pause(there: Path) -> None:
    there.touch()
    while there.exists():
        time.sleep(0.05)


if __name__ == "__main__":
    main()
