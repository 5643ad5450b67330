"""Texts of the page: overall status, state of a set, result of the last drill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from quiesce.model import BackupSet
from quiesce.report import words
from quiesce.report.overview import kind_words, newer
from quiesce.report.overview import newest as newest_set
from quiesce.report.page.values import PageFacts


@dataclass(frozen=True, slots=True)
class Verdict:
    """A tone (`good`, `warning`, `bad`), a mark that does not depend on colour, and the text."""

    tone: str
    mark: str
    text: str


def headline(facts: PageFacts) -> tuple[Verdict, ...]:
    """Return the most important statements, the worst first."""
    found: list[Verdict] = []
    newest = facts.sets[-1] if facts.sets else None
    # As `status`: full sets come first, and safety sets last.
    good = newest_set(facts.sets, facts.instance, verified=True)
    if newest is None:
        found.append(_bad("there is no backup set"))
    elif good is None:
        found.append(_bad("no backup set has been verified"))
    else:
        age = words.age(good.manifest.created_at, facts.now)
        found.append(_good(f"newest verified {kind_words(good)}: {good.name}, made {age}"))
        if later := newer(facts.sets, good):
            age = words.age(later.manifest.created_at, facts.now)
            found.append(_good(f"newest set: {kind_words(later)} {later.name}, made {age}"))
    found += [_bad(f"{backup.name} is damaged") for backup in facts.sets if _is_damaged(backup)]
    found += [_bad(f"overdue: {row.entry}") for row in facts.schedule if row.overdue]
    last = next((run for run in facts.runs if run.task in ("backup", "shutdown")), None)
    if last is not None and not last.ok:
        found.append(
            _bad(f"the last {last.task} failed: {last.fact or f'exit code {last.exit_code}'}")
        )
    if not facts.schedule:
        found.append(_warning("no backups are scheduled: they are made by hand only"))
    found.append(drill_sentence(facts))
    order = ("bad", "warning", "good")
    return tuple(sorted(found, key=lambda verdict: order.index(verdict.tone)))


def drill_sentence(facts: PageFacts) -> Verdict:
    """Return the result of the last drill, with its recovery time."""
    drill = facts.drill
    if drill is None:
        return _warning("no drill yet: it is unknown how long a recovery takes")
    when = words.age(drill.at, facts.now)
    if not drill.ok:
        return _bad(f"the last drill failed {when}: {drill.fact}")
    took = "" if drill.recovery_seconds is None else words.duration(drill.recovery_seconds)
    return _good(f"the last drill succeeded {when}" + (f"; recovery took {took}" if took else ""))


def set_verdict(backup: BackupSet, now: datetime) -> Verdict:
    """Return how thoroughly the set was verified, and the result."""
    state = backup.state
    if _is_damaged(backup):
        return _bad("damaged")
    if not backup.manifest.consistent:
        return _warning("not consistent")
    if state.verified_good is None or state.verified_at is None:
        return _warning("not verified")
    return _good(f"{state.verified_level}, {words.age(state.verified_at, now)}")


def _is_damaged(backup: BackupSet) -> bool:
    return backup.state.verified_good is False


def _good(text: str) -> Verdict:
    return Verdict("good", "✔", text)


def _warning(text: str) -> Verdict:
    return Verdict("warning", "!", text)


def _bad(text: str) -> Verdict:
    return Verdict("bad", "✘", text)
