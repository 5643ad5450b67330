"""The handlers of steps: one small function per step class, registered by `@handles`.

A handler calls a port to reach the step's goal and returns a short result for the report. Policy
belongs in the planner.
"""

from __future__ import annotations

from quiesce.execute.handlers import (
    checks,
    cleaning,
    databases,
    offsite,
    retention,
    safety,
    services,
    sets,
    volumes,
)
from quiesce.execute.handlers.registry import HANDLERS, handles

__all__ = ["HANDLERS", "MODULES", "handles"]

#: Every module with handlers; importing it registers them.
MODULES = (checks, cleaning, databases, offsite, retention, safety, services, sets, volumes)
