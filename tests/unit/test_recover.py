"""What a dead run owes, from its plan and its journal."""

from __future__ import annotations

from dataclasses import replace

from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.recover import Progress, completed, pending_nodes
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.steps import Bracket, Plan, walk
from tests.support.builders import RUN, a_set, a_stack, a_world


def _backup() -> Plan:
    return plan_backup(a_stack(), a_world(), BackupRequest(), RUN, "core-1")


def _restore() -> Plan:
    request = RestoreRequest()
    return plan_restore(
        a_stack(), a_world(), a_set(), request, RestoreInputs(), RUN, "core-1-safety"
    )


def _position(plan: Plan, kind: type, title: str = "") -> str:
    return next(
        at
        for at, node in walk(plan.nodes)
        if isinstance(node, kind) and (not isinstance(node, Bracket) or node.why == title)
    )


def _kinds(nodes: tuple[s.Node, ...]) -> list[str]:
    return [type(node).__name__ for node in nodes]


def test_a_run_that_wrote_nothing_owes_nothing() -> None:
    """Its plan is on disk, and no bracket was entered."""
    assert pending_nodes(_backup(), Progress()) == ()


def test_a_stop_that_was_cut_short_is_repeated_before_anything_starts() -> None:
    """A container still stopping answers "healthy", then exits (rule 22)."""
    plan = _backup()
    outer = _position(plan, Bracket, "set core-1")
    window = _position(plan, Bracket, "services stopped")
    stop = _position(plan, s.StopServices)
    pending = pending_nodes(plan, Progress(pending={outer, window}, begun={stop}))
    assert _kinds(pending)[:2] == ["StopServices", "StartServices"]
    ended = pending_nodes(plan, Progress(pending={outer, window}, begun={stop}, ended={stop}))
    assert _kinds(ended)[0] == "StartServices"


def test_a_failed_set_is_discarded_only_when_it_was_not_finished() -> None:
    """Without `body-done` a death right after success would undo it."""
    plan = _backup()
    outer = _position(plan, Bracket, "set core-1")
    assert "DiscardStaging" in _kinds(pending_nodes(plan, Progress(pending={outer})))
    assert pending_nodes(plan, Progress(pending={outer}, body_done={outer})) == ()


def test_a_restore_that_died_before_any_service_ran_is_undone() -> None:
    """Nobody has seen the new state."""
    plan = _restore()
    brackets = {at for at, node in walk(plan.nodes) if isinstance(node, Bracket)}
    swap = _position(plan, s.SwapDatabases)
    kinds = _kinds(pending_nodes(plan, Progress(pending=brackets, begun={swap})))
    assert "PutBackDatabases" in kinds
    assert "PutBackVolume" in kinds
    assert kinds.index("PutBackDatabases") < kinds.index("StartServices")
    assert kinds.index("PutBackVolume") < kinds.index("FinishSwap")


def test_a_restore_that_died_after_a_service_ran_on_it_goes_forward() -> None:
    """What people have written since is never rolled back."""
    plan = _restore()
    brackets = {at for at, node in walk(plan.nodes) if isinstance(node, Bracket)}
    exchange = _position(plan, Bracket, "exchange")
    start = next(
        at
        for at, n in walk(plan.nodes)
        if at.startswith(f"{exchange}/body") and isinstance(n, s.StartServices)
    )
    kinds = _kinds(pending_nodes(plan, Progress(pending=brackets, begun={start})))
    assert "PutBackDatabases" not in kinds
    assert "PutBackVolume" not in kinds
    assert kinds.index("StartServices") < kinds.index("DropDatabase")
    dropped = {
        n.name
        for n in pending_nodes(plan, Progress(pending=brackets, begun={start}))
        if isinstance(n, s.DropDatabase)
    }
    assert all("__old_" in name for name in dropped)


def test_a_restore_that_died_between_its_exchange_and_its_end_goes_forward() -> None:
    """The exchange is settled, the restore around it not: what is aside is removed."""
    plan = _restore()
    brackets = {at for at, node in walk(plan.nodes) if isinstance(node, Bracket)}
    exchange = _position(plan, Bracket, "exchange")
    progress = Progress(pending=brackets, body_done={exchange}, settled={exchange})
    kinds = _kinds(pending_nodes(plan, progress))
    assert not {"PutBackDatabases", "PutBackVolume"} & set(kinds)
    dropped = [n.name for n in pending_nodes(plan, progress) if isinstance(n, s.DropDatabase)]
    assert dropped
    assert all("__old_" in name for name in dropped)


