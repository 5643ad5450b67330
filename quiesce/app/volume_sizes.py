"""Measures volumes in parallel, and reports it if that takes long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import MappingProxyType

from quiesce.errors import QuiesceError
from quiesce.execute.run import Ports
from quiesce.observed import VolumeState
from quiesce.report.values import Sizes

#: Reading folders is limited by the disk, not the processor.
AT_ONCE = 4
#: Seconds after which the user is told.
PATIENCE = 1.0


def measure(
    ports: Ports,
    states: Sequence[VolumeState],
    exclude: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Sizes:
    """Return files and bytes of the existing volumes, by key, without what patterns in `exclude`
    leave out; nothing is stopped for it.

    For a volume that cannot be measured, a warning is shown and its value is None.
    """
    there = [state for state in states if state.exists]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {
            state.key: pool.submit(_size, ports, state, exclude.get(state.key, ()))
            for state in there
        }
        pending = wait(futures.values(), PATIENCE).not_done
        while pending:
            names = ", ".join(key for key, future in futures.items() if future in pending)
            ports.sink.note(f"measuring {names}")
            pending = wait(pending, 5 * PATIENCE).not_done
        return {key: future.result() for key, future in futures.items()}


def _size(ports: Ports, state: VolumeState, exclude: Sequence[str]) -> tuple[int, int] | None:
    try:
        if exclude:
            size = ports.volumes.survey(state, exclude).kept
        else:
            size = ports.volumes.measure(state)
    except QuiesceError as error:
        ports.sink.warn(f"{state.noun} {state.key} cannot be measured: {error}")
        return None
    return size.files, size.bytes
