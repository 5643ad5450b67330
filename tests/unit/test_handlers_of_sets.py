"""What handlers of sets and stores ask of their ports, say and remember.

The ports only note it. What the real ones make of it is in tests/contract, tests/integration and
tests/e2e.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from quiesce.errors import (
    CheckFailed,
    Interrupted,
    QuiesceError,
    RequestError,
)
from quiesce.model import (
    LeftOutFile,
    Member,
    OffsiteObject,
    OffsiteSet,
    OffsiteStore,
    Plain,
    Recipients,
    Retention,
    SetState,
    StackFiles,
    Undeclared,
)
from quiesce.plan import steps as s
from quiesce.ports import Measured
from tests.support.builders import NOW, RUN, a_set, a_stack
from tests.support.handling import SET, World

# ---------------------------------------------------------------------------------------- sets


def test_the_description_of_the_stack_is_in_the_clear_only_in_a_set_that_is(
    tmp_path: Path,
) -> None:
    """`stack.yaml` may contain anything."""
    (tmp_path / "stack.yaml").write_bytes(b"format: 1\n")
    left_out = (LeftOutFile(".env", "it contains values"),)
    files = StackFiles({"files/app.conf": b"x"}, left_out)
    described = {"compose.yaml": b"services:\n"}
    world = World(runtime__description=described, runtime__stack_files=files)
    world.run.stack = a_stack(tmp_path)
    draft = world.draft()
    world.do(s.RecordStack(SET, ""))
    assert draft.stack_left_out == left_out
    assert draft.documents == {
        "stack/files/app.conf": b"x",
        "stack/stack.yaml": b"format: 1\n",
        "stack/compose.yaml": b"services:\n",
    }
    assert (draft.files, world.asked("store.write")) == ([], [])

    world.run.stack = a_stack(tmp_path, recipients=Recipients(("age1",)))
    draft = world.draft()
    world.do(s.RecordStack(SET, ""))
    assert draft.documents == {}
    assert world.asked("store.write") == [
        (RUN, SET, "stack/files/app.conf", b"x"),
        (RUN, SET, "stack/stack.yaml", b"format: 1\n"),
        (RUN, SET, "stack/compose.yaml", b"services:\n"),
    ]
    names = ("files/app.conf", "stack.yaml", "compose.yaml")
    assert draft.files == [(f"stack/{name}", "stack", "") for name in names]


def encrypted(run: str, name: str, plain: Measured, recipients: Recipients) -> Measured:
    """What the store makes of a member."""
    member = plain.member
    kept = Plain(member.file, member.bytes, member.sha256)
    return Measured(replace(member, file=f"{member.file}.age", plain=kept), (2,))


def test_every_member_is_encrypted_once_and_private_facts_leave_the_manifest() -> None:
    """They are in a member of their own, which is encrypted like the others."""
    world = World(store__encrypt=encrypted)
    world.run.stack = a_stack(recipients=Recipients(("age1",)))
    draft = world.draft()
    draft.files.append(("a.dump", "database", "rulesdb"))
    draft.databases.append(a_set().database("rulesdb"))
    said: list[tuple[str, int]] = []
    world.answers["sink.progress"] = lambda *facts: said.append(facts)
    assert world.do(s.EncryptSet(SET, "")) == "1 members"
    assert ("encrypting a.dump", 0) in said
    ((*where, facts),) = world.asked("store.write")
    assert where == [RUN, SET, "private.json"]
    assert b"1234" in facts
    names = [plain.member.file for _, _, plain, _ in world.asked("store.encrypt")]
    assert names == ["a.dump", "private.json"]
    world.answers["store.seal"] = a_set(SET)
    world.answers["runtime.images"] = {}
    world.do(s.SealSet(SET, ""))
    assert len(world.asked("store.encrypt")) == 2
    ((_, manifest, documents, measured),) = world.asked("store.seal")
    assert manifest.encryption == "age"
    assert [member.file for member in manifest.members] == ["a.dump.age", "private.json.age"]
    assert all(table.digest != "1234" for table in manifest.databases[0].tables)
    assert len(measured) == 2
    assert b"The members are encrypted" in documents["RESTORE.md"]
    draft.files.append(("late.sql", "globals", "db"))
    world.do(s.SealSet(SET, ""))
    assert world.asked("store.seal")[1][1].encryption == "age", "whatever else is in it"


def test_a_set_is_sealed_with_what_was_seen_of_the_run() -> None:
    """Its manifest says what it is, and whether it is consistent."""
    world = World(store__seal=a_set(SET), runtime__images={"db": "pg"}, store__open=Path("/s"))
    measured = Measured(Member("a", "database", "rulesdb", "a.dump", 1, "0"), (1,))
    world.answers["store.measure"] = measured
    world.seconds = 2.0
    opened = s.OpenSet(SET, "full", "consistent", "a label", True, ("db",), ("backend",), "")
    world.do(opened)
    assert world.asked("store.open") == [(RUN, SET)]
    draft = world.run.drafts[SET]
    draft.files.append(("a.dump", "database", "rulesdb"))
    draft.inconsistencies += ["", "redis ran", "web ran"]
    draft.doubts += ["", "housekeeping"]
    draft.databases.append(a_set().database("rulesdb"))
    world.seconds = 5.50049
    assert world.do(s.SealSet(SET, "")) == f"/stack/backups/{SET}"
    assert world.asked("store.measure") == [(RUN, SET, "a.dump", "database", "rulesdb")]
    ((run, manifest, documents, given),) = world.asked("store.seal")
    assert (run, given, documents.keys()) == (RUN, (measured,), {"RESTORE.md"})
    assert (manifest.consistent, manifest.inconsistency) == (False, "redis ran; web ran")
    assert (manifest.doubt, manifest.encryption) == ("housekeeping", "")
    assert (manifest.duration_seconds, manifest.created_at) == (3.5, NOW)
    assert (manifest.label, manifest.pinned, manifest.safety) == ("a label", True, False)
    assert manifest.services_running_before == ("db",)
    assert manifest.services_stopped == ("backend",)
    assert manifest.images == {"db": "pg"}
    assert manifest.databases[0].tables[0].digest == "1234"
    assert world.run.published == [a_set(SET)]

    world.draft(mode="live")
    world.do(s.SealSet(SET, ""))
    live = world.asked("store.seal")[1][1]
    assert (live.consistent, live.inconsistency) == (False, "services were not stopped")
    world.draft()
    world.do(s.SealSet(SET, ""))
    assert world.asked("store.seal")[2][1].consistent


def test_what_a_verification_found_is_remembered_before_it_is_told() -> None:
    """A damaged set is never the newest good one."""
    world = World(store__verify=(), store__sets=(a_set("other"),))
    world.run.published.append(a_set(SET))
    assert world.do(s.VerifySet(SET, "")) == "4 members good"
    assert world.asked("store.remember") == [(SET, SetState().checked("sums", NOW, good=True))]
    world.answers["store.verify"] = ("a.dump: wrong sum",)
    error = world.fail(s.VerifySet("other", ""), CheckFailed)
    assert [verified.name for verified, _ in world.asked("store.verify")] == [SET, "other"]
    assert (error.fact, error.details) == ("set other is damaged", ("a.dump: wrong sum",))
    name, state = world.asked("store.remember")[1]
    assert (name, state.verified_good) == ("other", False)


def test_a_mark_of_a_set_changes_nothing_else_of_it() -> None:
    """And a set that is gone meanwhile is said to be."""
    state = SetState(verified_good=True, pushed={"nas": NOW})
    backup = replace(a_set(SET), state=state)
    world = World(store__sets=(a_set("other"), backup))
    world.do(s.PinSet(SET, True, ""))
    world.do(s.PinSet(SET, False, ""))
    world.do(s.AcceptSet(SET, ""))
    assert world.asked("store.remember") == [
        (SET, replace(state, pinned=True)),
        (SET, replace(state, pinned=False)),
        (SET, replace(state, accepted=True)),
    ]
    assert world.fail(s.PinSet("gone", True, ""), RequestError).fact == (
        "set gone no longer exists"
    )


# ----------------------------------------------------------------- retention and other stores


def test_sets_that_expired_go_unless_the_new_one_looks_like_a_loss() -> None:
    """The user says then whether that is right."""
    before, small = a_set("before"), a_set("new", databases=("rulesdb",), volumes=("redis-data",))
    step = s.RemoveExpired(("old", "older"), "new", "before", "")
    world = World(store__sets=(before, small))
    assert world.do(step) == "held back"
    assert world.asked("store.remove") == []
    assert world.warned[0].startswith("nothing was pruned: new ")
    accepted = replace(small, state=SetState(accepted=True))
    for there in ((before, accepted), (before, a_set("new")), (small,), (before,)):
        world = World(store__sets=there)
        assert world.do(step) == "2 removed"
        assert world.asked("store.remove") == [("old",), ("older",)]
        assert world.warned == []


def test_what_was_sent_is_remembered_on_top_of_what_changed_meanwhile() -> None:
    """A set may be pinned while it is uploaded."""
    world = World()
    pinned = replace(a_set(SET), state=SetState(pinned=True, pushed={"nas": NOW}))
    there = iter([a_set(SET), pinned])
    world.answers["store.sets"] = lambda: (next(there),)
    world.answers["offsite.push"] = True
    step = s.PushSet(SET, "away", "")
    assert world.do(step) == ""
    ((store, backup, _),) = world.asked("offsite.push")
    assert (store, backup) == ("away", a_set(SET))
    assert world.asked("store.remember") == [
        (SET, SetState(pinned=True, pushed={"nas": NOW, "away": NOW}))
    ]
    world.answers |= {"store.sets": (a_set(SET),), "offsite.push": False}
    assert world.do(step) == "already there"


@pytest.mark.parametrize("hint", ["", "mend it"])
def test_a_set_that_cannot_be_sent_was_made_all_the_same(hint: str) -> None:
    """What to do is the store's own hint, or to wait for the next backup."""
    world = World(store__sets=(a_set(SET),), offsite__push=QuiesceError("full", hint))
    error = world.fail(s.PushSet(SET, "away", ""))
    assert error.fact == f"{SET} was made, but could not be uploaded to away: full"
    assert error.hint == (hint or "run 'inv push' later; the next backup uploads it as well")
    assert world.asked("store.remember") == []


