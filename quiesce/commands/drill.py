"""The verb `drill`, and test restores of sets into a copy of the stack."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.adapters import files
from quiesce.app import drill_markers, run_reports, sandbox, set_ref
from quiesce.app import probes as asking
from quiesce.app.backups_folder import secure
from quiesce.app.confirm import require_phrase
from quiesce.app.session import Session
from quiesce.commands.backup import run_backup
from quiesce.commands.clean import run_nuke
from quiesce.commands.lifecycle import run_up
from quiesce.commands.migrate import run_migrate
from quiesce.commands.recover import destroy_copy
from quiesce.commands.restore import run_restore
from quiesce.errors import CheckFailed, QuiesceError, RequestError
from quiesce.model import Stack, without_query
from quiesce.plan.backup import BackupRequest
from quiesce.plan.capabilities import with_capability
from quiesce.plan.restore_request import RestoreRequest
from quiesce.private_facts import PRIVATE
from quiesce.private_files import read_private
from quiesce.report import words
from quiesce.suggest import suggest

if TYPE_CHECKING:
    from quiesce.model import BackupSet, DrillWrite

PHASES = ("setup", "cycle", "verify", "all")

#: The variable in which older scripts and pipelines set the phase.
PHASE_VARIABLE = "BACKUP_RESTORE_PHASE"


def _anyhow(stack: Stack) -> RestoreRequest:
    """Allow everything that an engine of the stack can: obstacles are reported, and the rest is
    checked."""
    return RestoreRequest(
        safety=False,
        not_valid=bool(with_capability(stack.databases, "not-valid")),
        skip_broken=bool(with_capability(stack.databases, "skip-broken")),
    )


@dataclass(slots=True)
class Figures:
    """What a drill measured and compared, for its report."""

    source: str = ""
    recovery_seconds: float | None = None
    backup_seconds: float | None = None
    marks: int = 0
    probes: int = 0

    def facts(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "source": self.source,
            "recovery_seconds": self.recovery_seconds,
            "backup_seconds": self.backup_seconds,
            "marks": self.marks,
            "probes": self.probes,
        }


class NeedsMore(RequestError):
    """A set could not be restored into a copy because something outside of it is missing: a role,
    an extension, a locale, the right server version. The set itself may be fine."""


@dataclass(frozen=True, slots=True)
class RestoreTrial:
    """The result of restoring a set into a copy: why it failed, or what was restored differently
    and needs a flag."""

    problems: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()


def try_restore(session: Session, backup: BackupSet) -> RestoreTrial:
    """Restore the set into a copy of the stack in which only its database servers run.

    The copy is compared table by table and removed. Raise NeedsMore if something is missing that
    the set needs, and QuiesceError if no copy could be made or there is no key for the set: the
    set itself may be fine then.
    """
    _require_key(session, backup)
    run = session.new_run_id()
    servers = {record.service for record in backup.manifest.databases}
    with sandbox.isolated(session.stack, run, running=servers) as made:
        copy = _session_of(session, made)
        if servers:
            run_up(copy, sorted(servers))
        request = replace(_anyhow(copy.stack), restart=False)
        try:
            outcome = run_restore(copy, str(backup.path), request)
        except RequestError as error:
            # Refused before anything was loaded.
            raise NeedsMore(error.fact, error.hint, details=error.details) from error
        except QuiesceError as error:
            return RestoreTrial(problems=(error.fact, *error.details))
    return RestoreTrial(deviations=outcome.deviations if outcome else ())


def run_drill(
    session: Session, phase: str | None, file: str, *, destructive: bool, note: str = ""
) -> None:
    """Rehearse a disaster: write data, back it up, destroy it, restore it and check it.

    In a copy of the stack, or with `destructive` on the instance itself after a phrase. Raise
    CheckFailed if something is missing afterwards.
    """
    phase = phase or session.options.environ.get(PHASE_VARIABLE) or "all"
    if phase not in PHASES:
        raise RequestError(f"unknown phase {phase}", suggest(phase, PHASES))
    note = run_reports.checked_note(note)
    if session.options.dry_run:
        lines = _outline(phase, destructive, session.stack.drill_writes)
        session.reporter.text("".join(f"{line}\n" for line in lines))
        return
    run = session.new_run_id()
    figures = Figures()
    with run_reports.reported(
        session.stack, run, "drill", session.clock, session.reporter
    ) as account:
        account.note = note
        source = _source(session, phase, file)
        account.source = figures.source = "the copy" if source is None else source.name
        if destructive:
            _require_phrase(session)
        account.begin_restore(session.clock.now())
        try:
            if destructive:
                _drill_here(session, phase, figures)
            else:
                _drill_in_copy(session, run, phase, source, figures)
        finally:
            account.facts.update({k: v for k, v in figures.facts().items() if k != "source"})
            account.facts["phase"] = phase
            account.facts["destructive"] = destructive
    took = figures.recovery_seconds
    session.reporter.done(
        f"drill ({phase}) succeeded"
        + (f": recovery took {words.duration(took)}" if took is not None else ""),
        {"phase": phase, **figures.facts()},
    )


def _drill_in_copy(
    session: Session, run: str, phase: str, source: BackupSet | None, figures: Figures
) -> None:
    # A copy that was kept contains the markers for later phases, so it is not removed before.
    for name in sandbox.remove_orphans(session.stack, kept_too=phase in ("setup", "all")):
        session.reporter.note(f"removed {name}, left over from an earlier drill")
    if source is not None:
        with sandbox.isolated(session.stack, run, network_open=session.stack.drill_open) as made:
            _set_up(session, made, source, figures)
            if phase == "setup":
                sandbox.keep(made)
                session.reporter.note(
                    f"the copy {made.stack.instance.project} is kept for the next phase"
                )
                return
            _cycle(session, _session_of(session, made), figures)
            _verify(session, _session_of(session, made), made.folder, figures)
        return
    with sandbox.reopened(session.stack) as left:
        if left is None:
            raise RequestError(
                "there is no copy from a drill's setup phase", "run 'inv drill --phase setup' first"
            )
        if phase == "cycle":
            _cycle(session, _session_of(session, left), figures)
            return
        try:
            _verify(session, _session_of(session, left), left.folder, figures)
        finally:
            sandbox.remove(left)


def _set_up(session: Session, made: sandbox.Copy, source: BackupSet, figures: Figures) -> None:
    """Start the copy from the set, and measure how long that takes."""
    copy = _session_of(session, made)
    began = session.clock.monotonic()
    _recover_into(session, copy, source.path)
    figures.recovery_seconds = round(session.clock.monotonic() - began, 3)
    _write_marks(copy, made.folder)


def _recover_into(session: Session, copy: Session, source: Path) -> None:
    run_up(copy, sorted({database.service for database in session.stack.databases}))
    run_restore(copy, str(source), _anyhow(copy.stack))
    run_up(copy, ())
    _probe(session, copy)


def _cycle(session: Session, copy: Session, figures: Figures) -> None:
    began = session.clock.monotonic()
    backup = run_backup(copy, BackupRequest(label="drill"))
    figures.backup_seconds = round(session.clock.monotonic() - began, 3)
    if backup is None:
        raise QuiesceError("the backup of the drill made no set")
    destroy_copy(copy)
    _recover_into(session, copy, backup.path)


def _verify(session: Session, copy: Session, folder: Path, figures: Figures) -> None:
    figures.probes = _probe(session, copy)
    missing = _missing_marks(copy, folder, figures)
    if missing:
        raise CheckFailed(
            f"after the restore of the drill, {missing[0]}",
            "do not rely on backups of this stack until you know the cause",
            details=missing[1:],
        )


def _drill_here(session: Session, phase: str, figures: Figures) -> None:
    folder = sandbox.isolated_folder(session.stack) / "here"
    secure(session.stack)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = _nested(session, session.options)
    if phase in ("setup", "all"):
        _write_marks(copy, folder)
    if phase in ("cycle", "all"):
        began = session.clock.monotonic()
        backup = run_backup(copy, BackupRequest(label="drill"))
        figures.backup_seconds = round(session.clock.monotonic() - began, 3)
        if backup is None:
            raise QuiesceError("the backup of the drill made no set")
        figures.source = backup.name
        # The last chance to fail safely: the next step removes what the set contains.
        _require_key(session, backup)
        began = session.clock.monotonic()
        name = session.stack.instance.name
        run_nuke(
            _nested(session, replace(session.options, confirm=f"NUKE {name}", instance=name)),
            force=False,
        )
        run_up(copy, sorted({database.service for database in session.stack.databases}))
        run_migrate(copy, (), "head")
        run_restore(copy, backup.name, _anyhow(copy.stack))
        run_up(copy, ())
        _probe(session, copy)
        figures.recovery_seconds = round(session.clock.monotonic() - began, 3)
    if phase in ("verify", "all"):
        _verify(session, copy, folder, figures)
        _remove_marks(copy, folder)


def _require_phrase(
    session: Session,
) -> None:
    name = session.stack.instance.name
    lines = [f"this removes the databases of instance {name} and restores them from a new backup"]
    require_phrase(session.reporter, f"DESTROY {name}", lines, session.options.confirm)


def _require_key(session: Session, backup: BackupSet) -> None:
    """Raise RequestError if the given identity does not decrypt the set."""
    manifest = backup.manifest
    if not manifest.encryption:
        return
    # Older sets have their sums in the manifest, not in a member.
    own = [m for m in manifest.members if m.plain and m.plain.file == PRIVATE]
    least = own or [min(manifest.members, key=lambda member: member.bytes)]
    one = replace(backup, manifest=replace(manifest, members=tuple(least)))
    with session.connected() as (ports, run):
        ports.store.decrypted(run, one, session.identity(), session.reporter.progress)


def _source(session: Session, phase: str, file: str) -> BackupSet | None:
    """Return the set that the copy is restored from, None if the copy exists already."""
    if phase not in ("setup", "all"):
        return None
    sets = session.local_sets()
    return set_ref.resolve(session.stack, sets, set_ref.parse(session.stack, file))


def _session_of(session: Session, made: sandbox.Copy) -> Session:
    return _nested(session, replace(session.options, yes=True, confirm=None), made)


def _nested(session: Session, options: Any, made: sandbox.Copy | None = None) -> Session:
    stack = session.stack if made is None else made.stack
    return Session(stack, session.reporter, replace(options, yes=True))


def _write_marks(copy: Session, folder: Path) -> None:
    word = secrets.token_hex(8)
    with copy.connected() as (ports, _):
        places = drill_markers.write(copy.stack, ports, word)
    text = json.dumps({"word": word, "places": places})
    files.replace_synced(folder / "marks.json", text.encode())


def _missing_marks(copy: Session, folder: Path, figures: Figures) -> list[str]:
    wanted: Mapping[str, Any] = json.loads(read_private(folder / "marks.json"))
    with copy.connected() as (ports, _):
        missing = drill_markers.missing(copy.stack, ports, wanted["word"], wanted["places"])
    figures.marks = len(wanted["places"]) - len(missing)
    return missing


def _remove_marks(copy: Session, folder: Path) -> None:
    with copy.connected() as (ports, _):
        drill_markers.erase(
            copy.stack, ports, json.loads(read_private(folder / "marks.json"))["places"]
        )
    (folder / "marks.json").unlink()


def _probe(session: Session, copy: Session) -> int:
    """Run every probe of stack.yaml; return their number. Raise CheckFailed if one fails."""
    with copy.connected() as (ports, _):
        for probe in session.stack.probes:
            if problem := asking.probe_problem(copy.stack, ports, probe):
                raise CheckFailed(
                    f"probe {probe.words} failed: {problem}",
                    "check 'inv logs', or correct the probe in stack.yaml",
                )
    return len(session.stack.probes)


def _outline(phase: str, destructive: bool, writes: Sequence[DrillWrite]) -> Sequence[str]:  # noqa: FBT001
    where = "on the instance itself" if destructive else "in an isolated copy of the stack"
    lines = [f"drill ({phase}) {where}"]
    if phase in ("setup", "all") and not destructive:
        lines.append(
            "  create a copy of the stack: own volumes and networks, no ports, no image built "
            "or pulled"
        )
        lines.append(
            "  start the database servers, restore the set, start the other services, run the "
            "probes"
        )
    if phase in ("setup", "all"):
        lines.append("  write a marker into every database and every volume that is backed up")
        for w in writes:
            asked = without_query(w.path)
            lines.append(f"  write a marker with {w.method} {w.service}:{w.port}{asked}")
    if phase in ("cycle", "all"):
        lines.append("  back up, remove every volume, restore from that backup, run the probes")
    if phase in ("verify", "all"):
        lines.append("  check every marker" + ("" if destructive else ", then remove the copy"))
    return lines
