"""prune, keep, verify and what a backup prunes: real sets on disk, through the application."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.app import Session, run_reports
from quiesce.app.backups_folder import runs_folder
from quiesce.app.overdue import overdue
from quiesce.app.session import Options
from quiesce.commands.report import run_report
from quiesce.commands.retention import run_backups, run_keep, run_prune
from quiesce.commands.verify import run_verify
from quiesce.errors import CheckFailed, Refused, RequestError
from quiesce.execute.handlers import retention as handlers
from quiesce.execute.run import Ports, Run
from quiesce.model import BackupSet, Retention, SqliteRecord, VolumeRecord
from quiesce.plan.large_sqlite import LARGE
from quiesce.plan.schedule import parse
from quiesce.plan.steps import RemoveExpired
from quiesce.report import make_reporter
from tests.support.builders import a_database_record, a_set, a_world
from tests.support.host import a_host_stack

NOW = datetime.now(UTC)

VERBS = {
    "backups": run_backups,
    "keep": run_keep,
    "prune": run_prune,
    "report": run_report,
    "verify": run_verify,
}


class Kept:
    """An instance without any service, whose sets were made on the days given."""

    def __init__(self, folder: Path) -> None:
        self.stack = a_host_stack(folder, retention=Retention("short", keep_last=2))
        self.store = LocalStore(self.stack.backups)

    def make(
        self,
        days: float,
        *,
        rows: int = 1000,
        good: bool | None = True,
        volumes: tuple[VolumeRecord, ...] = (),
    ) -> BackupSet:
        """Publish a set made so many days ago."""
        when = NOW - timedelta(days=days)
        name = f"core-{when:%Y%m%d-%H%M%S}"
        staged = self.store.open("run", name)
        (staged / "databases" / "rulesdb.dump").write_bytes(b"d" * 100)
        dump = self.store.measure("run", name, "databases/rulesdb.dump", "database", "rulesdb")
        (table,) = a_database_record("rulesdb").tables
        record = a_database_record("rulesdb", tables=(replace(table, rows=rows),))
        manifest = replace(
            a_set(name).manifest,
            members=(dump.member,),
            databases=(record,),
            volumes=volumes,
            created_at=when,
        )
        made = self.store.seal("run", manifest, {}, [dump])
        if good is not None:
            self.store.remember(name, made.state.checked("sums", NOW, good=good))
        self.store.discard("run")
        return self.store.read(made.path)

    def session(self, **options: Any) -> tuple[Session, io.StringIO]:
        """The application, and where its JSON document is written."""
        out = io.StringIO()
        reporter = make_reporter(
            task="prune",
            json=True,
            stdout=out,
            stderr=io.StringIO(),
            stdin=io.StringIO(""),
            environ={},
        )
        return Session(self.stack, reporter, Options(environ={}, **options)), out

    def document(self, verb: str, *, yes: bool = True, dry_run: bool = False, **given: Any) -> Any:
        """Call a verb and return its JSON document."""
        app, out = self.session(yes=yes, dry_run=dry_run)
        VERBS[verb](app, **given)
        app.reporter.close()
        return json.loads(out.getvalue())

    def names(self) -> list[str]:
        """Names of the sets there are, oldest first."""
        return [s.name for s in self.store.sets()]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """An instance whose policy keeps the last two."""
    return Kept(tmp_path)


def _names(sets: Sequence[BackupSet]) -> list[str]:
    return [s.name for s in sets]


def test_prune_removes_what_no_rule_keeps_and_shows_every_set(kept: Kept) -> None:
    """Each set is in the document with the rules that keep it."""
    three, two, one = kept.make(3), kept.make(2), kept.make(1)
    document = kept.document("prune", force=False)
    shown = {entry["name"]: entry["kept_by"] for entry in document["sets"]}
    assert shown == {three.name: [], two.name: ["keep_last"], one.name: ["keep_last"]}
    assert document["removed"] == [three.name]
    assert kept.names() == [two.name, one.name]
    assert not three.path.exists()
    assert not (kept.stack.backups / ".state" / f"{three.name}.json").exists()
    assert list((kept.stack.backups / ".trash").iterdir()) == []
    assert kept.document("prune", force=False)["message"] == "there is nothing to prune"


def test_a_dry_run_removes_nothing_and_needs_no_answer(kept: Kept) -> None:
    """It shows the sets with their rules, and the plan."""
    made = [kept.make(days) for days in (4, 3, 2, 1)]
    document = kept.document("prune", force=False, yes=False, dry_run=True)
    steps = [(node["step"], node["set"]) for node in document["plan"]["nodes"]]
    assert steps == [("RemoveSet", made[0].name), ("RemoveSet", made[1].name)]
    assert document["plan_text"].splitlines()[1] == (
        f"  remove set {made[0].name} — no rule of retention short keeps it"
    )
    assert kept.names() == _names(made)
    assert not runs_folder(kept.stack).exists()


def test_without_a_yes_nothing_is_removed(kept: Kept) -> None:
    """The end of input means no."""
    made = [kept.make(days) for days in (3, 2, 1)]
    app, _ = kept.session()
    with pytest.raises(Refused):
        run_prune(app, force=False)
    assert kept.names() == _names(made)


def test_a_pinned_set_is_not_pruned_until_it_is_unpinned(kept: Kept) -> None:
    """And pinning keeps what verification found out."""
    three, two, one = kept.make(3), kept.make(2), kept.make(1)
    assert kept.document("keep", file=three.name, pinned=True)["pinned"] is True
    assert kept.store.read(three.path).state.verified_good is True
    assert kept.document("prune", force=False)["removed"] == []
    kept.document("keep", file=three.name, pinned=False)
    assert kept.document("prune", force=False)["removed"] == [three.name]
    assert kept.names() == [two.name, one.name]


def test_keeping_a_set_that_is_not_there_says_which_are_alike(kept: Kept) -> None:
    """Exit 2, and nothing is written."""
    made = kept.make(1)
    app, _ = kept.session()
    with pytest.raises(RequestError) as told:
        run_keep(app, f"{made.name[:-1]}x", pinned=True)
    assert made.name in told.value.hint


def test_unverified_sets_are_not_pruned(kept: Kept) -> None:
    """Nor do they count: with none verified, nothing goes."""
    made = [kept.make(days, good=None) for days in (4, 3, 2, 1)]
    assert kept.document("prune", force=False)["removed"] == []
    assert kept.names() == _names(made)


def test_a_suspicious_set_holds_back_until_somebody_accepts_it(kept: Kept) -> None:
    """`--force` is remembered, so that the next prune needs none."""
    made = [kept.make(days) for days in (5, 4, 3)]
    small = kept.make(2, rows=3)
    also = kept.make(1, rows=3)
    assert kept.document("prune", force=False)["removed"] == []
    document = kept.document("prune", force=True)
    assert document["removed"] == _names(made)
    assert kept.names() == [small.name, also.name]
    assert kept.store.read(small.path).state.accepted
    third = kept.make(0.5, rows=3)
    assert kept.document("prune", force=False)["removed"] == [small.name]
    assert kept.names() == [also.name, third.name]


def test_a_removal_that_died_is_finished(kept: Kept) -> None:
    """What was made invisible is no set any more, and goes with the next prune."""
    made = kept.make(2)
    kept.make(1)
    trash = kept.stack.backups / ".trash"
    trash.mkdir(mode=0o700)
    made.path.rename(trash / made.name)
    document = kept.document("prune", force=False, dry_run=True)
    assert document["plan"]["nodes"][0]["set"] == made.name
    kept.document("prune", force=False)
    assert list(trash.iterdir()) == []


def test_other_instances_sets_are_left_alone(kept: Kept) -> None:
    """Each instance has a policy of its own."""
    made = [kept.make(days) for days in (3, 2, 1)]
    for backup in made:
        manifest = backup.path / "manifest.json"
        text = manifest.read_text().replace('"instance": "core"', '"instance": "other"')
        manifest.write_text(text)
    assert kept.document("prune", force=False)["removed"] == []
    shown = kept.document("backups")["sets"]
    assert [entry["kept_by"] for entry in shown] == [["instance other"]] * 3


def _run(kept: Kept) -> tuple[Run, io.StringIO]:
    told = io.StringIO()
    reporter = make_reporter(
        task="x", json=False, stdout=told, stderr=told, environ={}, background=False
    )
    nothing: Any = None
    rest = (nothing, nothing, nothing)
    ports = Ports(nothing, nothing, nothing, nothing, kept.store, reporter, *rest)
    return Run("run", kept.stack, a_world(), ports), told


def test_a_backup_removes_nothing_when_its_own_set_looks_like_a_loss(kept: Kept) -> None:
    """The plan was made before anybody knew what the set would hold."""
    three, two = kept.make(3), kept.make(2)
    new = kept.make(1, rows=0)
    run, told = _run(kept)
    step = RemoveExpired((three.name,), new.name, two.name, "why")
    assert handlers.remove_expired(step, run) == "held back"
    assert f"{new.name} contains 0 rows of rulesdb, far fewer than the 1,000 of {two.name}" in (
        told.getvalue().replace("\n", " ")
    )
    assert three.path.is_dir()
    fine = kept.make(0.5)
    step = RemoveExpired((three.name,), fine.name, two.name, "why")
    assert handlers.remove_expired(step, run) == "1 removed"
    assert not three.path.exists()


def test_each_level_of_verification_is_kept_with_its_time(kept: Kept) -> None:
    """The catalogue shows the last one; a damaged set is exit 7 and stays known as damaged."""
    made = kept.make(1, good=None)
    kept.document("verify", file="latest", everything=False, deep=False)
    (shown,) = kept.document("backups")["sets"]
    assert (shown["verified_level"], shown["verified_good"]) == ("sums", True)
    # Its dump is no dump: the sums are right and the content is not.
    with pytest.raises(CheckFailed) as told:
        kept.document("verify", file=made.name, everything=False, deep=True)
    assert "databases/rulesdb.dump" in told.value.details[0]
    kept.document("verify", file=made.name, everything=False, deep=False)
    (shown,) = kept.document("backups")["sets"]
    assert shown["verified_good"] is False
    assert shown["checks"]["deep"]["good"] is False
    assert shown["checks"]["sums"]["good"] is True


# -------------------------------------------------------------------------- reports and schedules


def test_each_run_leaves_a_report_and_old_ones_go(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for programs and one for people, both private; the log of restores is not counted."""
    monkeypatch.setattr(run_reports, "KEPT", 3)
    kept.make(1)
    log = run_reports.restore_log(kept.stack)
    run_reports.append(log, {"event": "begun"})
    for _ in range(5):
        kept.document("verify", file="latest", everything=False, deep=False)
    folder = run_reports.reports_folder(kept.stack)
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*-verify.txt"))) == 3
    newest = max(folder.glob("*.txt"))
    assert newest.read_text().startswith("verify of core: done\nstarted ")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert log.read_text() == '{"event": "begun"}\n'