def test_a_restore_that_died_while_it_tidied_up_tidies_up() -> None:
    """Its services were back; what is aside would else stay for ever."""
    plan = _restore()
    brackets = {at for at, node in walk(plan.nodes) if isinstance(node, Bracket)}
    progress = Progress(pending=brackets, body_done=brackets, settled=brackets - {"/0"})
    kinds = _kinds(pending_nodes(plan, progress))
    assert kinds[-1] == "DiscardStaging"
    assert {"DropDatabase", "FinishSwap"} <= set(kinds)
    assert "StartServices" not in kinds


def test_a_run_did_what_it_was_for_once_its_rows_were_replaced() -> None:
    """Only rows count of the steps that have ended, and only when they have."""
    rows = s.ReplaceRows("set", "rulesdb", "rulesdb", "rulesdb.dump", (), False, why="asked for")
    plan = Plan(RUN, "restore", "core", "rows", "0", "ENGINE", (s.CheckStarted("x"), rows))
    assert completed(plan, Progress(ended={"/1"}))
    assert not completed(plan, Progress(ended={"/0"}))
    assert not completed(plan, Progress())


def test_a_run_did_what_it_was_for_once_every_outermost_bracket_has_its_body_done() -> None:
    """One of two is not enough, and a plan without any has nothing to go by."""
    two = tuple(Bracket(name, (), (s.CheckStarted(name),)) for name in ("one", "two"))
    plan = Plan(RUN, "backup", "core", "two", "0", "ENGINE", two)
    assert completed(plan, Progress(body_done={"/0", "/1"}))
    assert not completed(plan, Progress(body_done={"/1"}))
    assert not completed(Plan(RUN, "x", "core", "x", "0", "ENGINE", ()), Progress())


def check(name: str) -> s.CheckStarted:
    """A step that is told from others by its reason."""
    return s.CheckStarted(name)


INNER = Bracket("inner", (), (check("i0"), check("i1")), always=(check("i2"),), forward_from=1)
OUTER = Bracket("outer", (), (INNER, check("o1")), on_failure=(check("o2"),))
NESTED = Plan(RUN, "x", "core", "x", "0", "ENGINE", (check("0"), OUTER, check("2"), check("3")))


def _whys(progress: Progress, plan: Plan = NESTED) -> list[str]:
    return [node.why for node in pending_nodes(plan, progress)]


def test_what_is_in_use_inside_of_a_settled_bracket_carries_the_plan_on() -> None:
    """With the steps that have not ended, and without those that have."""
    pending = {"/1", "/1/body/0"}
    used = Progress(pending=pending, settled={"/1"}, begun={"/1/body/0/body/1"}, ended={"/0", "/3"})
    assert _whys(used) == ["i0", "i1", "i2", "2"]
    unused = replace(used, begun={"/1/body/0/body/0"})
    assert _whys(unused) == ["i2"]


def test_a_settled_bracket_carries_the_plan_on_only_if_it_can_be_in_use() -> None:
    """One with `forward_from` that has its body done: nothing of it is undone."""
    done = Progress(pending={"/1"}, settled={"/1"}, body_done={"/1"})
    assert _whys(done) == []
    forward = replace(OUTER, forward_from=0)
    plan = replace(NESTED, nodes=(check("0"), forward, check("2")))
    assert _whys(done, plan) == ["0", "2"]
    assert _whys(replace(done, body_done=()), plan) == []
    assert completed(plan, done)


def test_a_bracket_in_use_is_finished_and_one_that_is_not_is_undone() -> None:
    """By the first step from `forward_from` on that has begun."""
    plan = replace(NESTED, nodes=(INNER, check("1")))
    used = Progress(pending={"/0"}, begun={"/0/body/0", "/0/body/1"}, ended={"/0/body/0"})
    assert _whys(used, plan) == ["i1", "i2", "1"]
    assert _whys(replace(used, begun={"/0/body/0"}), plan) == ["i2"]
    assert completed(plan, used)
    assert not completed(plan, replace(used, begun={"/0/body/0"}))
