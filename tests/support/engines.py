"""A second engine of databases, for tests of what depends on the engine: it can do little."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from quiesce.model import Capability, Database, DatabaseEngine, Stack, engines
from quiesce.ports import DatabaseDriver

LESSER = "lesser"


def add_engine(monkeypatch: pytest.MonkeyPatch, *can: Capability, key: str = LESSER) -> None:
    """Add an engine with these capabilities for one test; its files end in `.lesser`."""
    module = inspect.getmodule(engines)
    one = DatabaseEngine(
        key, "Lesser", 3306, "root", ("sys",), f".{key}", capabilities=frozenset(can)
    )
    monkeypatch.setattr(module, "ENGINES", MappingProxyType({**module.ENGINES, key: one}))


def on(engine: str, stack: Stack, *keys: str) -> Stack:
    """Return the stack with these databases (none: all) on this engine, in services of its own."""

    def moved(database: Database) -> Database:
        if keys and database.key not in keys:
            return database
        return replace(database, engine=engine)

    return replace(stack, databases=tuple(map(moved, stack.databases)))


class Core:
    """Only what every driver does, of another one."""

    def __init__(self, whole: DatabaseDriver) -> None:
        self.whole: Any = whole
        for name in vars(DatabaseDriver):
            if not name.startswith("_"):
                setattr(self, name, getattr(whole, name))
