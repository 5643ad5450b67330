"""The window of a backup of the example stack, beside the longest chain of what it waits for.

The chain is what no tool can avoid: along `depends_on`, each stopped service has to stop, start and
become healthy. Each is measured alone, with the engine's own stop and start, and with the service's
own health command, asked every 50 ms.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.checkout import Checkout

_ASK_EVERY = 0.05
_PATIENCE = 120.0


def measure(folder: Path, *, rounds: int, tell: Callable[[str], None]) -> Mapping[str, object]:
    """Back up the example stack in every round, and restart each service alone.

    Raise RuntimeError if the images of the tests are not there or something fails.
    """
    missing = [name for name in ("POSTGRES_IMAGE", "REDIS_IMAGE") if name not in os.environ]
    if missing:
        raise RuntimeError(f"{missing[0]} is not set: name the images as for the tests")
    stack = Checkout.make(folder / "app")
    try:
        tell("starting the example stack")
        for task in (("up", "--build"), ("migrate",)):
            ended = stack.inv(*task)
            if ended.code:
                raise RuntimeError(ended.err.strip())
        stack.write("benchmark")
        return _measured(stack, rounds, tell)
    finally:
        stack.destroy()


def _measured(stack: Checkout, rounds: int, tell: Callable[[str], None]) -> Mapping[str, object]:
    windows: list[float] = []
    alone: dict[str, list[float]] = {}
    for number in range(rounds):
        made = stack.inv("backup", "--json")
        if made.code:
            raise RuntimeError(made.err.strip())
        down = made.document["set"]["downtime_seconds"]
        windows.append(down["overall"])
        tell(f"round {number + 1}: window {windows[-1]:.2f} s")
        for name in down["services"]:
            alone.setdefault(name, []).append(_restarted(_container(stack, name)))
            tell(f"round {number + 1}: {name} alone: {alone[name][-1]:.2f} s")
    seconds = {name: statistics.median(times) for name, times in alone.items()}
    needs = _needs(stack)
    chains = {name: _chain(name, needs, seconds) for name in seconds}
    longest = max(chains, key=lambda name: sum(seconds[one] for one in chains[name]))
    chain = sum(seconds[name] for name in chains[longest])
    window = statistics.median(windows)
    return {
        "window_seconds": round(window, 2),
        "longest_chain": " → ".join(chains[longest]),
        "longest_chain_seconds": round(chain, 2),
        "ratio": round(window / chain, 2),
        "stop_start_healthy_seconds": {name: round(value, 2) for name, value in seconds.items()},
        "rounds": rounds,
        "load_at_the_end": f"{os.getloadavg()[0]:.1f}",
    }


def _container(stack: Checkout, service: str) -> dict[str, Any]:
    (identity,) = stack.containers(f"label=com.docker.compose.service={service}")
    (facts,) = json.loads(stack.docker("inspect", identity))
    return dict(facts)


def _restarted(container: Mapping[str, Any]) -> float:
    """Return the seconds from the stop of a container until its health command succeeds."""
    kind, *words = container["Config"]["Healthcheck"]["Test"]
    command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
    began = time.monotonic()
    subprocess.run(["docker", "stop", container["Id"]], capture_output=True, check=True)
    subprocess.run(["docker", "start", container["Id"]], capture_output=True, check=True)
    while time.monotonic() - began < _PATIENCE:
        asked = ["docker", "exec", container["Id"], *command]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return time.monotonic() - began
        time.sleep(_ASK_EVERY)
    raise RuntimeError(f"{container['Name']} did not become healthy")


def _needs(stack: Checkout) -> dict[str, list[str]]:
    command = ("compose", "--env-file", str(stack.folder / "env/local/core.env"), "--file")
    model = json.loads(
        stack.docker(*command, str(stack.folder / "docker-compose.yml"), "config", "--format=json")
    )
    return {name: list(s.get("depends_on", ())) for name, s in model["services"].items()}


def _chain(name: str, needs: Mapping[str, list[str]], seconds: Mapping[str, float]) -> list[str]:
    """Return the slowest chain of stopped services that ends with this one."""
    before = [_chain(need, needs, seconds) for need in needs[name] if need in seconds]
    longest = max(before, key=lambda chain: sum(seconds[one] for one in chain), default=[])
    return [*longest, name]
