"""What every test may use, and the two markers that decide whether a test can run here."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Iterator
from functools import cache

import pytest
from hypothesis import settings

from tests.engine import Unavailable, ensure_engine
from tests.support import sampling, turns

# How many examples Hypothesis tries where a test does not say. It draws others in each run, and
# prints the one that failed with the line that repeats it.
EXAMPLES = {"quick": 15, "normal": 100, "long": 500}
_BEGUN = pytest.StashKey[tuple[float, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, which also runs the tests that take minutes, and what leaves tests out."""
    parser.addoption("--long", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--quick", action="store_true", help="few random examples, no `thorough` test")
    parser.addoption("--one-in", type=int, default=1, help="try one of so many expensive files")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the number of random examples before any test module is imported."""
    profile = next((name for name in ("long", "quick") if config.getoption(name)), "normal")
    for name, examples in EXAMPLES.items():
        settings.register_profile(name, max_examples=examples, deadline=None)
    settings.load_profile(profile)
    sampling.choose_seed()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let a worker ask at once how often a test was tried.

    pytest-rerunfailures sends two small messages for each test, and the kernel keeps the second
    until the first is acknowledged: 40 ms for every test.
    """
    connection = getattr(getattr(session.config, "failures_db", None), "sock", None)
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which points of the matrices are tried."""
    return f"seed of the samples: {sampling.SEED}={sampling.choose_seed()}"


@pytest.fixture(scope="session")
def everything(pytestconfig: pytest.Config) -> bool:
    """Whether a test with many points tries all of them."""
    return bool(pytestconfig.getoption("--long"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the expensive files, and leave out those that have their turn in another run."""
    turns.order_and_draw(items, config.getoption("--one-in"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here; under CI=true a missing engine is a failure."""
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("takes minutes; --long runs it")
    if item.get_closest_marker("thorough") and item.config.getoption("--quick"):
        pytest.skip("takes seconds; left out by --quick")
    if item.get_closest_marker("engine"):
        _require_engine()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember when a test began, in processor seconds."""
    item.stash[_BEGUN] = _spent()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Note what a test and the programs it waited for took of the processors, fixtures included."""
    try:
        return (yield)
    finally:
        now = _spent()
        own, programs = now[0] - item.stash[_BEGUN][0], now[1] - item.stash[_BEGUN][1]
        item.stash[_BEGUN] = now
        item.user_properties += [("cpu", f"{own:.2f}"), ("cpu of programs", f"{programs:.2f}")]


def _spent() -> tuple[float, float]:
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


@pytest.fixture(scope="session")
def engine() -> str:
    """The endpoint of the Docker Engine, as in DOCKER_HOST; the images are in the environment."""
    _require_engine()
    return os.environ["DOCKER_HOST"]


@pytest.fixture
def free_port() -> Iterator[int]:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    # Bound but not listening, with the option that lets a server of the test bind it too: nobody
    # else who asks the kernel for just any port is given it meanwhile.
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _require_engine() -> None:
    reason = _reason_without_engine()
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"no Docker Engine under CI=true: {reason}", pytrace=False)
    pytest.skip(reason)


@cache
def _reason_without_engine() -> str | None:
    # tests.command has looked already and says so; pytest called by hand looks itself.
    if reason := os.environ.get("QUIESCE_TEST_NO_ENGINE"):
        return reason
    if os.environ.get("QUIESCE_TEST_ENGINE"):
        return None
    try:
        report = ensure_engine(provision=False)
    except Unavailable as reason:
        return str(reason)
    os.environ.update({"DOCKER_HOST": report.docker_host, **report.images})
    return None