def in_store(name: str, days: int, amount: int = 100) -> OffsiteSet:
    """A set in a store, so many days old."""
    return OffsiteSet(
        1, name, "core", NOW - timedelta(days=days), "full", ("rulesdb",), False, "",
        (OffsiteObject("a", "a", amount, ""),), amounts={"bytes media": amount},
    )  # fmt: skip


def store_world(*there: OffsiteSet, keep: int | None = 2) -> World:
    """A run whose stack has the stores nas and away, `there` being in away."""
    trust = {"offsite.trust": "signed", "offsite.accepted": frozenset()}
    world = World(offsite__sets=there, store__sets=())
    world.answers |= {**trust, "offsite.damaged": frozenset()}
    retention = Retention("few", keep_last=keep) if keep is not None else None
    stores = (
        OffsiteStore("nas", "file:///nas"),
        OffsiteStore("away", "file:///away", retention=retention),
    )
    world.run.stack = a_stack(stores=stores)
    return world


def test_a_store_is_pruned_by_its_own_rules() -> None:
    """The oldest first; a store without rules keeps everything."""
    there = [in_store(f"set-{days}", days) for days in (4, 3, 2, 1)]
    world = store_world(*there)
    assert world.do(s.PruneStore("away", "")) == "2 removed"
    assert world.asked("offsite.remove") == [("away", "set-4"), ("away", "set-3")]
    world = store_world(*there, keep=None)
    assert world.do(s.PruneStore("away", "")) == "no rules"
    assert world.asked("offsite.remove") == []


