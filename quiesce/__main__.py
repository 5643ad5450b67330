"""`python -m quiesce` is the command `quiesce`."""

from quiesce.menu.program import main

main()
