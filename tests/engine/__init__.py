"""A real Docker Engine, Compose v2 and images for the tests, on a machine that has none of them.

`ensure_engine` gives what the tests need or raises `Unavailable` with the reason;
`stop_engine` ends just the daemon it started. The same from a shell: `python -m tests.engine`.
"""

from .images import VARIABLES
from .machine import Unavailable
from .provision import EngineReport, ensure_engine, stop_engine

__all__ = ["VARIABLES", "EngineReport", "Unavailable", "ensure_engine", "stop_engine"]
