"""How much is in the volumes, measured at the same time, with a word when that takes a while."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from quiesce.errors import QuiesceError
from quiesce.execute.run import Ports
from quiesce.observed import VolumeState
from quiesce.report.values import Sizes

#: Reading folders waits for the disk more than it computes.
AT_ONCE = 4
#: Seconds after which a person wants to know that something is happening.
PATIENCE = 1.0


def measure(ports: Ports, states: Sequence[VolumeState]) -> Sizes:
    """Return files and bytes of the volumes that exist, by key; nothing is stopped for it.

    A volume that cannot be measured is told about and has None.
    """
    there = [state for state in states if state.exists]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {state.key: pool.submit(_size, ports, state) for state in there}
        pending = wait(futures.values(), PATIENCE).not_done
        while pending:
            names = ", ".join(key for key, future in futures.items() if future in pending)
            ports.sink.note(f"measuring {names}")
            pending = wait(pending, 5 * PATIENCE).not_done
        return {key: future.result() for key, future in futures.items()}


def _size(ports: Ports, state: VolumeState) -> tuple[int, int] | None:
    try:
        size = ports.volumes.measure(state)
    except QuiesceError as error:
        ports.sink.warn(f"volume {state.key} cannot be measured: {error}")
        return None
    return size.files, size.bytes
