"""How each step is done: one small function per step class, registered by `@handles`.

A handler asks a port to reach the step's goal and returns a short result for the report. If one
needs an `if` about policy, that `if` belongs in the planner.
"""

from __future__ import annotations

from quiesce.execute.handlers import (
    checks,
    cleaning,
    databases,
    keeping,
    offsite,
    services,
    sets,
    volumes,
)
from quiesce.execute.handlers.registry import HANDLERS, handles

__all__ = ["HANDLERS", "MODULES", "handles"]

#: Every module with handlers: importing it is what registers them.
MODULES = (checks, cleaning, databases, keeping, offsite, services, sets, volumes)
