"""A run whose ports only note what a handler asks of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.errors import (
    QuiesceError,
)
from quiesce.execute.draft import Draft
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.run import Ports, Run
from quiesce.model import (
    DatabaseSwap,
    Member,
)
from quiesce.observed import ExternalSession
from quiesce.plan import steps as s
from quiesce.ports import Measured
from tests.support.builders import NOW, RUN, a_set, a_stack, a_world

SET = "core-20261120-020000"
UNITS = tuple(service.units[0] for service in a_world().services)
SWAPS = (DatabaseSwap("rulesdb", "rulesdb", "rulesdb__new", "rulesdb__old"),)

SESSION = ExternalSession(7, "rulesdb", "ann", "psql")


class Port:
    """Notes each call as `port.method`, its arguments and its keywords; answers from `answers`."""

    def __init__(self, name: str, world: World) -> None:
        self._name, self._world = name, world

    def __getattr__(self, method: str) -> Callable[..., Any]:
        name = f"{self._name}.{method}"

        def call(*arguments: Any, **keywords: Any) -> Any:
            if name not in QUIET:
                self._world.calls.append((name, *arguments, *([keywords] if keywords else ())))
            answer = self._world.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer(*arguments) if callable(answer) else answer

        return call


QUIET = {"clock.now", "clock.monotonic", "sink.progress", "runtime.services", "runtime.volumes"}


class World:
    """One run over noting ports."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[Any] = []
        self.seconds = 0.0
        self.answers: dict[str, Any] = {
            "clock.now": NOW,
            "clock.monotonic": lambda: self.seconds,
            "runtime.services": a_world().services,
            "runtime.volumes": a_world().volumes,
            "volumes.remarks": (),
            "databases.create_roles": (),
            "databases.load": (),
            "databases.undeclared": (),
            "databases.await_answer": "",
            "runtime.wait_healthy": {},
        }
        self.answers |= {name.replace("__", "."): answer for name, answer in answers.items()}
        names = "runtime databases volumes migrator store sink clock project offsite"
        ports: Any = [Port(name, self) for name in names.split()]
        self.run = Run(RUN, a_stack(), a_world(), Ports(*ports), sources={SET: a_set(SET)})

    def do(self, step: s.Step) -> str:
        return HANDLERS[type(step)](step, self.run)

    def fail(self, step: s.Step, kind: type[QuiesceError] = QuiesceError) -> QuiesceError:
        with pytest.raises(kind) as caught:
            self.do(step)
        return caught.value

    def asked(self, name: str) -> list[Any]:
        """The arguments of every call of this method."""
        return [call[1:] for call in self.calls if call[0] == name]

    @property
    def warned(self) -> list[str]:
        return [text for (text,) in self.asked("sink.warn")]

    def draft(self, **fields: Any) -> Draft:
        """A set that is being made."""
        opened = s.OpenSet(SET, "full", "consistent", "", False, ("db",), ("backend",), "")

        def measure(finished: Any) -> Measured:
            file, kind, source = finished
            self.calls.append(("measure", file))
            return Measured(Member(Path(file).name, kind, source, file, 1, "0" * 64), (1,))

        made = Draft(replace(opened, **fields), Path("/staging"), NOW, 0.0, measure)
        self.run.drafts[SET] = made
        return made


def database(key: str = "rulesdb") -> Any:
    """As the stack declares it."""
    return a_stack().database(key)


def volume(key: str = "backend-media") -> Any:
    """As it was observed."""
    return a_world().volume(key)