def test_a_report_names_large_sqlite_databases_that_change_little(kept: Kept) -> None:
    """Of the two newest sets there are, as their manifests record them."""
    older, newer = (
        VolumeRecord(
            "media", "core_media", 1, LARGE, ("volumes/media.0",), None, "zstd", sqlite=(one,)
        )
        for one in (
            SqliteRecord("a.db", LARGE, {"t": 999}),
            SqliteRecord("a.db", LARGE, {"t": 1000}),
        )
    )
    before = kept.make(2, volumes=(older,))
    kept.make(1, volumes=(newer,))
    assert kept.document("report", html=False, output=None)["large_sqlite"] == [
        {"volume": "media", "file": "a.db", "bytes": LARGE, "changed": 0.001, "since": before.name}
    ]


def test_a_failure_is_reported_with_its_exit_code_and_a_refusal_is_not(kept: Kept) -> None:
    """Nothing happened where nobody said yes."""
    sets = [kept.make(days) for days in (3, 2, 1)]
    app, _ = kept.session()
    with pytest.raises(Refused):
        run_prune(app, force=False)
    assert not run_reports.reports_folder(kept.stack).exists()
    (sets[2].path / "databases" / "rulesdb.dump").write_bytes(b"x")
    with pytest.raises(CheckFailed):
        run_verify(app, "latest", everything=False, deep=False)
    (path,) = run_reports.reports_folder(kept.stack).glob("*.json")
    document = json.loads(path.read_text())
    assert (document["ok"], document["exit_code"]) == (False, 7)
    assert document["error"]["fact"] == f"{sets[2].name} is damaged"
    assert "FAILED (exit code 7)" in path.with_suffix(".txt").read_text()


