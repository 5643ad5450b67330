"""How long a test waits before it takes something for hung. Nothing is measured by these.

Far more than anything takes, also on a machine that is busy with other tests: what is slow is no
failure, and what hangs is found all the same.
"""

from __future__ import annotations

#: Seconds for a condition that comes about by itself.
DEADLINE = 180.0
#: Seconds for a task from its beginning to its end.
TASK = 900.0
