"""Which sets stay: restic's rules in the configured zone, and the guards that only keep more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.model import Check, Retention, SetState
from quiesce.plan.prune import after_backup, expired
from quiesce.plan.retention import Candidate, candidate, decide, suspicions
from tests.support.builders import a_database_record, a_set, a_stack
from tests.support.year import GROUP, made_at

VIENNA = ZoneInfo("Europe/Vienna")
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def days(*ago: float) -> list[Candidate]:
    """Good sets made so many days before now."""
    return [made_at(NOW - DAY * number) for number in ago]


def left(sets: Sequence[Candidate], now: datetime = NOW, **rules: float) -> list[Candidate]:
    """The sets that stay, in the order given."""
    kept = decide(sets, Retention("test", **rules), now, VIENNA)  # type: ignore[arg-type]
    return [entry for entry in sets if kept[entry.name]]


# ------------------------------------------------------------------------------------- the rules

TABLES = {
    "last": (Retention("p", keep_last=2), ["keep_last", "keep_last", "", "", "", "", "", ""]),
    "within": (
        Retention("p", keep_last=1, keep_within=86_400.0),
        ["keep_last, keep_within", "keep_within", "keep_within", "", "", "", "", ""],
    ),
    "hourly: the hour that comes twice is two hours": (
        Retention("p", keep_last=1, keep_hourly=4),
        [
            "keep_last, keep_hourly 2026-10-25 12:00+0100",
            "keep_hourly 2026-10-25 02:00+0100",
            "keep_hourly 2026-10-25 02:00+0200",
            "keep_hourly 2026-10-24 12:00+0200",
            "",
            "",
            "",
            "",
        ],
    ),
    "daily: the long day is one day": (
        Retention("p", keep_last=1, keep_daily=2),
        [
            "keep_last, keep_daily 2026-10-25",
            "",
            "",
            "keep_daily 2026-10-24",
            "",
            "",
            "",
            "",
        ],
    ),
    "weekly: by the year of the week": (
        Retention("p", keep_last=1, keep_weekly=4),
        [
            "keep_last, keep_weekly 2026-W43",
            "",
            "",
            "",
            "keep_weekly 2021-W01",
            "keep_weekly 2020-W53",
            "",
            "",
        ],
    ),
    "monthly and yearly": (
        Retention("p", keep_last=1, keep_monthly=3, keep_yearly=2),
        [
            "keep_last, keep_monthly 2026-10, keep_yearly 2026",
            "",
            "",
            "",
            "keep_monthly 2021-01, keep_yearly 2021",
            "",
            "",
            "keep_monthly 2020-12",
        ],
    ),
}
HISTORY = [
    datetime(2026, 10, 25, 11, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # 02:30 for the second time
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # 02:30 for the first time
    datetime(2026, 10, 24, 10, 30, tzinfo=UTC),
    datetime(2021, 1, 4, 10, tzinfo=UTC),
    datetime(2021, 1, 3, 10, tzinfo=UTC),  # a Sunday of 2020-W53
    datetime(2020, 12, 31, 23, 30, tzinfo=UTC),  # 2021 in Vienna
    datetime(2020, 12, 31, 22, 30, tzinfo=UTC),
]


@pytest.mark.parametrize("case", TABLES)
def test_a_policy_keeps_what_the_table_says(case: str) -> None:
    """Every set of one history with the rules that keep it, newest first."""
    policy, expected = TABLES[case]
    sets = [made_at(when) for when in HISTORY]
    reasons = decide(sets, policy, NOW, VIENNA)
    assert [", ".join(reasons[entry.name]) for entry in sets] == expected


def test_a_day_that_clocks_take_back_is_one_day() -> None:
    """In Newfoundland of 2010 clocks went back at 00:01 into the day before."""
    newfoundland = ZoneInfo("America/St_Johns")
    midnight = datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC)  # 00:00:30 on the 7th
    offsets = (0, 40, 80, 100)
    sets = [made_at(midnight + timedelta(minutes=number)) for number in offsets]
    local = [f"{s.created_at.astimezone(newfoundland):%d}" for s in sets]
    assert local == ["07", "06", "07", "07"]
    reasons = decide(sets, Retention("p", keep_last=1, keep_daily=9), NOW, newfoundland)
    assert [bool(reasons[s.name]) for s in sets] == [False, True, False, True]


# ------------------------------------------------------------------------------------ the guards


def test_failing_backups_do_not_let_good_sets_grow_too_old() -> None:
    """A year without any backup: an age rule counts from the newest set, not from now."""
    sets = days(365, 366, 367, 380)
    assert left(sets, keep_within=7 * 86_400.0) == sets[:3]


def test_nothing_is_removed_where_nothing_was_verified() -> None:
    """A set nobody has read may be worth nothing, and so replaces no other."""
    sets = [replace(entry, verified=None) for entry in days(0, 1, 2, 3)]
    assert left(sets, keep_last=1) == sets


def test_an_unverified_set_takes_nobodys_place() -> None:
    """The newest verified one stays besides it, and both rules count verified ones only."""
    fresh, *old = days(0, 1, 2, 3)
    sets = [replace(fresh, verified=None), *old]
    assert left(sets, keep_last=1) == sets[:2]


def test_a_damaged_set_counts_for_nothing_and_goes_with_its_age() -> None:
    """It stays, for a person to look at, while good sets as old are kept."""
    one, two, three, four, five = days(0, 1, 2, 3, 4)
    sets = [one, replace(two, verified=False), three, replace(four, verified=False), five]
    assert left(sets, keep_last=2) == sets[:3]
    broken = [replace(entry, verified=False) for entry in sets]
    assert left(broken, keep_last=1) == broken


def test_a_pinned_set_stays_for_ever() -> None:
    """Whatever its age."""
    sets = [*days(0, 1, 2), replace(made_at(NOW - 5000 * DAY), pinned=True)]
    assert left(sets, keep_last=1) == [sets[0], sets[3]]


def test_a_policy_without_any_rule_removes_nothing() -> None:
    """Configuration refuses it; this is the second lock."""
    sets = days(0, 1, 2, 3)
    assert left(sets) == sets


def test_two_good_sets_stay_unless_the_policy_asks_for_one() -> None:
    """The floor: a policy of one year would otherwise leave a single set."""
    sets = days(0, 1, 2)
    assert left(sets, keep_yearly=1) == sets[:2]
    assert left(sets, keep_last=1) == sets[:1]


def test_a_set_of_the_future_neither_goes_nor_takes_a_place() -> None:
    """A clock that was wrong once does not make one set the newest for ever."""
    future = made_at(NOW + 3650 * DAY)
    sets = [future, *days(0, 1, 2)]
    assert left(sets, keep_within=86_400.0, keep_last=2) == sets[:3]
    # When its time has come, it is a set like any other.
    later = NOW + 3651 * DAY
    assert future in left(sets, later, keep_last=1)


def test_each_group_is_decided_about_for_itself() -> None:
    """A set of one database does not push out a full one; safety sets have their own rule."""
    full = days(0, 1, 2)
    data = [replace(s, name=f"d-{s.name}", group=("core", "data", (), False)) for s in full]
    safety = [replace(s, name=f"s-{s.name}", group=(*GROUP[:3], True)) for s in days(*range(20))]
    kept = left([*full, *data, *safety], keep_last=1)
    assert kept == [full[0], data[0], *safety[:7]]


# ------------------------------------------------------------------------------------- suspicion


def holding(sets: Sequence[Candidate], *rows: int) -> list[Candidate]:
    """The same sets with so many rows."""
    return [
        replace(entry, amounts={("rows", "rulesdb"): count, ("bytes", "the whole set"): 5_000_000})
        for entry, count in zip(sets, rows, strict=True)
    ]


def test_a_set_with_far_fewer_rows_holds_back_what_is_older() -> None:
    """And goes on doing so when the next sets are as small: the loss is still there. It stays
    itself, too: a later prune would have nothing left to doubt."""
    sets = holding(days(0, 1, 2, 3, 4), 10, 10, 1000, 1000, 1000)
    (suspicion,) = suspicions(sets, NOW)
    assert str(suspicion) == (
        f"{sets[1].name} contains 10 rows of rulesdb, far fewer than the 1,000 of {sets[2].name}"
    )
    assert left(sets, keep_last=1) == sets
    reasons = decide(sets, Retention("p", keep_last=1), NOW, VIENNA)
    assert reasons[sets[4].name] == ("held back",)


def test_an_accepted_loss_holds_nothing_back() -> None:
    """`prune --force` writes down that this is right."""
    sets = holding(days(0, 1, 2), 10, 1000, 1000)
    accepted = [replace(sets[0], accepted=True), *sets[1:]]
    assert suspicions(accepted, NOW) == ()
    assert left(accepted, keep_last=1) == accepted[:1]


@pytest.mark.parametrize(
    ("before", "after", "suspicious"),
    [
        (1000, 499, True),
        (1000, 500, False),
        (150, 60, False),
        (190, 90, True),
        (190, 91, False),
        (2, 0, True),
        (0, 0, False),
    ],
)
def test_only_much_less_is_suspicious(before: int, after: int, suspicious: bool) -> None:
    """Half is the line, small numbers vary, and nothing at all is always a loss."""
    sets = holding(days(0, 1), after, before)
    assert bool(suspicions(sets, NOW)) is suspicious


def test_what_is_measured_is_in_the_manifest() -> None:
    """Rows per database, files and bytes per volume, and the set's own size."""
    backup = replace(a_set(), state=SetState(pinned=True, verified_good=True))
    seen = candidate(backup)
    assert seen.group == (
        "core",
        "full",
        ("backend-media", "memorydb", "redis-data", "rulesdb"),
        False,
    )
    assert (seen.pinned, seen.verified) == (True, True)
    assert seen.amounts is not None
    assert seen.amounts["rows", "rulesdb"] == 2
    assert seen.amounts["files", "backend-media"] == 3
    empty = a_set(name="core-20261121-020000")
    record = a_database_record("rulesdb", tables=())
    others = tuple(d for d in empty.manifest.databases if d.key != "rulesdb")
    manifest = replace(empty.manifest, databases=(record, *others), created_at=NOW)
    emptied = replace(empty, manifest=manifest, state=SetState(verified_good=True))
    (found,) = suspicions([seen, candidate(emptied)], NOW)
    assert "0 rows of rulesdb" in found.fact


