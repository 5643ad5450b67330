"""`python -m tests.mutants [--long] quiesce/plan …` tries the mutants of these places only."""

from __future__ import annotations

import sys

from tests.mutants.command import main

_places = [word for word in sys.argv[1:] if word != "--long"]
sys.exit(main(long="--long" in sys.argv, only=_places))