def test_a_set_in_a_store_that_looks_like_a_loss_keeps_the_older_ones() -> None:
    """Until it is accepted, which is remembered for that store."""
    there = [in_store("good-1", 4, 10**9), in_store("good-2", 3, 10**9)]
    there += [in_store("small-1", 2), in_store("small-2", 1)]
    world = store_world(*there)
    assert world.do(s.PruneStore("away", "")) == "0 removed"
    assert "older sets are kept because" in world.warned[0]
    assert world.asked("offsite.remove") == []
    assert world.asked("offsite.accept") == []
    world = store_world(*there)
    world.answers["offsite.trust"] = "unsigned"
    assert world.do(s.PruneStore("away", "", force=True)) == "2 removed"
    assert world.asked("offsite.remove") == [("away", "good-1"), ("away", "good-2")]
    assert world.asked("offsite.accept")[0] == ("away", "small-1")


def test_a_set_is_pulled_into_a_folder_of_the_run_and_known_to_be_in_that_store() -> None:
    """Its sums were compared on the way."""
    world = store_world(in_store("other", 2), in_store(SET, 1))
    adopted = replace(a_set(SET), state=SetState(pushed={"nas": NOW}))
    world.answers |= {
        "store.open": Path("/runs/pulled"),
        "offsite.pull": Path("/runs/pulled/x"),
        "store.adopt": adopted,
    }
    assert world.do(s.PullSet(SET, "away", "")) == str(adopted.path)
    assert world.asked("offsite.sets") == [("away",)]
    assert world.asked("store.open") == [(RUN, "pulled")]
    assert world.asked("offsite.pull")[0][:3] == ("away", SET, Path("/runs/pulled"))
    assert world.asked("store.adopt") == [(Path("/runs/pulled/x"),)]
    state = adopted.state.checked("sums", NOW, good=True)
    assert world.asked("store.remember") == [
        (SET, replace(state, pushed={"nas": NOW, "away": NOW}))
    ]
    assert world.run.published == [adopted]
    assert world.fail(s.PullSet("gone", "away", "")).fact == "gone is no longer in away"
    world.answers["offsite.trust"] = "unsigned"
    world.calls.clear()
    world.fail(s.PullSet(SET, "away", ""))
    assert world.asked("offsite.pull") == []
    world.do(s.PullSet(SET, "away", "", unsigned=True))
    nas, away = world.run.stack.stores
    away = replace(away, recipients=Recipients(("age1",)))
    world.run.stack = replace(world.run.stack, stores=(nas, away))
    error = world.fail(s.PullSet(SET, "away", "", unsigned=True))
    assert error.fact.startswith(f"{SET} in away is not encrypted, although")


