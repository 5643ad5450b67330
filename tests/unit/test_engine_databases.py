"""Each database goes to the driver of its engine, whatever is asked of several at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.adapters.databases import EngineDatabases
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database, DatabaseSwap
from quiesce.observe import observe
from quiesce.observed import Activity, ExternalSession, MissingRoles, Ties
from quiesce.ports import DatabaseDriver, DumpReading, Globals, Rows, Scripts, Tied
from tests.fakes.databases import FakeDatabase, FakeDatabases
from tests.fakes.runtime import FakeRuntime
from tests.support.builders import a_database_record, a_service, a_stack
from tests.support.engines import LESSER, Core

SHOP = Database("shop", "shop", "maria", "root", None, 3306, None, engine=LESSER)
CART = replace(SHOP, key="cart", name="cart")
RULES = Database("rules", "rules", "db", "postgres", None, 5432, None)


class Two:
    """A server of each of two engines; the lesser one's driver does only what every engine does."""

    def __init__(self) -> None:
        self.postgres = FakeDatabases({"db": {"rules": FakeDatabase(), "extra": FakeDatabase()}})
        there = {"shop": FakeDatabase(), "cart": FakeDatabase(), "attic": FakeDatabase()}
        self.lesser = FakeDatabases({"maria": there})
        self.made: list[str] = []

        def maker(engine: str, driver: DatabaseDriver) -> Callable[[], DatabaseDriver]:
            return lambda: (self.made.append(engine), driver)[1]

        self.both = EngineDatabases(
            {
                "postgres": maker("postgres", self.postgres),
                LESSER: maker(LESSER, Core(self.lesser)),
            },
            (SHOP, RULES, CART),
        )


def test_states_come_in_the_order_in_which_databases_were_given() -> None:
    """Whatever their engines are."""
    two = Two()
    missing = replace(RULES, key="gone", name="gone")
    states = two.both.observe((SHOP, RULES, CART, missing))
    assert [(state.key, state.exists, state.engine) for state in states] == [
        ("shop", True, LESSER),
        ("rules", True, "postgres"),
        ("cart", True, LESSER),
        ("gone", False, "postgres"),
    ]


def test_a_database_whose_server_is_not_asked_has_its_engine_too(tmp_path: Path) -> None:
    """Its service does not run."""
    two = Two()
    stack = replace(a_stack(tmp_path, volumes=()), databases=(SHOP, RULES))
    seen = observe(stack, FakeRuntime([a_service("db")]), two.both)
    found = [(state.key, state.reachable, state.engine) for state in seen.databases]
    assert found == [("shop", False, LESSER), ("rules", True, "postgres")]


def test_what_several_drivers_say_is_put_together() -> None:
    """Nothing that only one of them says is lost."""
    two = Two()
    assert two.both.undeclared((SHOP, RULES, CART)) == ("attic", "extra")
    two.postgres.unready, two.lesser.unready = ("no room",), ("no right",)
    assert two.both.rehearse((SHOP, RULES)) == ("no right", "no room")
    one, other = (ExternalSession(n, "x", "u", "a") for n in (1, 2))
    two.postgres.rest = Activity((one,), ("rules",), maintenance=False)
    two.lesser.rest = Activity((other,), (), maintenance=True)
    assert two.both.activity((RULES, SHOP)) == Activity((one, other), ("rules",), maintenance=True)
    two.postgres.sessions["r"], two.lesser.sessions["r"] = ["a"], ["b"]
    assert sorted(two.both.remove_orphans("r")) == ["a", "b"]
    two.both.close()
    assert two.postgres.closed
    assert two.lesser.closed


def test_a_driver_is_made_once_and_only_when_it_is_needed() -> None:
    """The modules of an engine that nobody uses are not even loaded."""
    two = Two()
    two.both.close()
    assert two.made == []
    two.both.observe((RULES,))
    two.both.size(RULES, "rules")
    assert two.made == ["postgres"]


