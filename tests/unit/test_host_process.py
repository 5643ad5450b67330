"""Which of several processes is the service, and what a launch shows of itself."""

from __future__ import annotations

import os
import signal
import subprocess

from quiesce.adapters.host import procfs
from quiesce.adapters.host.procfs import Launch, Live


def a_process(pid: int, parent: int = 1, started: int = 100) -> Live:
    """A process that leads its own session."""
    return Live(pid, started, parent, pid, pid, "S")


def test_helpers_of_one_that_was_found_are_no_roots():
    """Also over a generation that hides its marks, and whichever is older."""
    leader = a_process(10, started=50)
    hidden = a_process(20, parent=10)
    helper = a_process(30, parent=20, started=40)
    stranger = a_process(40)
    everybody = {live.pid: live for live in (leader, hidden, helper, stranger)}
    assert procfs.roots([helper, leader], everybody) == (leader,)
    assert procfs.roots([helper], everybody) == (helper,)
    assert procfs.roots([stranger, leader], everybody) == (leader, stranger)


def test_a_circle_of_parents_does_not_go_on_for_ever():
    """Numbers are read one after the other, and a parent may have changed between."""
    one, other = a_process(10, parent=20), a_process(20, parent=10)
    everybody = {10: one, 20: other}
    assert procfs.roots([one], everybody) == ()


def test_a_zombie_has_ended_and_its_number_with_another_start_is_another():
    """Neither is the process that was looked at."""
    child = subprocess.Popen(["sleep", "1000"])
    try:
        live = procfs.look(child.pid)
        assert live is not None
        assert procfs.current(live) is not None
        assert procfs.current(Live(live.pid, live.started - 1, 1, 1, 1, "S")) is None
        assert 0 <= live.age < 3600
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert procfs.look(child.pid) is None
    finally:
        child.kill()
        child.wait()


def test_a_launch_does_not_show_its_environment_or_arguments():
    """Both may hold a secret, and errors hold what they can print."""
    launch = Launch(("server", "--token=hidden"), {"env": {"PASSWORD": "hidden"}})
    assert "hidden" not in repr(launch)
