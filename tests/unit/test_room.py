"""What a new set is expected to need, and what is decided about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.errors import RequestError
from quiesce.execute import journal
from quiesce.model import BackupSet, Member, OffsiteStore, Recipients, VolumeRecord
from quiesce.observe import on_same_disk
from quiesce.plan import expected, room
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.cold import plan_cold
from quiesce.plan.expected import OWN, Expected, NewSet, Sizes, expect
from quiesce.plan.offsite import with_pushing
from quiesce.plan.steps import Plan
from tests.support.builders import RUN, a_cold_set, a_set, a_stack, a_world

MB = 1_000_000
ONE_VOLUME = NewSet("full", cold=False, databases=(), volumes=("backend-media",))
ONE_DATABASE = NewSet("full", cold=False, databases=("rulesdb",), volumes=())
BACKUPS = Path("/stack/backups")
UNMEASURED = Sizes()


def the_set(stored: int, was: int, name: str = "core-20261120-020000") -> BackupSet:
    """A set of one volume that took `stored` bytes and had `was` bytes in it."""
    file = "volumes/backend-media.0.tar.zst"
    made = a_set(name, databases=(), volumes=("backend-media",))
    return replace(
        made,
        manifest=replace(
            made.manifest,
            members=(Member("m", "volume", "backend-media", file, stored, "b" * 64),),
            volumes=(VolumeRecord("backend-media", "app", 3, was, (file,), None, "zstd"),),
        ),
    )


def needs(new: NewSet, sets: Sequence[BackupSet] = (), sizes: Sizes = UNMEASURED) -> Expected:
    """What is expected, without what every run needs."""
    found = expect("core", new, sets, sizes)
    return replace(found, least=found.least - OWN, about=found.about - OWN)


def test_every_run_needs_some_room() -> None:
    """Its journal reserves it, and a manifest is in every set."""
    assert OWN > journal._ROOM
    assert expect("core", replace(ONE_VOLUME, volumes=()), [], Sizes()) == Expected(OWN, OWN)


def test_the_newest_set_with_the_same_content_decides() -> None:
    """By what its members took: two databases of 1000 bytes and two volumes of 500."""
    new = NewSet("full", False, ("rulesdb",), ("redis-data",))
    assert needs(new, [a_set()], Sizes()) == Expected(1500, 1800, "core-20261120-020000")
    before, newest = the_set(9000, 400, "core-20261119-020000"), the_set(1000, 400)
    assert needs(ONE_VOLUME, [before, newest]) == Expected(1000, 1200, newest.name)
    older = a_set("core-20261119-020000", volumes=("redis-data", "backend-media", "postgres-data"))
    both = NewSet("full", False, (), ("redis-data", "postgres-data"))
    assert needs(both, [older, a_set()], Sizes()).least == 1000


@pytest.mark.parametrize(
    "other",
    [
        a_set(instance="other"),
        a_set(safety=True),
        a_set(kind="data"),
        a_set(mode="cold"),
    ],
)
def test_a_set_of_another_kind_says_nothing(other: BackupSet) -> None:
    """The source has no earlier set then: its size is unknown."""
    assert needs(ONE_VOLUME, [other], Sizes()) == Expected(0, 0, unknown=("backend-media",))


def test_a_cold_set_is_compared_with_cold_ones() -> None:
    """Its volumes are the whole servers."""
    new = NewSet("full", True, (), ("postgres-data",))
    assert needs(new, [a_cold_set(), a_set()], Sizes()).least == 500


def test_what_belongs_to_no_source_counts() -> None:
    """Roles, the stack's files and other documents, as in the newest set."""
    made = the_set(1000, 1000)
    more = (
        Member("g", "globals", "db", "databases/globals.sql", 70, ""),
        Member("s", "stack", "", "stack/stack.yaml", 30, ""),
        # A service may have the name that a volume has.
        Member("o", "globals", "backend-media", "databases/globals-other.sql", 100, ""),
    )
    made = replace(made, manifest=replace(made.manifest, members=(*made.manifest.members, *more)))
    assert needs(ONE_VOLUME, [made], Sizes()).least == 1200
    assert needs(ONE_VOLUME, [made, made], Sizes()).least == 1200


