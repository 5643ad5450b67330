"""Signals by Docker's names."""

from __future__ import annotations

import signal


def signal_number(name: str) -> int:
    """Return the number of a stop signal as Docker writes it: `SIGTERM`, `TERM`, `15`."""
    if name.isdigit():
        return int(name)
    full = name if name.startswith("SIG") else f"SIG{name}"
    if full.startswith("SIGRTMIN+"):
        return int(signal.SIGRTMIN) + int(full.removeprefix("SIGRTMIN+"))
    return int(getattr(signal, full, signal.SIGTERM))
