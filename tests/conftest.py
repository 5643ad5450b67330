"""What every test may use, and the two markers that decide whether a test can run here."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import cache

import pytest

from tests.engine import Unavailable, ensure_engine


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, which also runs the tests that take minutes."""
    parser.addoption("--long", action="store_true", help="also run the tests that take minutes")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here; under CI=true a missing engine is a failure."""
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("takes minutes; --long runs it")
    if item.get_closest_marker("engine"):
        _require_engine()


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
