"""Start and stop order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.errors import RequestError
from quiesce.observed import Condition
from quiesce.plan import order
from tests.fakes.runtime import make_service
from tests.strategies import acyclic_needs
from tests.support.builders import ORDER, a_world


@given(acyclic_needs())
def test_every_service_follows_what_it_needs(needs: dict[str, tuple[str, ...]]) -> None:
    """And none is lost or doubled."""
    ordered = order.start_order(needs, ())
    assert sorted(ordered) == sorted(needs)
    for name, required in needs.items():
        assert all(ordered.index(other) < ordered.index(name) for other in required)


@given(acyclic_needs(), st.randoms())
def test_the_order_does_not_depend_on_how_the_input_was_ordered(
    needs: dict[str, tuple[str, ...]], random: object
) -> None:
    """The same services give the same order on every machine."""
    items = [(name, tuple(reversed(required))) for name, required in reversed(needs.items())]
    assert order.start_order(dict(items), ()) == order.start_order(needs, ())


def test_ties_follow_the_declared_order_then_the_name() -> None:
    """`restart.order` decides between services that do not need each other."""
    needs: dict[str, tuple[str, ...]] = {"a": (), "b": (), "c": (), "d": ()}
    assert order.start_order(needs, ("c", "b")) == ("c", "b", "a", "d")


def test_a_cycle_is_named_by_its_path() -> None:
    """A person has to see which dependency to cut."""
    with pytest.raises(RequestError, match="a → b → c → a"):
        order.start_order({"a": ("b",), "b": ("c",), "c": ("a",), "d": ()}, ())


def test_a_declared_order_against_a_dependency_names_both() -> None:
    """It is never silently overruled."""
    with pytest.raises(RequestError, match="starts web before db, but web depends on it"):
        order.start_order({"web": ("db",), "db": ()}, ("web", "db"))


def test_what_depends_on_a_service_is_found_through_others() -> None:
    """A proxy depends on the cache through the backend."""
    needs = order.dependencies(a_world().services)
    assert order.all_dependents(needs, ["redis"]) == ("backend", "frontend", "proxy")
    assert order.all_needed(needs, ["frontend"]) == ("backend", "db", "redis")


def test_units_are_started_in_waves_that_wait_for_health() -> None:
    """Nothing starts before what it needs healthy is in an earlier wave."""
    world = a_world()
    waves = order.start_waves(world.running, world.services, ORDER)
    names = [[unit.service for unit in wave] for wave in waves]
    assert names == [["db", "redis"], ["backend"], ["frontend"], ["proxy"]]


def _waves(
    needs: dict[str, dict[str, Condition]],
    declared: tuple[str, ...] = (),
    absent: tuple[str, ...] = (),
) -> list[str]:
    services = [make_service(name, needs=need) for name, need in needs.items()]
    units = [unit for s in services if s.name not in absent for unit in s.units]
    names = order.start_order(order.dependencies(services), declared)
    waves = order.start_waves(units, services, names, declared)
    return ["".join(unit.service for unit in wave) for wave in waves]


CHAINS: dict[str, dict[str, Condition]] = {
    "a": {},
    "b": {"a": "healthy"},
    "c": {},
    "d": {"c": "healthy"},
    "e": {"b": "started"},
}


def test_chains_that_do_not_depend_on_each_other_start_together() -> None:
    """Each service waits for what it needs, and not for what happens to be sorted before it."""
    assert _waves(CHAINS) == ["ac", "bde"]
    assert _waves(CHAINS, absent=("a",)) == ["bce", "d"]


def test_a_wave_respects_the_declared_order() -> None:
    """What restart.order names later is not started in an earlier wave."""
    assert _waves(CHAINS, declared=("a", "b", "c")) == ["a", "bce", "d"]


def test_a_wave_waits_only_for_what_starts() -> None:
    """Not for one that restart.order names and that is down, nor for one of another profile."""
    needs: dict[str, dict[str, Condition]] = {
        "x": {},
        "a": {"x": "healthy"},
        "b": {"x": "started"},
    }
    assert _waves(needs, declared=("a", "b")) == ["x", "ab"]
    assert _waves(needs, declared=("a", "b"), absent=("a",)) == ["xb"]
    assert _waves({"a": {}, "b": {}}, declared=("a",)) == ["ab"]
    services = [make_service("b", needs=["gone"]), make_service("c")]
    units = [unit for service in services for unit in service.units]
    (wave,) = order.start_waves(units, services, ("b", "c"))
    assert [unit.service for unit in wave] == ["b", "c"]


def test_what_restart_order_does_not_name_changes_nothing_for_what_it_names() -> None:
    """`z` may start early; `d` starts no earlier than `c`, which is before it."""
    needs: dict[str, dict[str, Condition]] = {
        "a": {},
        "c": {"a": "healthy"},
        "z": {},
        "d": {"z": "started"},
    }
    assert _waves(needs, declared=("c", "d")) == ["az", "cd"]


def test_a_completed_job_between_two_services_is_waited_through() -> None:
    """It does not run again, but what it needed is healthy before what needs it."""
    needs: dict[str, dict[str, Condition]] = {
        "db": {},
        "job": {"db": "healthy"},
        "web": {"job": "completed"},
    }
    assert _waves(needs, absent=("job",)) == ["db", "web"]


def _groups(needs: dict[str, dict[str, Condition]], names: str, declared: str = "") -> list[str]:
    services = [make_service(name, needs=need) for name, need in needs.items()]
    units = [unit for name in names for s in services if s.name == name for unit in s.units]
    return ["".join(u.service for u in g) for g in order.start_groups(units, services, declared)]


def test_what_is_not_ordered_may_start_at_the_same_time() -> None:
    """A service that does not run orders those around it; restart.order orders those it names."""
    assert _groups(CHAINS, "acbde") == ["ac", "bd", "e"]
    assert _groups(CHAINS, "ace") == ["ac", "e"]
    assert _groups(CHAINS, "cabde", declared="ca") == ["c", "ad", "b", "e"]
    assert _groups(CHAINS, "ac", declared="ac") == ["a", "c"]


def test_replicas_of_a_service_may_start_at_the_same_time() -> None:
    """They do not need each other."""
    services = [make_service("a", replicas=2), make_service("b", needs=["a"], replicas=2)]
    units = [unit for service in services for unit in service.units]
    groups = order.start_groups(units, services, ())
    assert [[unit.name for unit in group] for group in groups] == [
        ["fake-a-1", "fake-a-2"],
        ["fake-b-1", "fake-b-2"],
    ]
