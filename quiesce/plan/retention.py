"""Which sets are kept, and why. Pure: the time and the zone are arguments.

The rules are those of restic: a set is kept as long as any rule keeps it. Days, weeks (ISO,
`%G-%V`), months and years are those of the configured time zone. Guards keep more than the rules:

    taking part     verified sets that are not dated in the future, and safety sets that are not
                    damaged (they are never verified again). Other sets do not count for the rules
                    and are not removed by them
    never removed   the newest set of a group, pinned sets, sets that were never verified, the last
                    `FLOOR` good ones; anything if the policy has no rule
    held back       a set that looks like a loss, because it is far smaller than the previous one,
                    and all older ones, until the user accepts it

`keep_within` counts from the newest set, not from now, so that nothing expires while backups fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

from quiesce.model import BackupSet, OffsiteStore, Retention

#: Good sets of a group that are always kept, unless `keep_last` is smaller.
FLOOR = 2
#: The rules for safety sets, which only serve `undo-restore`.
SAFETY = Retention("safety", keep_last=3, keep_within=7 * 86_400.0)
#: Less than this fraction of the previous amount looks like a loss …
SUSPICIOUS = 0.5
#: … if at least this much is missing. Below that, only an empty source looks like a loss.
NOISE = {"rows": 100, "files": 20, "bytes": 1_000_000, "stored bytes": 100_000}

Reasons = Mapping[str, tuple[str, ...]]
_Group = tuple[str, str, tuple[str, ...], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What retention needs to know about a set. `verified` is None if it was never verified.

    `amounts` are by unit and source, such as `("rows", "rulesdb")`; None for a set that is not made
    yet. `accepted`: the user accepted that it contains so little.
    """

    name: str
    group: _Group
    created_at: datetime
    pinned: bool = False
    verified: bool | None = True
    accepted: bool = False
    #: Stores to which it has not been uploaded yet.
    pending: tuple[str, ...] = ()
    amounts: Mapping[tuple[str, str], int] | None = None
    #: Its bytes in a store, by database and volume: also known for sets of earlier versions, whose
    #: index has no amounts.
    stored: Mapping[str, int] = field(default_factory=dict)
    #: In a store, and its origin is not confirmed: it does not count and is not removed.
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A set that looks like a loss. `before` is the set it was compared with."""

    name: str
    before: str
    fact: str

    def __str__(self) -> str:
        return f"{self.name} {self.fact} of {self.before}"


def candidate(backup: BackupSet, stores: Iterable[OffsiteStore] = ()) -> Candidate:
    """Return the facts that retention needs about a set that is copied to `stores`."""
    manifest = backup.manifest
    return Candidate(
        name=backup.name,
        group=(manifest.instance, manifest.kind, manifest.sources, manifest.safety),
        created_at=manifest.created_at,
        pinned=backup.state.pinned,
        verified=backup.state.verified_good,
        accepted=backup.state.accepted,
        pending=tuple(
            store.name
            for store in stores
            if store.name not in backup.state.pushed and not manifest.safety
        ),
        amounts=backup.amounts,
    )


def decide(sets: Iterable[Candidate], policy: Retention, now: datetime, zone: tzinfo) -> Reasons:
    """Return, by name, the reasons why each set is kept; a set without reasons is removed."""
    groups: dict[_Group, list[Candidate]] = {}
    for entry in sets:
        groups.setdefault(entry.group, []).append(entry)
    reasons: dict[str, tuple[str, ...]] = {}
    for group, members in groups.items():
        safety = group[-1]
        reasons |= _decide_group(members, SAFETY if safety else policy, now, zone)
    return reasons


def suspicions(sets: Iterable[Candidate], now: datetime) -> tuple[Suspicion, ...]:
    """Return every set that looks like a loss and was not accepted, oldest first."""
    groups: dict[_Group, list[Candidate]] = {}
    for entry in sets:
        groups.setdefault(entry.group, []).append(entry)
    found = [_suspicion(_taking_part(members, now)) for members in groups.values()]
    return tuple(suspicion for suspicion in found if suspicion is not None)


def loss(before: Candidate, after: Candidate) -> str:
    """Return a description of the data of which `after` contains suspiciously less than `before`,
    or ""."""
    if before.amounts is None or after.amounts is None:
        had_, has_ = _stored(before), _stored(after)
    else:
        had_, has_ = before.amounts, after.amounts
    if not has_:
        return ""
    for (unit, source), had in had_.items():
        has = has_.get((unit, source), 0)
        gone = had - has
        emptied = has == 0 and gone > 0
        if emptied or (has < had * SUSPICIOUS and gone >= NOISE[unit]):
            return f"contains {has:,} {unit} of {source}, far fewer than the {had:,}"
    return ""


# ---------------------------------------------------------------------------------------- inside


def _stored(entry: Candidate) -> Mapping[tuple[str, str], int]:
    return {("stored bytes", source): size for source, size in entry.stored.items()}


def _decide_group(
    members: Sequence[Candidate], policy: Retention, now: datetime, zone: tzinfo
) -> dict[str, tuple[str, ...]]:
    good = _taking_part(members, now)
    kept: dict[str, list[str]] = {entry.name: [] for entry in members}
    _apply_rules(good, policy, zone, kept)
    _apply_guards(members, good, policy, now, kept)
    # A damaged set does not count, and is removed when no good set of its age is left.
    oldest = min((entry.created_at for entry in good if kept[entry.name]), default=None)
    for entry in members:
        if entry.verified is False and (oldest is None or entry.created_at >= oldest):
            kept[entry.name].append("damaged: removed only after all older good sets")
    return {name: tuple(why) for name, why in kept.items()}


def _taking_part(members: Iterable[Candidate], now: datetime) -> list[Candidate]:
    """The sets that count for the rules, newest first."""
    good = [entry for entry in members if _counts(entry) and entry.created_at <= now]
    return sorted(good, key=_age, reverse=True)


def _counts(entry: Candidate) -> bool:
    if entry.stranger:
        return False
    # A safety set is never verified after it was published; without this exception it would be kept
    # forever.
    return entry.verified is True or (_is_safety(entry) and entry.verified is None)


def _is_safety(entry: Candidate) -> bool:
    return entry.group[-1]


def _age(entry: Candidate) -> tuple[datetime, str]:
    return entry.created_at, entry.name


def _hour(local: datetime) -> str:
    # With the offset: the hour that a change of the clocks repeats is two hours.
    return f"{local:%Y-%m-%d %H:00%z}"


_BUCKETS: dict[str, Callable[[datetime], str]] = {
    "keep_hourly": _hour,
    "keep_daily": lambda local: f"{local:%Y-%m-%d}",
    # The year of the week, not of the day: 2027-01-01 is in 2026-W53.
    "keep_weekly": lambda local: f"{local:%G-W%V}",
    "keep_monthly": lambda local: f"{local:%Y-%m}",
    "keep_yearly": lambda local: f"{local:%Y}",
}


def _apply_rules(
    good: Sequence[Candidate], policy: Retention, zone: tzinfo, kept: Mapping[str, list[str]]
) -> None:
    if not good:
        return
    for entry in good[: policy.keep_last or 0]:
        kept[entry.name].append("keep_last")
    if policy.keep_within is not None:
        since = good[0].created_at - timedelta(seconds=policy.keep_within)
        for entry in good:
            if entry.created_at > since:
                kept[entry.name].append("keep_within")
    for rule, bucket in _BUCKETS.items():
        wanted = getattr(policy, rule) or 0
        # All days that were seen, not only the last: if clocks are set back over midnight, a day
        # occurs again.
        seen: set[str] = set()
        for entry in good:
            name = bucket(entry.created_at.astimezone(zone))
            if name not in seen and len(seen) < wanted:
                seen.add(name)
                kept[entry.name].append(f"{rule} {name}")


def _apply_guards(
    members: Sequence[Candidate],
    good: Sequence[Candidate],
    policy: Retention,
    now: datetime,
    kept: Mapping[str, list[str]],
) -> None:
    past = [entry for entry in members if entry.created_at <= now]
    newest = max(past, key=_age, default=None)
    floor = FLOOR if policy.keep_last is None else min(FLOOR, policy.keep_last)
    doubt = _suspicion(good)
    doubted_at = next((e.created_at for e in good if doubt and e.name == doubt.name), None)
    for entry in members:
        why = kept[entry.name]
        if entry.pinned:
            why.append("pinned")
        if entry.verified is None and not _is_safety(entry):
            why.append("not verified")
        if entry.stranger:
            why.append("origin not confirmed")
        why += [f"not in {store} yet" for store in entry.pending]
        if entry.created_at > now:
            why.append("dated in the future")
        if why:
            continue
        if entry is newest:
            why.append("newest")
        elif entry in good[:1]:
            why.append("newest verified")
        elif entry in good[:floor]:
            why.append("floor")
        elif not has_rules(policy):
            why.append("no rule")
        elif doubted_at is not None and entry.created_at <= doubted_at:
            # Including the suspicious set: if it were removed, the next run would not detect the
            # loss.
            why.append("held back")


def has_rules(policy: Retention) -> bool:
    """Whether the policy has any rule."""
    return any(getattr(policy, f.name) for f in fields(policy) if f.name != "name")


def _suspicion(good: Sequence[Candidate]) -> Suspicion | None:
    """The newest set that looks like a loss compared with the previous one."""
    for after, before in pairwise(good):
        # Safety sets contain what a restore replaced, which is often the state after a loss.
        if after.accepted or _is_safety(after):
            continue
        if fact := loss(before, after):
            return Suspicion(after.name, before.name, fact)
    return None
