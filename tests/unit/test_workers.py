"""What would make every single test slower."""

from __future__ import annotations

import socket

import pytest


def test_a_worker_does_not_wait_for_acknowledgements(pytestconfig: pytest.Config) -> None:
    """pytest-rerunfailures asks for each test; without this the kernel keeps its question 40 ms."""
    connection = getattr(getattr(pytestconfig, "failures_db", None), "sock", None)
    if connection is None or not hasattr(pytestconfig, "workerinput"):
        pytest.skip("no worker of a parallel run")
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