def test_a_report_that_cannot_be_written_fails_nothing(kept: Kept) -> None:
    """The run itself is what counts."""
    kept.make(1)
    folder = run_reports.reports_folder(kept.stack)
    folder.parent.mkdir(mode=0o700)
    folder.write_text("in the way")
    assert kept.document("verify", file="latest", everything=False, deep=False)["ok"] is True


def _overdue(kept: Kept, *texts: str) -> dict[str, bool]:
    kept.stack = replace(kept.stack, schedule=tuple(parse(text) for text in texts))
    app, _ = kept.session()
    return {entry.timing.text: entry.overdue for entry in overdue(app, kept.store.sets())}


def test_what_was_not_done_since_it_was_due_is_overdue(kept: Kept) -> None:
    """A backup by its sets, a task by its reports, and each kind for itself."""
    entries = ("hourly rulesdb", "monthly full", "daily schema", "hourly verify", "daily prune")
    assert _overdue(kept, *entries) == dict.fromkeys(entries, True)
    kept.make(0)
    assert _overdue(kept, "hourly rulesdb", "monthly full") == {
        "hourly rulesdb": False,
        "monthly full": False,
    }
    kept.document("verify", file="latest", everything=True, deep=False)
    after = _overdue(kept, "hourly verify", "hourly verify-deep", "hourly media")
    assert after == {"hourly verify": False, "hourly verify-deep": True, "hourly media": True}
    # A run that failed is none.
    kept.document("prune", force=False)
    assert _overdue(kept, "daily prune") == {"daily prune": False}
    for path in run_reports.reports_folder(kept.stack).glob("*-prune.json"):
        path.write_text(path.read_text().replace('"ok": true', '"ok": false'))
    assert _overdue(kept, "daily prune") == {"daily prune": True}


