"""`python -m tests.mutants [--long] [quiesce/plan …] [--tests tests/unit/test_order.py …]`.

Tries the mutants of these places only, with these tests.
"""

from __future__ import annotations

import sys

from tests.mutants.command import main

_words = [word for word in sys.argv[1:] if word != "--long"]
_at = _words.index("--tests") if "--tests" in _words else len(_words)
sys.exit(main(long="--long" in sys.argv, only=_words[:_at], tests=_words[_at + 1 :]))
