"""zstd for Python: from the standard library if available, else its backport. Loaded on first
use."""

from __future__ import annotations

import sys
from typing import Any


def module() -> Any:
    """Return the module `zstd`."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
