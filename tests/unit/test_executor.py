"""What of a plan is carried out when parts of it fail, and what is said and written of it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quiesce.errors import (
    CheckFailed,
    Interrupted,
    QuiesceError,
    RecoveryPending,
    ServiceFailed,
    StepFailed,
)
from quiesce.execute.executor import Executor
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import Journal
from quiesce.execute.run import Ports, Run
from quiesce.plan import steps as s
from quiesce.plan.steps import Bracket, Node, Plan
from tests.support.builders import RUN, a_stack, a_world


def step(name: str) -> s.CheckStarted:
    """A step that is told from others by its reason."""
    return s.CheckStarted(name)


class NotedJournal(Journal):
    """Keeps what would be written, and fails where `full` says so."""

    def __init__(self) -> None:
        super().__init__(Path("/runs"), RUN)
        self.lines: list[str] = []
        self.full: set[str] = set()
        self.end = ""

    def write(self, event: str, **facts: Any) -> None:
        if event in self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines.append(f"{event} {facts['position']}")

    def close(self, outcome: str) -> None:
        if "close" in self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.end = outcome

    def leave_open(self) -> None:
        self.end = "open"


@dataclass
class World:
    """Carries out plans of `step`s. Those of `errors` fail; `done` has all that were begun."""

    errors: dict[str, BaseException] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    said: list[tuple[Any, ...]] = field(default_factory=list)
    now: float = 0.0
    journal: NotedJournal = field(default_factory=NotedJournal)
    interrupts: Interrupts = field(default_factory=Interrupts)

    def handle(self, one: s.CheckStarted, _: Run) -> str:
        self.done.append(one.why)
        self.now += 2.5
        if one.why in self.errors:
            raise self.errors[one.why]
        return f"result of {one.why}"

    def remember(self, one: s.Step, _: Exception) -> bool:
        return one.why in self.later

    def step_begins(self, *facts: Any) -> None:
        self.said.append(("begins", *facts))

    def step_ends(self, *facts: Any) -> None:
        self.said.append(("ends", *facts))

    def step_fails(self, *facts: Any) -> None:
        self.said.append(("fails", *facts))

    def warn(self, text: str) -> None:
        self.said.append(("warns", text))

    def monotonic(self) -> float:
        return self.now

    def execute(self, *nodes: Node) -> None:
        me: Any = self
        run = Run(RUN, a_stack(), a_world(), Ports(me, me, me, me, me, me, me, me, me))
        handlers = {s.CheckStarted: self.handle}
        Executor(run, self.journal, self.interrupts, handlers, self.remember).execute(
            Plan(RUN, "backup", "core", "a backup", "0", "ENGINE", nodes)
        )

    def fail(self, kind: type[BaseException], *nodes: Node) -> Any:
        with pytest.raises(kind) as caught:
            self.execute(*nodes)
        return caught.value


def steps(names: str) -> tuple[s.CheckStarted, ...]:
    """A step for each name."""
    return tuple(map(step, names.split()))


def a_bracket(body: Sequence[Node] = steps("b1 b2")) -> Bracket:
    """A bracket with two steps in each of its parts."""
    return Bracket(
        why="a bracket",
        enter=steps("e1 e2"),
        body=tuple(body),
        on_failure=steps("f1 f2"),
        on_success=steps("s1 s2"),
        always=steps("a1 a2"),
    )


def test_a_plan_that_works_runs_in_order_and_is_journalled() -> None:
    """Each effect is written down before and after it."""
    world = World()
    world.execute(step("first"), a_bracket(), step("last"))
    assert world.done == "first e1 e2 b1 b2 s1 s2 a1 a2 last".split()
    assert world.journal.end == "done"
    assert world.journal.lines == [
        *("begin /0", "end /0", "owed /1"),
        *("begin /1/enter/0", "end /1/enter/0", "begin /1/enter/1", "end /1/enter/1"),
        *("begin /1/body/0", "end /1/body/0", "begin /1/body/1", "end /1/body/1", "body-done /1"),
        *("begin /1/on_success/0", "end /1/on_success/0"),
        *("begin /1/on_success/1", "end /1/on_success/1"),
        *("begin /1/always/0", "end /1/always/0", "begin /1/always/1", "end /1/always/1"),
        *("settled /1", "begin /2", "end /2"),
    ]


def test_what_is_done_is_said_with_its_depth_time_and_result() -> None:
    """The reporter prints it while it happens."""
    world = World(errors={"b1": StepFailed("no", "hint")})
    world.fail(StepFailed, Bracket("b", (), steps("b1"), (), (), steps("a1")))
    words = step("").sentence()
    assert world.said == [
        ("begins", "/0/body/0", words, "b1", 1, "start services"),
        ("fails", "/0/body/0", words, "no"),
        ("begins", "/0/always/0", words, "a1", 1, "start services"),
        ("ends", "/0/always/0", words, 2.5, "result of a1"),
    ]


@pytest.mark.parametrize("failing", ["", "b1"])
def test_every_part_of_a_bracket_is_one_level_below_it(failing: str) -> None:
    """Also of a bracket within one."""
    world = World(errors={failing: StepFailed("no", "hint")} if failing else {})
    outer = Bracket("outer", (step("first"),), (a_bracket(),), (), (), ())
    if failing:
        world.fail(StepFailed, outer)
    else:
        world.execute(outer)
    depths = {facts[3]: facts[4] for facts in world.said if facts[0] == "begins"}
    assert depths == {name: 1 if name == "first" else 2 for name in world.done}


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        ("e1", "e1 f1 f2 a1 a2"),
        ("b1", "e1 e2 b1 f1 f2 a1 a2"),
        ("b2", "e1 e2 b1 b2 f1 f2 a1 a2"),
    ],
)
def test_a_step_that_fails_ends_its_bracket_and_all_is_put_back(failing: str, done: str) -> None:
    """What comes after the bracket is not begun."""
    world = World(errors={failing: StepFailed("broken", "hint")})
    error = world.fail(StepFailed, a_bracket(), step("last"))
    assert error.fact == "broken"
    assert world.done == done.split()
    assert "settled /0" in world.journal.lines
    assert "body-done /0" not in world.journal.lines
    assert world.journal.end == "failed"


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        ("b1 f1", "e1 e2 b1 f1 f2 a1 a2"),
        ("b1 f1 f2 a1", "e1 e2 b1 f1 f2 a1 a2"),
        ("b1 a1", "e1 e2 b1 f1 f2 a1 a2"),
        ("s1", "e1 e2 b1 b2 s1 s2 a1 a2 last"),
        ("s1 a1 a2", "e1 e2 b1 b2 s1 s2 a1 a2 last"),
        ("a1", "e1 e2 b1 b2 s1 s2 a1 a2 last"),
    ],
)
def test_what_cannot_be_put_back_keeps_nothing_else_from_it(failing: str, done: str) -> None:
    """A service that does not start is no reason to leave the next one down."""
    world = World(errors={name: StepFailed(f"{name} broke", "hint") for name in failing.split()})
    error = world.fail(RecoveryPending, a_bracket(), step("last"))
    assert world.done == done.split()
    assert error.details == tuple(f"{name} broke" for name in failing.split())
    assert error.fact == f"the run left something unfinished: {error.details[-1]}"
    assert error.__cause__ is next(iter(world.errors.values())), "--debug shows where it began"
    assert not error.lost_engine
    assert "settled /0" not in world.journal.lines
    assert world.journal.end == "open"


def test_brackets_put_back_from_the_inside_out() -> None:
    """What an inner one cannot put back is pending; the outer one is put back all the same."""
    inner = Bracket("inner", steps("i1"), steps("i2"), steps("i3"), (), steps("i4"))
    world = World(errors={"i2": StepFailed("x", "h"), "i4": StepFailed("y", "h")})
    world.fail(RecoveryPending, a_bracket([inner, step("b2")]))
    assert world.done == "e1 e2 i1 i2 i3 i4 f1 f2 a1 a2".split()
    assert world.journal.lines[-1] == "settled /0"
    assert "settled /0/body/0" not in world.journal.lines


def test_services_alone_that_do_not_come_back_are_told_once_each() -> None:
    """Who only looks after sets may go on then."""
    world = World(
        errors={
            "s1": ServiceFailed("db is down", "see its log"),
            "a1": ServiceFailed("db is down", "see its log"),
            "a2": ServiceFailed("web is down", "see its log"),
        }
    )
    error = world.fail(RecoveryPending, a_bracket())
    told = "db is down; web is down"
    assert error.fact == f"the run left something unfinished: {told}"


def test_services_that_are_down_after_a_failure_are_not_all() -> None:
    """The plan itself failed too."""
    world = World(
        errors={"b1": StepFailed("x", "h"), "a1": ServiceFailed("db is down", "see its log")}
    )
    error = world.fail(RecoveryPending, a_bracket())
    assert error.details == ("x", "db is down")
    assert error.fact == "the run left something unfinished: db is down"
    world.errors["b1"] = ServiceFailed("web is down", "see its log")
    error = world.fail(RecoveryPending, a_bracket())
    assert error.fact == "the run left something unfinished: web is down; db is down"


def test_an_engine_that_was_lost_while_putting_back_is_said() -> None:
    """The guard waits for it."""
    lost = StepFailed("no answer", "start Docker")
    lost.lost_engine = True
    also = {"a2": StepFailed("x", "h"), "s1": ZeroDivisionError("oops")}
    for errors in ({"a1": lost}, {"a1": lost, **also}):
        assert World(errors=errors).fail(RecoveryPending, a_bracket()).lost_engine
    assert not World(errors=also).fail(RecoveryPending, a_bracket()).lost_engine


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (CheckFailed("bad", "look"), CheckFailed),
        (Interrupted(15), Interrupted),
        (KeyboardInterrupt(), Interrupted),
        (QuiesceError("plain", "hint", details=["more"]), StepFailed),
        (ZeroDivisionError("oops"), StepFailed),
    ],
)
def test_the_kind_of_failure_decides_what_is_told(
    raised: BaseException, told: type[QuiesceError]
) -> None:
    """And with it the exit code."""
    error = World(errors={"first": raised}).fail(told, step("first"), step("second"))
    assert type(error) is told
    if isinstance(raised, CheckFailed | Interrupted):
        assert error is raised
    elif isinstance(raised, QuiesceError):
        assert (error.fact, error.hint, error.details) == ("plain", "hint", ("more",))
    elif isinstance(raised, KeyboardInterrupt):
        assert error.exit_code == Interrupted(2).exit_code
    else:
        assert "ZeroDivisionError" in error.fact
        assert error.hint == "everything was put back; --debug shows the traceback"


@pytest.mark.parametrize(
    ("where", "offered"),
    [("first", True), ("f1", True), ("a2", True), ("b1", False), ("e2", False)],
)
def test_what_may_wait_is_offered_where_nothing_depends_on_it(where: str, offered: bool) -> None:
    """Within a body a step is what the next ones need."""
    errors: dict[str, BaseException] = {where: StepFailed("x", "h")}
    if where == "f1":
        errors["b1"] = StepFailed("y", "h")
    world = World(errors=errors, later={where})
    nodes = (step("first"), a_bracket(), step("last"))
    if where == "f1" or not offered:
        error = world.fail(StepFailed, *nodes)
        assert error.fact == ("y" if where == "f1" else "x")
    else:
        world.execute(*nodes)
        assert world.done[-1] == "last"
    assert not any(line.startswith("end") and where in line for line in world.journal.lines)


@pytest.mark.parametrize("outermost", [True, False])
def test_a_signal_while_things_are_put_back_ends_the_plan_after_its_bracket(
    outermost: bool,
) -> None:
    """Nothing is left half done, and nothing else is begun; the hint says so."""
    world = World()
    send = world.handle

    def interrupted(one: s.CheckStarted, run: Run) -> str:
        if one.why == "a1":
            world.interrupts._handle(15, None)
        return send(one, run)

    world.handle = interrupted  # type: ignore[method-assign]
    bracket = a_bracket()
    if not outermost:
        bracket = Bracket("outer", (), (bracket, step("o1")), (), (), steps("o2"))
    error = world.fail(Interrupted, bracket, step("last"))
    assert world.done == "e1 e2 b1 b2 s1 s2 a1 a2".split() + ["o2"] * (not outermost)
    assert ("steps that had begun were completed" in error.hint) == outermost
    assert world.journal.end == "failed"


def test_a_signal_after_the_last_bracket_is_not_forgotten() -> None:
    """The plan is done; whoever sent it is told."""
    world = World()
    with world.interrupts.shield():
        world.interrupts._handle(2, None)
    error = world.fail(Interrupted, step("first"))
    assert world.done == ["first"]
    assert "steps that had begun were completed" in error.hint


def test_a_signal_is_never_left_for_later() -> None:
    """Whoever sent it wants an end now."""
    world = World(errors={"first": Interrupted(2)}, later={"first"})
    world.fail(Interrupted, step("first"), step("last"))
    assert world.done == ["first"]


@pytest.mark.parametrize(
    ("full", "done"), [("owed", ""), ("begin", "f1 f2 a1 a2"), ("end", "e1 e2 b1 b2 s1 s2 a1 a2")]
)
def test_what_cannot_be_written_down_is_not_begun_but_put_back(full: str, done: str) -> None:
    """A full disk keeps no service down."""
    world = World()
    world.journal.full = {full}
    if full == "end":
        world.execute(a_bracket())
        assert world.journal.end == "done"
        assert ("warns", "cannot write the journal: No space left on device") in world.said
    else:
        error = world.fail(StepFailed, a_bracket())
        assert error.fact.startswith("cannot write the journal: ")
    assert world.done == done.split()


def test_an_end_that_cannot_be_written_is_only_said() -> None:
    """Everything is settled: a recovery finds nothing to do."""
    world = World()
    world.journal.full = {"close"}
    world.execute(step("first"))
    assert world.said[-1][0] == "warns"
    assert world.said[-1][1].startswith("cannot write the end of the journal: ")
