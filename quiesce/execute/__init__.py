"""Executes plans, with a journal and a watchdog. It makes no decisions."""
