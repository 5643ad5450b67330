"""zstd in Python: of the standard library where it has it, else its backport. Loaded when used."""

from __future__ import annotations

import sys
from typing import Any


def module() -> Any:
    """Return the module `zstd`, whoever provides it."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