@pytest.mark.parametrize(
    ("now", "least", "about"),
    [
        (10 * MB, 4 * MB, 4.8 * MB),  # as it was
        (20 * MB, 5 * MB, 9.6 * MB),  # what came may compress well, or as the rest
        (8 * MB, 2 * MB, 3.84 * MB),  # what went may be what did not compress
        (5 * MB, 0, 2.4 * MB),
    ],
)
def test_a_volume_that_changed_is_scaled(now: int, least: float, about: float) -> None:
    """It took 4 MB when it had 10 MB."""
    found = needs(ONE_VOLUME, [the_set(4 * MB, 10 * MB)], Sizes(volumes={"backend-media": now}))
    assert (found.least, found.about) == (least, about)


def test_growth_is_no_more_than_what_came() -> None:
    """An archive of almost nothing is mostly headers: it does not grow by the same factor."""
    sizes = Sizes(volumes={"backend-media": 2 * MB})
    assert needs(ONE_VOLUME, [the_set(600, 3)], sizes).about <= (2 * MB + 600) * 1.2
    assert needs(ONE_VOLUME, [the_set(600, 0)], sizes).about == int((2 * MB + 600) * 1.2)
    empty = Sizes(volumes={"backend-media": 0})
    assert needs(ONE_VOLUME, [the_set(600, 0)], empty).about == 720


def test_without_a_set_sizes_are_the_most_and_a_tenth_the_least() -> None:
    """Of a database without what an empty one has."""
    sizes = Sizes({"rulesdb": expected.EMPTY_DATABASE + MB}, {"backend-media": 2 * MB})
    new = replace(ONE_VOLUME, databases=("rulesdb",))
    assert needs(new, [], sizes) == Expected(300_000, 3 * MB)
    assert needs(ONE_DATABASE, [], Sizes({"rulesdb": 7 * MB})) == Expected(0, 0)


def test_an_encrypted_set_needs_its_largest_part_twice() -> None:
    """A store's own copies are made after the set: they only make it close."""
    new = NewSet("full", False, ("rulesdb",), ("redis-data",))
    plain = needs(new, [a_set()], Sizes())
    encrypted = needs(replace(new, encrypted=True), [a_set()], Sizes())
    assert (encrypted.least, encrypted.about) == (plain.least + 1000, plain.about + 1200)
    spooled = needs(replace(new, spooled=True), [a_set()], Sizes())
    assert (spooled.least, spooled.about) == (plain.least, plain.about + 1200)
    unknown = needs(replace(new, encrypted=True), [], Sizes())
    assert (unknown.least, unknown.about) == (0, 0)


def a_plan(**fields: object) -> Plan:
    """A consistent backup of everything."""
    return plan_backup(a_stack(**fields), a_world(), BackupRequest(), RUN, "core-20261121-020000")


def test_the_set_is_the_one_in_the_plan() -> None:
    """Only the chosen sources, cold copies as such, and who encrypts."""
    found = room.new_set(a_stack(), a_plan())
    volumes = ("redis-data", "backend-media", "backend-static")
    assert found == NewSet("full", False, ("rulesdb", "memorydb"), volumes)
    cold = plan_cold(a_stack(), a_world(), BackupRequest(mode="cold"), RUN, "core-20261121-020000")
    new = room.new_set(a_stack(), cold)
    assert new is not None
    assert (new.cold, new.databases) == (True, ())
    assert "postgres-data" in new.volumes
    own = a_stack(recipients=Recipients(age=("age1x",)))
    assert room.new_set(own, a_plan(recipients=own.recipients)) == replace(found, encrypted=True)
    assert room.default_set(a_stack(), a_world()) == found
    lacking = a_world(missing_volumes=["redis-data"])
    assert room.default_set(a_stack(), lacking).volumes == volumes[1:]


def test_another_set_like_one_is_cold_if_that_is() -> None:
    """It is compared with sets of its own kind."""
    for made, cold in ((a_set(), False), (a_cold_set(), True)):
        new = room.set_like(made)
        assert (new.kind, new.cold, new.encrypted) == ("full", cold, False)
        assert {*new.databases, *new.volumes} == set(made.manifest.sources)


def test_only_databases_that_are_there_have_a_size() -> None:
    """One that is to be created has none, and a server that is down says nothing."""
    for world in (a_world({"db": "exited"}), a_world(missing_databases=["rulesdb", "memorydb"])):
        assert room.database_sizes(world) == Sizes()
    assert room.database_sizes(a_world()).databases == {
        "rulesdb": 10_000_000,
        "memorydb": 10_000_000,
    }


