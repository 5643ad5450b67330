"""Sizes and durations as people read them. Pure text."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86400

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: int) -> str:
    """Return bytes as `512 B`, `1.2 MiB`, `3.0 GiB`: powers of 1024, one decimal."""
    value = float(abs(count))
    sign = "-" if count < 0 else ""
    if value < 1024:
        return f"{sign}{value:.0f} B"
    for unit in _UNITS:
        value /= 1024
        # 1023.96 KiB would be printed as 1024.0 KiB.
        if round(value, 1) < 1024 or unit == _UNITS[-1]:
            break
    return f"{sign}{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return seconds as `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min` or `3 d 04 h`."""
    seconds = max(seconds, 0.0)
    if round(seconds * 1000) < 1000:
        return f"{round(seconds * 1000)} ms"
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{whole // DAY} d {whole % DAY // HOUR:02d} h"
