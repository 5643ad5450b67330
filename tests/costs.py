"""What each file of tests cost when it was last noted: `costs.json`, in seconds of its worker.

`QUIESCE_TEST_COSTS=write ./inv test --only contract,integration,stack,crash,e2e` notes it anew.
Only the standard library is needed here, as in `tests/command.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

WRITE = "QUIESCE_TEST_COSTS"
_RECORD = Path(__file__).parent / "costs.json"


def read_costs() -> dict[str, float]:
    """Return the seconds of each file, named as `e2e/test_drill`."""
    return {**json.loads(_RECORD.read_text(encoding="utf-8"))}


def write_costs(costs: Mapping[str, float]) -> None:
    """Note what files cost, those of a second and more; others keep what is noted of them."""
    noted = {name: round(seconds) for name, seconds in costs.items() if seconds >= 1}
    merged = read_costs() | noted
    ordered = dict(sorted(merged.items(), key=lambda item: (-item[1], item[0])))
    _RECORD.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