def test_a_set_made_too_long_ago_is_not_in_time(kept: Kept) -> None:
    """Two days old, for what is due every day."""
    kept.make(2.1)
    assert _overdue(kept, "daily full", "0 0 30 2 * full") == {"daily full": True}


def test_the_page_shows_what_is_on_disk(tmp_path: Path) -> None:
    """Sets, runs, restores; written for us alone, and again over the last one."""
    kept = Kept(tmp_path)
    good, bad = kept.make(2), kept.make(1, good=False)
    kept.document("prune", force=False)
    log = run_reports.restore_log(kept.stack)
    line = {"at": NOW.isoformat(), "run": "r1", "task": "restore", "source": good.name}
    run_reports.append(
        log, {**line, "event": "begun", "operator": "ada@db1", "note": "a rehearsal"}
    )
    with log.open("a") as stream:
        stream.write('{"event": "begun", "torn')
    document = kept.document("report", html=True, output=None)
    assert [(run["task"], run["ok"]) for run in document["runs"]] == [("prune", True)]
    page = Path(document["page"])
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text()
    assert text.count(good.name) >= 2
    assert f"{bad.name} is damaged" in text
    assert "a rehearsal" in text
    assert "did not end" in text
    elsewhere = tmp_path / "page.html"
    elsewhere.write_text("older")
    kept.document("report", html=True, output=str(elsewhere))
    assert good.name in elsewhere.read_text()


@pytest.mark.parametrize("output", ["missing/page.html", "."])
def test_a_page_that_has_no_place_is_refused(tmp_path: Path, output: str) -> None:
    """A folder, or a file in none that exists; and `--output` without the page."""
    kept = Kept(tmp_path)
    app, _ = kept.session()
    with pytest.raises(RequestError):
        run_report(app, html=True, output=str(tmp_path / output))
    with pytest.raises(RequestError, match="--output"):
        run_report(app, html=False, output=str(tmp_path / "page.html"))
