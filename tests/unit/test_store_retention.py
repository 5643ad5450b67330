"""What a store's retention makes of sets that earlier versions sent, of strangers and of damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from quiesce.model import BackupSet, OffsiteObject, OffsiteSet, Retention, SetState, Trust
from quiesce.plan import offsite
from quiesce.plan.retention import Candidate, decide, suspicions
from tests.support.builders import a_set
from tests.support.year import GROUP, made_at

STORE = "away"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ZONE = ZoneInfo("UTC")


def made(days: float) -> BackupSet:
    """A set made so many days ago, that was sent."""
    at = NOW - DAY * days
    backup = a_set(f"core-{at:%Y%m%d-%H%M%S}")
    manifest = replace(backup.manifest, created_at=at, name=backup.name)
    return replace(backup, manifest=manifest, state=SetState(pushed={STORE: at}))


def stored(backup: BackupSet, size: int = 1000, **fields: object) -> OffsiteSet:
    """An index of earlier versions: it says nothing of amounts; each object has this size."""
    manifest = backup.manifest
    objects = tuple(
        OffsiteObject(m.file, m.file, size if m.kind == "volume" else 100, m.sha256)
        for m in manifest.members
    )
    index = OffsiteSet(
        1, backup.name, manifest.instance, manifest.created_at, manifest.kind, ("x",),
        False, "", objects,
    )  # fmt: skip
    return replace(index, **fields)  # type: ignore[arg-type]


def left(
    entries: Sequence[OffsiteSet],
    here: Sequence[BackupSet] = (),
    trust: Mapping[str, Trust] | None = None,
    damaged: Sequence[str] = (),
) -> list[str]:
    """What a store with `keep_last: 2` keeps."""
    known: dict[str, Trust] = {entry.name: "signed" for entry in entries} | dict(trust or {})
    found = offsite.candidates(entries, here, STORE, known, (), damaged)
    reasons = decide(found, Retention("few", keep_last=2), NOW, ZONE)
    return [name for name in reasons if reasons[name]]


def names(*sets: BackupSet) -> list[str]:
    """Their names."""
    return [backup.name for backup in sets]


def test_a_loss_is_seen_by_what_an_older_index_takes_in_the_store() -> None:
    """Also where it is encrypted, and compared with one that does say its amounts."""
    good, *empty = sets = [made(days) for days in (9, 8, 7, 6)]
    for method in ("", "age"):
        entries = [stored(good, 4_000_000, encryption=method)]
        entries += [stored(backup, encryption=method) for backup in empty]
        assert left(entries) == names(*sets)
        newer = [replace(entry, amounts={"files m": 1}) for entry in entries[1:]]
        assert left([entries[0], *newer]) == names(*sets)
        alike = [stored(backup, encryption=method) for backup in sets]
        assert left(alike) == names(*empty[1:])


def test_safety_sets_in_a_store_are_a_group_of_their_own() -> None:
    """By the index alone; the set here may be gone."""
    entries = [stored(made(2), safety=True), stored(made(1))]
    trust: dict[str, Trust] = {entry.name: "signed" for entry in entries}
    found = offsite.candidates(entries, (), STORE, trust, ())
    assert [candidate.group[-1] for candidate in found] == [True, False]


def test_where_nothing_is_proven_nothing_is_counted() -> None:
    """A machine without a key, or another's sets: they push out nobody, and stay."""
    good = [made(days) for days in (9, 8)]
    strange = [made(days) for days in (3, 2, 1)]
    entries = [stored(backup) for backup in (*good, *strange)]
    for doubt in ("unknown", "unsigned", "foreign", "changed"):
        trust = dict.fromkeys(names(*strange), doubt)
        assert left(entries, trust=trust) == names(*good, *strange)  # type: ignore[arg-type]
    sent = dict.fromkeys(names(*strange), "unknown")
    assert left(entries, strange, sent) == names(*strange[1:])  # type: ignore[arg-type]
    others = [replace(entry, created_at=entry.created_at + DAY / 9) for entry in entries[2:]]
    assert left([*entries[:2], *others], strange, sent) == names(*good, *strange)  # type: ignore[arg-type]


def test_what_was_found_damaged_there_replaces_no_good_set() -> None:
    """However many damaged ones are newer."""
    good, *bad = [made(days) for days in (9, 8, 7, 6)]
    entries = [stored(backup) for backup in (good, *bad)]
    assert good.name not in left(entries)
    assert good.name in left(entries, damaged=names(*bad))


def test_what_was_unpinned_here_is_unpinned_there() -> None:
    """The index says how it was when it was sent."""
    old, *new = [made(days) for days in (9, 3, 2, 1)]
    entries = [stored(old, pinned=True), *map(stored, new)]
    assert old.name in left(entries)
    assert old.name not in left(entries, [old])
    pinned = replace(old, state=replace(old.state, pinned=True))
    assert old.name in left([stored(old), *entries[1:]], [pinned])


def test_a_safety_set_that_holds_less_holds_nothing_back() -> None:
    """It is of what somebody chose to replace, which is often what a loss left."""

    def safety(days: float, files: int) -> Candidate:
        entry = made_at(NOW - DAY * days)
        amounts = {("files", "media"): files}
        return replace(entry, group=(*GROUP[:3], True), verified=None, amounts=amounts)

    sets = [safety(days, 1000) for days in (90, 80, 70)]
    sets += [safety(days, 1) for days in (60, 50, 40)]
    reasons = decide(sets, Retention("any", keep_last=50), NOW, ZONE)
    assert [entry for entry in sets if reasons[entry.name]] == sets[3:]
    assert suspicions(sets, NOW) == ()
