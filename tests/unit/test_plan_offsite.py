"""Which sets go to which store, which come back, and which are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quiesce.errors import RequestError
from quiesce.model import (
    BackupSet,
    OffsiteSet,
    OffsiteStore,
    Recipients,
    Retention,
    SetState,
    Stack,
    Trust,
)
from quiesce.plan import offsite
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.set_ref import SetRef
from tests.support.builders import RUN, a_set, a_stack, a_world

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FEW = Retention("few", keep_last=2)
AWAY = OffsiteStore("away", "s3://bucket", retention=FEW)
DISK = OffsiteStore("disk", "/mnt/disk")


def a_stack_with(*stores: OffsiteStore) -> Stack:
    """The example stack with these stores."""
    return replace(a_stack(), stores=stores)


def made(name: str, *pushed: str, good: bool = True, instance: str = "core") -> BackupSet:
    """A set here, and the stores that hold it."""
    backup = a_set(name, instance=instance)
    return replace(backup, state=SetState(verified_good=good, pushed=dict.fromkeys(pushed, NOW)))


def stored(name: str, kind: str = "full", age: int = 0, encryption: str = "") -> OffsiteSet:
    """A set in a store."""
    at = NOW - timedelta(days=age)
    return OffsiteSet(1, name, "core", at, kind, (), False, encryption, ())  # type: ignore[arg-type]


def pushes(nodes: Sequence[s.Node]) -> list[tuple[str, str]]:
    """What is sent where, in order."""
    return [(node.set, node.store) for node in nodes if isinstance(node, s.PushSet)]


NEW, SENT, BAD, OTHER = (
    made("core-3"),
    made("core-2", "away"),
    made("core-1", good=False),
    made("twin-1", instance="twin"),
)
SETS = (BAD, SENT, NEW, OTHER)


def test_what_a_store_lacks_is_sent_oldest_first() -> None:
    """Good sets of this instance."""
    assert offsite.pending(a_stack(), SETS, "away") == (NEW,)
    assert offsite.pending(a_stack(), SETS, "disk") == (SENT, NEW)


def test_what_was_never_verified_is_named_until_every_store_has_it() -> None:
    """Whoever wants it there sends it by name."""
    stack = a_stack_with(AWAY, DISK)
    half = made("core-0", "away", good=False)
    assert offsite.held_back(stack, (*SETS, half), None) == ("core-1", "core-0")
    assert offsite.held_back(stack, (*SETS, half), "away") == ("core-1",)
    assert offsite.held_back(stack, (made("x", "away", "disk", good=False),), None) == ()


def test_a_backup_is_sent_right_after_it_was_verified_and_stores_are_pruned_at_the_end() -> None:
    """With what earlier runs could not send before it."""
    stack = a_stack_with(AWAY, DISK)
    plan = plan_backup(stack, a_world(), BackupRequest(), RUN, "core-4")
    made_plan = offsite.with_pushing(stack, SETS, plan, "core-4")
    kinds = [type(node) for node in made_plan.nodes]
    at = kinds.index(s.VerifySet)
    sent = [("core-3", "away"), ("core-4", "away")]
    sent += [("core-2", "disk"), ("core-3", "disk"), ("core-4", "disk")]
    assert pushes(made_plan.nodes) == pushes(made_plan.nodes[at + 1 : at + 6]) == sent
    # Data that stack.yaml does not mention ends the run with 7, but prevents nothing before.
    assert isinstance(made_plan.nodes[-1], s.CheckUndeclared)
    assert made_plan.nodes[-2] == s.PruneStore("away", "retention few")
    rest = [n for n in made_plan.nodes if not isinstance(n, s.PushSet | s.PruneStore)]
    assert tuple(rest) == plan.nodes


def test_a_push_takes_one_set_or_all_to_one_store_or_all() -> None:
    """A set that is named goes whatever is known of it."""
    stack = a_stack_with(AWAY, DISK)
    both = [("core-3", "away"), ("core-2", "disk"), ("core-3", "disk")]
    assert pushes(offsite.plan_push(stack, RUN, SETS, None, None).nodes) == both
    assert pushes(offsite.plan_push(stack, RUN, SETS, None, "away").nodes) == both[:1]
    assert pushes(offsite.plan_push(stack, RUN, SETS, BAD, "disk").nodes) == [("core-1", "disk")]


def test_a_store_that_is_not_there_is_refused_with_the_one_that_is() -> None:
    """And an instance without any says where to name one."""
    for plan in (
        lambda stack, store: offsite.plan_push(stack, RUN, SETS, None, store),
        lambda stack, store: offsite.plan_pull(stack, RUN, "core-1", store),
        lambda stack, store: offsite.plan_prune_store(stack, RUN, store),
    ):
        with pytest.raises(RequestError, match="no store awy") as caught:
            plan(a_stack_with(AWAY), "awy")
        assert "away" in caught.value.hint
        with pytest.raises(RequestError, match="instance core has no store"):
            plan(a_stack(), "away")


def test_a_pull_carries_what_was_accepted() -> None:
    """Its own step asks again when it knows more."""
    plan = offsite.plan_pull(a_stack_with(AWAY), RUN, "core-1", "away", unsigned=True)
    (step,) = plan.nodes
    assert (step.set, step.store, step.unsigned, step.unencrypted) == (
        *("core-1", "away"),
        *(True, False),
    )
    (step,) = offsite.plan_pull(a_stack_with(AWAY), RUN, "c", "away", unencrypted=True).nodes
    assert (step.unsigned, step.unencrypted) == (False, True)


def test_a_store_is_pruned_by_its_own_rules_alone() -> None:
    """One without rules keeps everything."""
    stack = a_stack_with(AWAY, DISK, replace(AWAY, name="far"))
    (step,) = offsite.plan_prune_store(stack, RUN, "far", force=True).nodes
    assert (step.store, step.force) == ("far", True)
    (step,) = offsite.plan_prune_store(stack, RUN, "away").nodes
    assert (step.store, step.force) == ("away", False)
    with pytest.raises(RequestError, match="store disk has no retention rules"):
        offsite.plan_prune_store(stack, RUN, "disk")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("latest", "core-2"),
        ("latest:full", "core-2"),
        ("latest:data", "core-4"),
        ("core-1", "core-1"),
    ],
)
def test_a_set_is_found_by_its_name_or_as_the_newest_of_its_kind(wanted: str, found: str) -> None:
    """Of two made at once, the one with the later name."""
    sets = [
        stored("core-2"),
        stored("core-1"),
        stored("core-0", age=3),
        stored("core-4", "data"),
        stored("core-5", "data", age=1),
    ]
    assert offsite.resolve(a_stack(), sets, SetRef.parse(wanted), "away").name == found


def test_a_set_that_a_store_does_not_hold_is_refused() -> None:
    """With the nearest name, if there is any."""
    with pytest.raises(RequestError, match="store away contains no set core-2") as caught:
        offsite.resolve(a_stack(), [stored("core-1")], SetRef.parse("core-2"), "away")
    assert "core-1" in caught.value.hint
    with pytest.raises(RequestError) as caught:
        offsite.resolve(a_stack(), [], SetRef.parse("core-2"), "away")
    assert caught.value.hint == "it is empty"
    with pytest.raises(RequestError, match="store away contains no schema set of core"):
        offsite.resolve(a_stack(), [stored("core-1")], SetRef.parse("latest:schema"), "away")


REFUSED = "cannot confirm that x in away is yours"


@pytest.mark.parametrize(
    ("trust", "unsigned", "problem"),
    [
        ("signed", False, ""),
        ("noted", False, ""),
        ("unknown", False, ""),
        ("unsigned", False, REFUSED),
        ("foreign", False, REFUSED),
        ("unsigned", True, ""),
        ("foreign", True, ""),
        ("changed", False, "x in away was changed after the upload"),
        ("changed", True, "x in away was changed after the upload"),
    ],
)
def test_a_set_that_may_be_somebody_elses_needs_a_word(
    trust: Trust, unsigned: bool, problem: str
) -> None:
    """One that was changed on the way is never taken."""

    def require() -> None:
        offsite.require_trusted(stored("x"), AWAY, trust, unsigned=unsigned, unencrypted=False)

    assert offsite.is_ours(trust) == (trust in ("signed", "noted", "unknown"))
    if problem:
        with pytest.raises(RequestError, match=problem):
            require()
    else:
        require()


@pytest.mark.parametrize(
    ("encrypted_here", "encryption", "accepted", "refused"),
    [
        (True, "", False, True),
        (True, "", True, False),
        (True, "age", False, False),
        (False, "", False, False),
    ],
)
def test_a_set_in_the_clear_needs_a_word_where_sets_are_encrypted(
    encrypted_here: bool, encryption: str, accepted: bool, refused: bool
) -> None:
    """Whoever can write into the store can place such a set."""
    recipients = Recipients(age=("age1x",)) if encrypted_here else Recipients()
    store, found = replace(AWAY, recipients=recipients), stored("x", encryption=encryption)

    def require() -> None:
        offsite.require_trusted(found, store, "signed", unsigned=False, unencrypted=accepted)

    if refused:
        with pytest.raises(RequestError, match="is not encrypted"):
            require()
    else:
        require()
