"""Part of a test as a process of its own, for good as another user if one is given."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkProcess


def start_fork(action: Callable[[], None], uid: int | None = None) -> ForkProcess:
    """A started child that does this and ends with 0, or with 1 and a traceback.

    A new interpreter would not do: the one of the tests may be where that user cannot go.
    """

    def act() -> None:
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(pwd.getpwuid(uid).pw_gid)
                os.setuid(uid)
            action()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)

    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    return child


def in_a_fork(action: Callable[[], None], uid: int | None = None) -> int | None:
    """Do this in another process, as user `uid` if one is given; return its exit code."""
    child = start_fork(action, uid)
    child.join()
    return child.exitcode
