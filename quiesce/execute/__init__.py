"""Executes plans, with a journal and a watchdog. Makes no decisions of its own."""
