"""Programs that are run here.

From outside use `program`, `child`, `exec`, `signals` and `terminal`.
"""