def test_what_nobody_declared_is_looked_for_again_and_reported_once_the_set_is_published() -> None:
    """What was found at the start counts, too, and all of it if nobody can look again."""
    early = Undeclared("database", "early", "is there", "declare it")
    world = World(databases__undeclared=("late", "left"))
    draft = world.draft()
    step = s.FindUndeclared(SET, ("database",), (early,), ("left",), "")
    words = world.do(step)
    assert [one.name for one in draft.undeclared] == ["early", "late"]
    assert "late" in words
    assert "left" not in words
    ((asked,),) = world.asked("databases.undeclared")
    assert [one.key for one in asked] == ["rulesdb", "memorydb"]
    world.do(replace(step, data=("volume",)))
    assert len(world.asked("databases.undeclared")) == 1
    assert draft.undeclared == ()
    world.answers["databases.undeclared"] = QuiesceError("no answer")
    assert world.do(step) == ""
    assert draft.undeclared == (early,)
    assert world.warned == [
        "cannot look again for data that stack.yaml does not mention: no answer"
    ]
    world.answers["databases.undeclared"] = Interrupted(2)
    world.fail(step, Interrupted)

    world.run.published += [a_set(SET), a_set("other", undeclared=(early,))]
    assert world.do(s.CheckUndeclared(SET, "")) == ""
    error = world.fail(s.CheckUndeclared("other", ""), CheckFailed)
    assert error.hint.startswith("declare it; ")
    assert len(error.details) == 1