# ----------------------------------------------------------------------------- after a new backup


def test_a_backup_prunes_what_its_own_set_replaces() -> None:
    """The plan names the sets, and the set that the new one is compared with."""
    stack = a_stack()
    contents = ("rulesdb",)
    sets = holding(days(1, 2, 3, 4), 9, 9, 9, 9)
    (step,) = after_backup(stack, sets, "core-new", "full", contents, NOW, VIENNA)
    assert step.sets == (sets[3].name, sets[2].name)
    assert (step.new, step.before) == ("core-new", sets[0].name)
    assert after_backup(stack, sets[:2], "core-new", "full", contents, NOW, VIENNA) == ()
    assert after_backup(stack, sets[:3], "core-new", "data", contents, NOW, VIENNA) == ()


# ------------------------------------------------------------------------------------- properties

counts = st.none() | st.integers(1, 5)
policies = st.builds(
    Retention,
    name=st.just("any"),
    keep_last=counts,
    keep_within=st.none() | st.floats(1, 40 * 86_400.0),
    keep_hourly=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=counts,
)
moments = st.integers(0, 4 * 365 * 86_400).map(
    lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
zones = st.sampled_from(["Europe/Vienna", "Pacific/Apia", "Asia/Kathmandu", "America/St_Johns"])


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    """Sets of all fates, some of them made in the same second."""
    found = []
    for number, when in enumerate(draw(st.lists(moments, max_size=25))):
        verified = draw(st.sampled_from([True, True, True, None, False]))
        rows = draw(st.sampled_from([0, 100, 1000, 1000, 1000]))
        found.append(
            Candidate(
                f"set-{number}",
                GROUP,
                when,
                draw(st.sampled_from([False, False, True])),
                verified,
                draw(st.booleans()),
                {("rows", "rulesdb"): rows},
            )
        )
    return found


@given(histories(), policies, moments, zones)
def test_what_must_never_go_never_goes(
    sets: list[Candidate], policy: Retention, now: datetime, zone: str
) -> None:
    """Newest, newest verified, pinned, unverified, future; and everything without a good set."""
    kept = decide(sets, policy, now, ZoneInfo(zone))
    assert set(kept) == {entry.name for entry in sets}
    past = [entry for entry in sets if entry.created_at <= now]
    good = [entry for entry in past if entry.verified]
    for group in (past, good):
        if group:
            assert kept[max(group, key=lambda s: (s.created_at, s.name)).name]
    for entry in sets:
        if entry.pinned or entry.verified is None or entry.created_at > now or not good:
            assert kept[entry.name]
    if not any((policy.keep_last, policy.keep_within, policy.keep_hourly, policy.keep_daily)) and (
        not any((policy.keep_weekly, policy.keep_monthly, policy.keep_yearly))
    ):
        assert all(kept[entry.name] for entry in sets if entry.verified)


@given(histories(), policies, moments, zones, st.randoms())
def test_the_order_of_the_sets_does_not_matter(
    sets: list[Candidate], policy: Retention, now: datetime, zone: str, chance: object
) -> None:
    """Neither does the process's own zone, which nobody asks."""
    shuffled = list(sets)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(sets, policy, now, ZoneInfo(zone)) == decide(
        shuffled, policy, now, ZoneInfo(zone)
    )


@given(histories(), policies, moments, zones)
def test_pruning_twice_removes_nothing_more(
    sets: list[Candidate], policy: Retention, now: datetime, zone: str
) -> None:
    """What was kept is kept again, by whatever rule."""
    kept = decide(sets, policy, now, ZoneInfo(zone))
    rest = [entry for entry in sets if kept[entry.name]]
    assert expired(rest, decide(rest, policy, now, ZoneInfo(zone))) == ()


@given(histories(), policies, moments, zones, st.integers(1, 5))
def test_another_rule_keeps_more(
    sets: list[Candidate], policy: Retention, now: datetime, zone: str, number: int
) -> None:
    """Rules are ORed: adding one never removes a set."""
    more = replace(policy, keep_daily=(policy.keep_daily or 0) + number)
    before, after = (decide(sets, p, now, ZoneInfo(zone)) for p in (policy, more))
    if any(getattr(policy, rule) for rule in ("keep_within", "keep_hourly", "keep_weekly")):
        assert {n for n, why in before.items() if why} <= {n for n, why in after.items() if why}


def test_a_check_that_found_damage_is_not_forgotten_for_a_shallower_one() -> None:
    """Only a result of the same depth, or a deeper one, makes a set good again."""
    deep = SetState().checked("deep", NOW, good=False)
    assert deep.verified_good is False
    assert deep.checked("sums", NOW, good=True).verified_good is False
    again = deep.checked("deep", NOW + DAY, good=True)
    assert again.verified_good is True
    assert again.checks["sums"] == Check(NOW + DAY, True)
