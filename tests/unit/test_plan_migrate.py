"""Which databases a migration takes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quiesce.errors import RequestError
from quiesce.model import Stack
from quiesce.plan.migrate import plan_migrate
from quiesce.plan.steps import MigrateDatabase
from tests.support.builders import RUN, a_stack, a_world


def without_migrations(key: str) -> Stack:
    """The example stack with one database that has no history of its own."""
    stack = a_stack()
    databases = (replace(d, migrations=None) if d.key == key else d for d in stack.databases)
    return replace(stack, databases=tuple(databases))


@pytest.mark.parametrize(
    ("names", "migrated"),
    [
        ((), ["rulesdb", "memorydb"]),
        (("memorydb",), ["memorydb"]),
        (("memorydb", "rulesdb"), ["rulesdb", "memorydb"]),
    ],
)
def test_the_named_databases_are_migrated_or_all(
    names: tuple[str, ...], migrated: list[str]
) -> None:
    """In the order of stack.yaml; each step says where the database stands."""
    plan = plan_migrate(a_stack(), a_world(), RUN, names, "head")
    steps = [node for node in plan.nodes if isinstance(node, MigrateDatabase)]
    assert [step.database for step in steps] == migrated
    assert {(step.revision, step.why) for step in steps} == {("head", "now at 0003")}
    assert plan.request == f"migrate {', '.join(migrated)} of core"


def test_a_database_without_a_revision_is_at_nothing_yet() -> None:
    """An empty one."""
    world = a_world()
    databases = tuple(replace(d, revision=()) for d in world.databases)
    plan = plan_migrate(a_stack(), replace(world, databases=databases), RUN, ("rulesdb",), "head")
    assert [node.why for node in plan.nodes] == ["now at no revision yet"]


def test_a_database_without_migrations_is_left_out_or_refused_by_name() -> None:
    """Only whoever names it expects something."""
    stack = without_migrations("rulesdb")
    plan = plan_migrate(stack, a_world(), RUN, (), "head")
    assert [node.database for node in plan.nodes] == ["memorydb"]
    with pytest.raises(RequestError, match="database rulesdb has no migrations"):
        plan_migrate(stack, a_world(), RUN, ("rulesdb",), "head")


def test_an_unknown_database_is_refused() -> None:
    """Before anything is done."""
    with pytest.raises(RequestError, match="no database rules"):
        plan_migrate(a_stack(), a_world(), RUN, ("memorydb", "rules"), "head")