def test_a_service_goes_to_the_driver_of_its_databases(tmp_path: Path) -> None:
    """Blocking, exchanging and putting back are asked by service."""
    two = Two()
    two.lesser.servers["maria"]["shop_new"] = FakeDatabase()
    swaps = [DatabaseSwap("shop", "shop", "shop_new", "shop_old")]
    two.both.block_connections("maria", ["shop"])
    two.both.swap("maria", swaps)
    two.both.put_back("maria", swaps)
    two.both.dump_globals("db", tmp_path, "globals.sql")
    assert two.lesser.calls == ["fence:maria", "swap:maria", "put_back:maria"]
    assert two.postgres.calls == ["globals:db"]
    with pytest.raises(QuiesceError, match="no database is declared for service web"):
        two.both.swap("web", swaps)


#: What only some engines do, apart from questions that have an empty answer.
REFUSED = [
    (protocol, name)
    for protocol in (Globals, Rows, Scripts)
    for name in vars(protocol)
    if not name.startswith("_") and name != "missing_roles"
]


@pytest.mark.parametrize(("protocol", "name"), REFUSED)
def test_what_an_engine_cannot_do_is_refused_by_name(protocol: type, name: str) -> None:
    """Before the driver is asked; a database of the other engine is not refused."""
    two = Two()
    given = inspect.signature(getattr(protocol, name)).parameters
    arguments: dict[str, Any] = {parameter: None for parameter in given if parameter != "self"}
    arguments |= {"database": SHOP} if "database" in given else {"service": "maria"}
    with pytest.raises(RequestError, match="database shop: lesser has no"):
        getattr(two.both, name)(**arguments)
    assert two.lesser.calls == []


def test_a_question_that_an_engine_has_no_answer_to_has_an_empty_one() -> None:
    """Nothing ties such a database, and no roles are missing."""
    two = Two()
    two.lesser.tied = two.postgres.tied = Ties(subscriptions=("a",))
    two.lesser.roles_missing = two.postgres.roles_missing = MissingRoles(("a",))
    assert two.both.ties(SHOP) == Ties()
    assert two.both.ties(RULES) == two.postgres.tied
    assert two.both.missing_roles(SHOP, Path("x"), ()) == MissingRoles()
    assert two.both.missing_roles(RULES, Path("x"), ()) == two.postgres.roles_missing
    assert issubclass(FakeDatabases, Tied)


def test_a_dump_is_read_by_the_engine_that_its_record_names(tmp_path: Path) -> None:
    """The database need not be declared; of an unknown engine it is left unread, and said so."""
    two = Two()
    (tmp_path / "a").write_text("{}")
    (tmp_path / "b").write_text("{")
    record = a_database_record("gone", engine=LESSER)
    read = two.both.read_dump
    assert read(record, tmp_path, "a", running=True) == DumpReading()
    assert read(record, tmp_path, "b", running=True).wrong
    assert two.made == [LESSER]
    newer = replace(record, engine="newer")
    found = read(newer, tmp_path, "a", running=True)
    assert found == DumpReading(unread="because this version does not know newer")


@pytest.mark.parametrize(
    ("name", "arguments", "call"),
    [
        ("hold", (), "hold:shop"),
        ("release", (), "release:shop"),
        ("create", ("shop_new", None), "create:shop_new"),
        ("finish", ("shop", None), "finish:shop"),
        ("unmark_made", ("shop",), "unmark:shop"),
        ("drop", ("shop_ab12", "ab12"), "drop:shop_ab12"),
    ],
)
def test_a_database_goes_to_the_driver_of_its_engine(
    name: str, arguments: tuple[object, ...], call: str
) -> None:
    """And to no other one."""
    two = Two()
    getattr(two.both, name)(SHOP, *arguments)
    assert two.lesser.calls == [call]
    assert two.postgres.calls == []
