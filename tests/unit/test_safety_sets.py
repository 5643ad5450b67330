"""What a safety set is: a fact of its manifest, and of old manifests a fact of their names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quiesce.adapters.sets.local import MANIFEST, LocalStore
from quiesce.adapters.sets.offsite import INDEX, OffsiteStores
from quiesce.app import Options, Session, notify, overdue, set_ref
from quiesce.app.wiring import SystemClock
from quiesce.codec import decode, encode
from quiesce.commands import backup as backup_verb
from quiesce.commands import report as report_verb
from quiesce.errors import RequestError
from quiesce.execute.handlers import sets as handlers
from quiesce.execute.run import Ports, Run
from quiesce.model import BackupSet, Database, OffsiteStore, SetState
from quiesce.plan import naming, offsite, schedule
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.retention import candidate
from quiesce.plan.set_ref import SetRef
from quiesce.plan.steps import OpenSet, Plan, SealSet, with_parts
from quiesce.report.overview import newer, newest
from quiesce.report.page.sentences import headline
from tests.support.builders import NOW, RUN, a_set, a_stack, a_world
from tests.support.page import half_a_year
from tests.support.sets import publish_a_set
from tests.unit.report_samples import Room

LABEL = "before restore"
ORDINARY = "core-20261121-020000"
SAFETY = f"{ORDINARY}-safety"


def made_by_an_earlier_version(made: BackupSet, **changes: object) -> BackupSet:
    """Take out of the manifest what versions before did not write, and read the set again."""
    file = made.path / MANIFEST
    document = json.loads(file.read_text())
    del document["safety"]
    folder = made.path.with_name(str(changes.get("name", made.name)))
    file.write_text(json.dumps(document | changes))
    made.path.rename(folder)
    return LocalStore(folder.parent).read(folder)


def aged(name: str, days: float, *, good: bool = True, **fields: Any) -> BackupSet:
    """A set made so many days before `NOW`."""
    backup = a_set(name, created_at=NOW - timedelta(days=days), **fields)
    return replace(backup, state=SetState(verified_good=good))


#: The newest is a safety set; the one before it has the label that safety sets have.
SETS = (
    aged("core-20261118-020000", 3),
    aged("core-20261119-020000-safety", 2, safety=True, label=LABEL),
    aged("core-20261120-020000", 1, label=LABEL),
    aged("core-20261121-020000-safety", 0, safety=True, label=LABEL),
)


# ------------------------------------------------------------------------------- what is written


def opened(plan: Plan) -> OpenSet:
    """The one set that a plan makes."""
    (step,) = (step for step in with_parts(plan.nodes) if isinstance(step, OpenSet))
    return step


def a_restore(**fields: Any) -> Plan:
    """A restore of two databases and two volumes."""
    request = RestoreRequest(**fields)
    return plan_restore(a_stack(), a_world(), a_set(), request, RestoreInputs(), RUN, SAFETY)


def a_backup(label: str) -> Plan:
    """A backup with a label."""
    return plan_backup(a_stack(), a_world(), BackupRequest(label=label), RUN, ORDINARY)


def sealed(step: OpenSet, folder: Path) -> BackupSet:
    """Make an empty set of this step, by the handlers that make every set."""
    stack, quiet = a_stack(folder), cast("Any", SimpleNamespace(images=dict, progress=print))
    store = LocalStore(stack.backups)
    ports = Ports(quiet, quiet, quiet, quiet, store, quiet, SystemClock(), quiet, quiet)
    run = Run(RUN, stack, a_world(), ports)
    handlers.open_set(step, run)
    handlers.seal(SealSet(step.set, "for the test"), run)
    return store.read(folder / "backups" / step.set)


@pytest.mark.parametrize(
    "plan", [a_restore(), a_restore(restart=False), a_restore(safety_first=True)]
)
def test_a_restore_makes_a_safety_set(plan: Plan, tmp_path: Path) -> None:
    """The step says it, and the manifest of the sealed set does."""
    assert opened(plan).safety
    assert sealed(opened(plan), tmp_path).manifest.safety


@pytest.mark.parametrize("options", [{}, {"safety_first": True}])
def test_what_cannot_be_dumped_is_refused_before_anything_stops(options: dict[str, bool]) -> None:
    """Also if it is dumped after the exchange. Without a safety set, nothing is dumped."""
    asked: list[str] = []

    def rehearse(databases: Sequence[Database]) -> tuple[str, ...]:
        asked.extend(database.key for database in databases)
        return ("there are no connections left",)

    ports: Any = SimpleNamespace(databases=SimpleNamespace(rehearse=rehearse))
    session = Session(a_stack(), Room().reporter, Options())
    with pytest.raises(RequestError, match="no connections left"):
        session._require_holdable(ports, a_world(), a_restore(**options))
    assert asked == ["rulesdb", "memorydb"]
    session._require_holdable(ports, a_world(), a_restore(safety=False))


def test_a_plan_in_a_journal_of_an_earlier_version_is_still_read() -> None:
    """Its step says nothing of safety sets."""
    document = encode(a_backup(""))
    text = json.dumps(document)
    assert text.count(', "safety": false') == 1
    old = json.loads(text.replace(', "safety": false', ""))
    assert decode(Plan, old) == a_backup("")


@pytest.mark.parametrize("label", ["", LABEL, "safety"])
def test_a_backup_makes_none_whatever_its_label(label: str, tmp_path: Path) -> None:
    """A person may label a set as they like."""
    assert not opened(a_backup(label)).safety
    manifest = sealed(opened(a_backup(label)), tmp_path).manifest
    assert (manifest.safety, manifest.label) == (False, label)


# ---------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("safety", [True, False])
@pytest.mark.parametrize("name", [ORDINARY, SAFETY])
def test_what_a_manifest_says_counts(name: str, safety: bool, tmp_path: Path) -> None:
    """Not its name, and not its label."""
    made = publish_a_set(LocalStore(tmp_path), name)
    file = made.path / MANIFEST
    document = json.loads(file.read_text()) | {"safety": safety, "label": LABEL}
    file.write_text(json.dumps(document))
    assert LocalStore(tmp_path).read(made.path).manifest.safety is safety


OLD_NAMES = [
    ("core", "core-20261121-020000-safety", True),
    ("core", "core-20261121-020000-safety-2", True),
    ("core", "core-20261121-020000-safety-10", True),
    ("core", "core-20261121-020000", False),
    ("core", "core-20261121-020000-2", False),
    ("my-safety", "my-safety-20261121-020000", False),
    ("my-safety", "my-safety-20261121-020000-safety", True),
    ("x-20261120-020000-safety", "x-20261120-020000-safety-20261121-020000", False),
    ("x-20261120-020000-safety", "x-20261120-020000-safety-20261121-020000-2", False),
    ("x-20261120-020000-safety", "x-20261120-020000-safety-20261121-020000-safety", True),
    # No version gave a set of this instance such a name.
    ("core", "other-20261121-020000-safety", False),
    ("core", "abcd-20261121-020000-safety", False),
    ("core", "core-safety-20261121-020000", False),
    ("core", "core-20261121-020000-safety-", False),
    ("core", "core-20261121-020000-safety-x", False),
    ("core", "core-20261121-020000-safetyx", False),
    ("core", "core-20261121-020000-x-safety", False),
    ("core", "core-20261121-020000-safety\n", False),
    ("core", "-20261121-020000-safety", False),
]


@pytest.mark.parametrize(("instance", "name", "safety"), OLD_NAMES)
@pytest.mark.parametrize("label", ["", LABEL])
def test_a_manifest_of_an_earlier_version_says_it_by_its_name(
    instance: str, name: str, safety: bool, label: str, tmp_path: Path
) -> None:
    """Those versions let a person choose the label, never the name."""
    made = publish_a_set(LocalStore(tmp_path))
    old = made_by_an_earlier_version(made, name=name, instance=instance, label=label)
    assert old.manifest.safety is safety


@pytest.mark.parametrize("mark", ["", naming.SAFETY])
@pytest.mark.parametrize("taken", [0, 1, 11])
def test_every_name_that_is_given_is_understood(mark: str, taken: int) -> None:
    """However many sets were made in that second, and for every instance."""
    for instance in ("core", "my-safety", "a-20261120-020000-safety", "a-safety-2"):
        names: list[str] = []
        for _ in range(taken + 1):
            names.append(naming.set_name(instance, NOW, names, mark))
        assert naming.has_safety_name(names[-1], instance) is bool(mark)


@pytest.mark.parametrize("wrong", [{"name": 1}, {"instance": None}, {"safety": "yes"}])
def test_a_manifest_that_is_wrong_is_still_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    """A default does not make good of it."""
    store = LocalStore(tmp_path)
    made = publish_a_set(store)
    file = made.path / MANIFEST
    document = json.loads(file.read_text())
    if "safety" not in wrong:
        del document["safety"]
    file.write_text(json.dumps(document | wrong))
    ((_, reason),) = store.unreadable()
    assert f"{MANIFEST} is damaged" in reason


def test_a_store_index_says_it_too(tmp_path: Path) -> None:
    """As the set says; an index of an earlier version as its name says."""
    local = LocalStore(tmp_path / "backups")
    away = tmp_path / "away"
    away.mkdir()
    store = OffsiteStore("away", f"file://{away}")
    made = [publish_a_set(local, name) for name in (ORDINARY, SAFETY)]

    def looked_at() -> OffsiteStores:
        return OffsiteStores([store], "core", tmp_path / "scratch", tmp_path / "notes")

    for backup in made:
        marked = replace(backup.manifest, safety=backup.name == ORDINARY)
        looked_at().push("away", replace(backup, manifest=marked), lambda text, done: None)
    assert [s.name for s in looked_at().sets("away") if s.safety] == [ORDINARY]
    for backup in made:
        file = away / "core" / backup.name / INDEX
        document = json.loads(file.read_text())
        assert document.pop("safety") is (backup.name == ORDINARY)
        file.write_text(json.dumps(document))
    assert [s.name for s in looked_at().sets("away") if s.safety] == [SAFETY]


# ------------------------------------------------------------------------- what is made of it


def named(file: str, sets: Sequence[BackupSet] = SETS) -> str:
    """The set that a `--file` means."""
    return set_ref.resolve(a_stack(), sets, SetRef.parse(file)).name


def test_latest_passes_over_safety_sets_and_not_over_a_label() -> None:
    """`undo-restore` restores `latest:safety`."""
    assert named("latest") == "core-20261120-020000"
    assert named("latest:rulesdb") == "core-20261120-020000"
    assert named("latest:full") == "core-20261120-020000"
    assert named("latest:safety") == "core-20261121-020000-safety"
    assert named("latest:safety", SETS[:3]) == "core-20261119-020000-safety"


def test_a_label_gives_nothing_to_undo() -> None:
    """A set labelled like a safety set must never be restored by `undo-restore`."""
    labelled = [backup for backup in SETS if not backup.manifest.safety]
    with pytest.raises(RequestError, match="has no safety set yet"):
        named("latest:safety", labelled)


def test_the_past_of_a_backup_has_no_safety_sets() -> None:
    """Their downtime is that of a restore."""
    session: Any = SimpleNamespace(stack=a_stack())
    ports: Any = SimpleNamespace(store=SimpleNamespace(sets=lambda: SETS))
    assert backup_verb._past(session, ports) == (SETS[0], SETS[2])


def test_only_ordinary_sets_are_sent_by_themselves() -> None:
    """Safety sets stay here, good or bad."""
    assert offsite.pending(a_stack(), SETS, "away") == (SETS[0], SETS[2])
    bad = tuple(replace(s, state=SetState(verified_good=False)) for s in SETS)
    stack = a_stack(stores=(OffsiteStore("away", "file:///away"),))
    assert offsite.held_back(stack, bad, None) == (SETS[0].name, SETS[2].name)


def test_retention_groups_them_by_themselves() -> None:
    """And waits for no store to have them."""
    stores = (OffsiteStore("away", "file:///away"),)
    found = [candidate(backup, stores) for backup in SETS]
    assert [entry.group[-1] for entry in found] == [False, True, False, True]
    assert [entry.pending for entry in found] == [("away",), (), ("away",), ()]


def test_the_newest_set_is_an_ordinary_one() -> None:
    """A safety set only where there is no other."""
    assert newest(SETS, "core", verified=True) == SETS[2]
    assert newest((SETS[1], SETS[3]), "core", verified=True) == SETS[3]


def test_status_and_page_agree_on_the_newest_sets() -> None:
    """The last backup is a full set that is no safety set; what is newer is named beside it."""
    rows = aged("core-20261121-030000", -0.1, kind="data")
    last = newest((*SETS, rows), "core", verified=False)
    assert last == SETS[2]
    assert newer((*SETS, rows), last) == rows
    assert newer(SETS, last) == SETS[3]
    assert newer(SETS[:3], last) is None
    texts = [v.text for v in headline(replace(half_a_year(), sets=(*SETS, rows)))]
    assert any(t.startswith(f"newest verified full set: {SETS[2].name},") for t in texts)
    assert any(t.startswith(f"newest set: data set {rows.name},") for t in texts)


def test_a_safety_set_is_no_backup_in_time() -> None:
    """It holds what a restore replaced."""
    entry = schedule.parse("daily full")
    done = overdue.due(a_stack(), entry, SETS, NOW)
    assert done is not None
    assert done.done == SETS[2].manifest.created_at


def test_the_page_draws_no_safety_sets() -> None:
    """It shows what backups took."""
    assert [made.name for made in report_verb._made((), SETS)] == [SETS[0].name, SETS[2].name]


def test_the_metrics_are_those_of_ordinary_sets(tmp_path: Path) -> None:
    """A monitor that asks for the last backup must not be told of a restore."""
    document = {"task": "backup", "ok": True, "started_at": NOW.isoformat(), "seconds": 1.0}
    figures = notify._figures(a_stack(tmp_path), SETS, document, ())
    (made,) = [f.values for f in figures if f.name == "quiesce_last_success_timestamp_seconds"]
    assert made == [({"kind": "full"}, SETS[2].manifest.created_at.timestamp())]
