"""Quiesce: declarative backup, restore and care of Docker Compose stacks."""

__version__ = "0.1.0"
