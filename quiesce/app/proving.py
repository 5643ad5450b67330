"""Proving that sets are worth something: restored into a copy, and rehearsed as a drill."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.adapters import files
from quiesce.app import asking, choosing, isolated, marking, reports
from quiesce.app.backups_folder import secure
from quiesce.app.confirming import require_phrase
from quiesce.app.connect import disconnect
from quiesce.app.frame import Frame
from quiesce.errors import CheckFailed, QuiesceError, RequestError
from quiesce.model import without_query
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from quiesce.private_facts import PRIVATE
from quiesce.private_files import read_private
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.app import App
    from quiesce.model import BackupSet, DrillWrite

PHASES = ("setup", "cycle", "verify", "all")
#: Where older scripts and pipelines say which phase they are in.
PHASE_VARIABLE = "BACKUP_RESTORE_PHASE"


#: What stands in the way is named, and the rest looked at.
_ANYHOW = RestoreRequest(safety=False, not_valid=True, skip_broken=True)


@dataclass(slots=True)
class Figures:
    """What a drill measured and compared, for its report."""

    source: str = ""
    recovery_seconds: float | None = None
    backup_seconds: float | None = None
    marks: int = 0
    probes: int = 0

    def facts(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "source": self.source,
            "recovery_seconds": self.recovery_seconds,
            "backup_seconds": self.backup_seconds,
            "marks": self.marks,
            "probes": self.probes,
        }


class NeedsMore(RequestError):
    """A set could not be restored into a copy, for want of something that is not in it: a role,
    an extension, a locale, the right version of the server. It says nothing about the set."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of restoring a set into a copy: why that failed, or what did not come back as it
    was, and would need a flag."""

    problems: tuple[str, ...] = ()
    eased: tuple[str, ...] = ()


class Proving(Frame):
    """Restores that are done to know that they can be."""

    def try_restore(self, backup: BackupSet) -> Tried:
        """Restore the set into a copy with its database servers alone.

        The copy is compared table by table and removed. Raise NeedsMore where something is
        missing that the set needs, and QuiesceError when no copy could be made, or there is no key
        for the set: all of that says nothing about the set.
        """
        self._require_key(backup)
        run = self._run_id()
        servers = {record.service for record in backup.manifest.databases}
        with isolated.isolated(self.stack, run) as made:
            app = self._app_of(made)
            if servers:
                app.up(sorted(servers))
            request = replace(_ANYHOW, restart=False)
            try:
                outcome = app.restore(str(backup.path), request)
            except RequestError as error:
                # Refused before anything was loaded.
                raise NeedsMore(error.fact, error.hint, details=error.details) from error
            except QuiesceError as error:
                return Tried(problems=(error.fact, *error.details))
        return Tried(eased=outcome.eased if outcome else ())

    def drill(self, phase: str | None, file: str, *, destructive: bool, note: str = "") -> None:
        """Rehearse a disaster: data is written, backed up, lost, restored, and looked for.

        In a copy of the stack, or with `destructive` on the instance itself after a phrase. Raise
        CheckFailed when something is not there afterwards.
        """
        phase = phase or self.options.environ.get(PHASE_VARIABLE) or "all"
        if phase not in PHASES:
            raise RequestError(f"there is no phase {phase}", f"use {', '.join(PHASES)}")
        note = reports.checked_note(note)
        if self.options.dry_run:
            lines = _outline(phase, destructive, self.stack.drill_writes)
            self.reporter.text("".join(f"{line}\n" for line in lines))
            return
        run = self._run_id()
        figures = Figures()
        with reports.reported(self.stack, run, "drill", self.clock, self.reporter) as account:
            account.note = note
            account.source = figures.source = self._source(phase, file)
            if destructive:
                self._require_phrase()
            account.begin_restore(self.clock.now())
            try:
                if destructive:
                    self._drill_here(phase, figures)
                else:
                    self._drill_in_copy(run, phase, figures)
            finally:
                account.facts.update({k: v for k, v in figures.facts().items() if k != "source"})
                account.facts["phase"] = phase
                account.facts["destructive"] = destructive
        took = figures.recovery_seconds
        self.reporter.done(
            f"drill ({phase}) succeeded"
            + (f": recovery took {words.duration(took)}" if took is not None else ""),
            {"phase": phase, **figures.facts()},
        )

    # ------------------------------------------------------------------------------ in a copy

    def _drill_in_copy(self, run: str, phase: str, figures: Figures) -> None:
        # A copy that was left is asked about marks that only it has, so it is not swept before.
        for name in isolated.sweep(self.stack, kept_too=phase in ("setup", "all")):
            self.reporter.note(f"removed {name}, which an earlier drill left")
        if phase in ("setup", "all"):
            with isolated.isolated(self.stack, run, network_open=self.stack.drill_open) as made:
                self._set_up(made, figures)
                if phase == "setup":
                    isolated.keep(made)
                    self.reporter.note(f"{made.stack.instance.project} is left for the next phase")
                    return
                self._cycle(self._app_of(made), figures)
                self._verify(self._app_of(made), made.folder, figures)
            return
        with isolated.reopened(self.stack) as left:
            if left is None:
                raise RequestError(
                    "there is no copy of a drill's setup", "run 'inv drill --phase setup' first"
                )
            if phase == "cycle":
                self._cycle(self._app_of(left), figures)
                return
            try:
                self._verify(self._app_of(left), left.folder, figures)
            finally:
                isolated.remove(left)

    def _set_up(self, made: isolated.Copy, figures: Figures) -> None:
        """Bring the copy up from the set, which is what recovering from a disaster takes."""
        app = self._app_of(made)
        began = self.clock.monotonic()
        source = figures.source
        self._recover_into(app, self.stack.backups / source)
        figures.recovery_seconds = round(self.clock.monotonic() - began, 3)
        self._write_marks(app, made.folder)

    def _recover_into(self, app: App, source: Path) -> None:
        app.up(sorted({database.service for database in self.stack.databases}))
        app.restore(str(source), _ANYHOW)
        app.up(())
        self._probe(app)

    def _cycle(self, app: App, figures: Figures) -> None:
        began = self.clock.monotonic()
        backup = app.backup(BackupRequest(label="drill"))
        figures.backup_seconds = round(self.clock.monotonic() - began, 3)
        if backup is None:
            raise QuiesceError("the drill's backup made no set")
        app.lose_everything()
        self._recover_into(app, backup.path)

    def _verify(self, app: App, folder: Path, figures: Figures) -> None:
        figures.probes = self._probe(app)
        missing = self._missing_marks(app, folder, figures)
        if missing:
            raise CheckFailed(
                f"after the drill's restore {missing[0]}",
                "do not rely on backups of this stack until this is understood",
                details=missing[1:],
            )

    # -------------------------------------------------------------------------- on the instance

    def _drill_here(self, phase: str, figures: Figures) -> None:
        folder = isolated.isolated_folder(self.stack) / "here"
        secure(self.stack)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        app = self._nested(self.options)
        if phase in ("setup", "all"):
            self._write_marks(app, folder)
        if phase in ("cycle", "all"):
            began = self.clock.monotonic()
            backup = app.backup(BackupRequest(label="drill"))
            figures.backup_seconds = round(self.clock.monotonic() - began, 3)
            if backup is None:
                raise QuiesceError("the drill's backup made no set")
            figures.source = backup.name
            # The last moment: what follows removes all that the set is to bring back.
            self._require_key(backup)
            began = self.clock.monotonic()
            name = self.stack.instance.name
            self._nested(replace(self.options, confirm=f"NUKE {name}", instance=name)).nuke(
                force=False
            )
            app.up(sorted({database.service for database in self.stack.databases}))
            app.migrate((), "head")
            app.restore(backup.name, _ANYHOW)
            app.up(())
            self._probe(app)
            figures.recovery_seconds = round(self.clock.monotonic() - began, 3)
        if phase in ("verify", "all"):
            self._verify(app, folder, figures)
            self._remove_marks(app, folder)

    def _require_phrase(self) -> None:
        name = self.stack.instance.name
        lines = [f"the databases of instance {name} are removed and restored: a real disaster"]
        require_phrase(self.reporter, f"DESTROY {name}", lines, self.options.confirm)

    # ------------------------------------------------------------------------------------ inside

    def _require_key(self, backup: BackupSet) -> None:
        """Raise RequestError where the identity at hand does not decrypt the set."""
        manifest = backup.manifest
        if not manifest.encryption:
            return
        # A set made before it had a member for its sums has them in the manifest.
        own = [m for m in manifest.members if m.plain and m.plain.file == PRIVATE]
        least = own or [min(manifest.members, key=lambda member: member.bytes)]
        one = replace(backup, manifest=replace(manifest, members=tuple(least)))
        run = self._run_id()
        ports = self._connect(run)
        try:
            ports.store.decrypted(run, one, self._identity(), self.reporter.progress)
        finally:
            disconnect(ports, run)

    def _source(self, phase: str, file: str) -> str:
        if phase not in ("setup", "all"):
            return "the copy"
        sets = self._store_sets()
        return choosing.resolve(self.stack, sets, file, lambda _: "latest").name

    def _app_of(self, made: isolated.Copy) -> App:
        return self._nested(replace(self.options, yes=True, confirm=None), made)

    def _nested(self, options: Any, made: isolated.Copy | None = None) -> App:
        stack = self.stack if made is None else made.stack
        app: App = self.__class__(stack, self.reporter, replace(options, yes=True))  # type: ignore[assignment]
        return app

    def _write_marks(self, app: App, folder: Path) -> None:
        word = secrets.token_hex(8)
        run = app._run_id()  # noqa: SLF001  the same class, for another stack
        ports = app._connect(run)  # noqa: SLF001
        try:
            places = marking.write(app.stack, ports, word)
        finally:
            disconnect(ports, run)
        text = json.dumps({"word": word, "places": places})
        files.replace_synced(folder / "marks.json", text.encode())

    def _missing_marks(self, app: App, folder: Path, figures: Figures) -> list[str]:
        wanted: Mapping[str, Any] = json.loads(read_private(folder / "marks.json"))
        run = app._run_id()  # noqa: SLF001
        ports = app._connect(run)  # noqa: SLF001
        try:
            missing = marking.missing(app.stack, ports, wanted["word"], wanted["places"])
        finally:
            disconnect(ports, run)
        figures.marks = len(wanted["places"]) - len(missing)
        return missing

    def _remove_marks(self, app: App, folder: Path) -> None:
        run = app._run_id()  # noqa: SLF001
        ports = app._connect(run)  # noqa: SLF001
        try:
            marking.erase(
                app.stack, ports, json.loads(read_private(folder / "marks.json"))["places"]
            )
        finally:
            disconnect(ports, run)
        (folder / "marks.json").unlink()

    def _probe(self, app: App) -> int:
        """Ask every probe of stack.yaml; return how many there are. Raise CheckFailed."""
        run = app._run_id()  # noqa: SLF001
        ports = app._connect(run)  # noqa: SLF001
        try:
            for probe in self.stack.probes:
                if problem := asking.probe_problem(app.stack, ports, probe):
                    raise CheckFailed(
                        f"probe {probe.words} failed: {problem}",
                        "see 'inv logs', or correct the probe in stack.yaml",
                    )
        finally:
            disconnect(ports, run)
        return len(self.stack.probes)


def _outline(phase: str, destructive: bool, writes: Sequence[DrillWrite]) -> Sequence[str]:  # noqa: FBT001
    where = "on the instance itself" if destructive else "in an isolated copy of the stack"
    lines = [f"drill ({phase}) {where}"]
    if phase in ("setup", "all") and not destructive:
        lines.append("  make a copy: own volumes and networks, no ports, nothing built or pulled")
        lines.append("  up the database servers, restore the set, up the rest, ask the probes")
    if phase in ("setup", "all"):
        lines.append("  write a mark into every database and every volume that is backed up")
        for w in writes:
            asked = without_query(w.path)
            lines.append(f"  write a mark by {w.method} {w.service}:{w.port}{asked}")
    if phase in ("cycle", "all"):
        lines.append("  back up, lose every volume, restore from that backup, ask the probes")
    if phase in ("verify", "all"):
        lines.append("  look for every mark" + ("" if destructive else ", then remove the copy"))
    return lines
