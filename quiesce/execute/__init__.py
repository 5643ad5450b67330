"""Doing: works through a plan, remembers it on disk, survives. Decides nothing."""
