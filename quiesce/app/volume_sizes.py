"""Measures volumes in parallel, and reports it if that takes long."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from quiesce.errors import QuiesceError
from quiesce.execute.run import Ports
from quiesce.observed import VolumeState
from quiesce.report.values import Sizes

#: Reading folders is limited by the disk, not the processor.
AT_ONCE = 4
#: Seconds after which the user is told.
PATIENCE = 1.0


def measure(ports: Ports, states: Sequence[VolumeState]) -> Sizes:
    """Return files and bytes of the existing volumes, by key; nothing is stopped for it.

    For a volume that cannot be measured, a warning is shown and its value is None.
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
        ports.sink.warn(f"{state.noun} {state.key} cannot be measured: {error}")
        return None
    return size.files, size.bytes