@pytest.mark.parametrize("key", [("age1x",), ()])
def test_a_store_that_encrypts_needs_room(key: tuple[str, ...]) -> None:
    """A store that gets the files as they are needs none."""
    store = OffsiteStore("away", "/elsewhere", recipients=Recipients(age=key))
    stack = a_stack(stores=(store,))
    found = room.new_set(stack, with_pushing(stack, (), a_plan(), "core-20261121-020000"))
    assert found is not None
    assert found.spooled == bool(key)


def test_sizes_are_measured_where_they_matter() -> None:
    """With plenty of room, only what no set has."""
    stack, made = a_stack(), a_set()
    new = room.default_set(stack, a_world())
    roomy, tight = a_world(), replace(a_world(), free_bytes=10 * MB)
    assert room.to_measure(stack, new, [made], roomy) == {"backend-static"}
    assert room.to_measure(stack, new, [made], tight) == set(new.volumes)
    little = replace(a_world(), free_bytes=room.LITTLE)
    assert room.to_measure(stack, ONE_VOLUME, [the_set(1, 1)], little) == set()
    large = the_set(10**12, 10**12)
    assert room.to_measure(stack, ONE_VOLUME, [large], roomy) == {"backend-media"}


def test_what_clearly_does_not_fit_is_refused_with_the_numbers() -> None:
    """The hint is for the moment: nothing was stopped."""
    with pytest.raises(RequestError) as refused:
        room.require_room(Expected(3 << 20, 4 << 20, "core-1"), 900 << 10, BACKUPS)
    assert refused.value.fact == (
        "the new set (judging by core-1) needs 3.0 MiB, but only 900.0 KiB is free in "
        "/stack/backups"
    )
    assert refused.value.hint.endswith("then try again; nothing was stopped")


def test_what_is_close_or_unknown_goes_on_with_a_warning() -> None:
    """Up to the byte."""
    known = Expected(1000, 1200, "core-1")
    assert room.require_room(known, 1200, BACKUPS) == ""
    assert "it may not fit" in room.require_room(known, 1199, BACKUPS)
    assert "it may not fit" in room.require_room(known, 1000, BACKUPS)
    assert "media is unknown" in room.require_room(Expected(0, 0, "", ("media",)), 5, BACKUPS)
    with pytest.raises(RequestError):
        room.require_room(known, 999, BACKUPS)


@pytest.mark.parametrize(
    ("free", "level"), [(1200, "ok"), (1199, "warning"), (1000, "warning"), (999, "error")]
)
def test_check_says_the_same(free: int, level: str) -> None:
    """With a hint unless it fits."""
    found = room.room_finding(Expected(1000, 1200, "core-1"), free, BACKUPS)
    assert found.level == level
    assert "the next set needs about 1.2 KiB, judging by core-1" in found.fact
    assert bool(found.hint) == (level != "ok")


@pytest.mark.parametrize(
    ("about", "unknown", "said"),
    [
        (OWN, ("media",), "it is unknown how much"),
        (OWN, (), "needs about 320.0 KiB, judging by"),
        (OWN + 1, ("media",), "; the size of media is unknown"),
    ],
)
def test_check_says_that_it_knows_nothing_only_if_that_is_so(
    about: int, unknown: tuple[str, ...], said: str
) -> None:
    """Without any earlier set, and without sizes."""
    found = room.room_finding(Expected(OWN, about, "", unknown), 1 << 30, BACKUPS)
    assert said in found.fact
    assert ("needs about" in found.fact) == ("unknown how" not in said)


def test_what_fits_to_the_byte_is_not_refused() -> None:
    """By a restore."""
    room.refuse_short("it", 1000, 1000, "", "")
    with pytest.raises(RequestError, match="it needs"):
        room.refuse_short("it", 1000, 999, "", "")


def test_a_safety_set_beside_what_is_unpacked_needs_room_for_both() -> None:
    """Up to the byte; the hint says what needs less."""
    needed = Expected(1000, 1200, "core-1")
    room.require_room_beside(needed, 500, "core-2", 1500, BACKUPS)
    with pytest.raises(RequestError, match="core-2 and making a safety set") as refused:
        room.require_room_beside(needed, 500, "core-2", 1499, BACKUPS)
    assert "--safety-first" in refused.value.hint


def test_a_disk_that_may_not_be_looked_at_is_not_known_to_be_the_same(tmp_path: Path) -> None:
    """As for an ordinary user and the volumes of an engine; a folder may be still to be made."""
    assert on_same_disk(tmp_path / "backups", tmp_path)
    assert not on_same_disk(tmp_path, None)
    assert not on_same_disk(tmp_path, tmp_path / "gone" / "_data")
    assert not on_same_disk(tmp_path, Path("/proc"))
