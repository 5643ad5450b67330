"""Decides which names and values are secrets, and what replaces them."""

from __future__ import annotations

import re

#: The replacement for a secret. Not a digest, because a short password could be guessed from it.
WITHHELD = "(withheld)"


def is_secret(name: str, value: str) -> bool:
    """Whether a variable of this name contains a secret."""
    marked = re.search(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|DSN|_URL|_URI", name, re.IGNORECASE)
    return len(value) >= 4 and marked is not None
