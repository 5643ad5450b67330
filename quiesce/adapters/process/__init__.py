"""Running programs on this machine.

From outside use `program`, `child`, `exec`, `signals` and `terminal`.
"""
