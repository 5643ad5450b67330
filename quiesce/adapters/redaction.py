"""Which names and values are secrets, and what is written in their place."""

from __future__ import annotations

import re

#: What stands for a literal. No digest of it: who has one finds a short password by trying.
WITHHELD = "(withheld)"


def is_secret(name: str, value: str) -> bool:
    """Whether a variable of this name holds something that must not be repeated."""
    marked = re.search(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|DSN|_URL|_URI", name, re.IGNORECASE)
    return len(value) >= 4 and marked is not None
