"""The composition root: one method per verb. Only here do adapters and planners meet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app import asking, choosing, declared, foreign
from quiesce.app.backing_up import BackingUp
from quiesce.app.backups_folder import runs_folder
from quiesce.app.cleaning import Cleaning
from quiesce.app.confirming import from_other_instance, require_phrase
from quiesce.app.connect import disconnect
from quiesce.app.entering import Entering
from quiesce.app.frame import Options
from quiesce.app.project import settle_project
from quiesce.app.recovering import Recovering
from quiesce.app.reporting import Reporting
from quiesce.app.reports import checked_note
from quiesce.app.restoring import (
    complete_request,
    prepare_restore,
    readable,
    restore_outcome,
)
from quiesce.app.scheduling import rotate_log
from quiesce.app.sending import Sending
from quiesce.app.shutting_down import ShuttingDown
from quiesce.app.verifying import Verifying
from quiesce.errors import CheckFailed, RequestError
from quiesce.plan import migrate, services
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreRequest

if TYPE_CHECKING:
    from quiesce.execute.run import Ports, Run
    from quiesce.model import BackupSet, Probe
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan
    from quiesce.report import Reporter, RestoreOutcome


class App(Recovering, BackingUp, Sending, Reporting, Verifying, Cleaning, ShuttingDown, Entering):
    """Quiesce for one instance of one stack."""

    # -------------------------------------------------------------------------- lifecycle

    def up(self, names: Sequence[str], *, build: bool = False) -> None:
        """Make and start services, in order, and wait until they are healthy.

        What runs and would be made anew is named, and asked about.
        """
        anew: dict[str, str] = {}

        def plan(ports: Ports, seen: Observed, run: str) -> Plan:
            def outdated(wanted: Sequence[str]) -> Mapping[str, str]:
                anew.update(ports.premises.outdated(wanted))
                return anew

            return services.plan_up(self.stack, seen, run, names, build=build, outdated=outdated)

        def confirm(*_: object) -> None:
            if anew:
                told = ", ".join(f"{name} ({why})" for name, why in anew.items())
                self._require_yes(f"these run and are made anew: {told}; go on?")

        self._change("up", plan, "up and healthy", confirm=confirm)

    def start(self, names: Sequence[str]) -> None:
        """Start existing containers again."""
        self._change(
            "start",
            lambda _, seen, run: services.plan_start(self.stack, seen, run, names),
            "started",
        )

    def stop(self, names: Sequence[str]) -> None:
        """Stop services, what depends on them first."""
        self._change(
            "stop", lambda _, seen, run: services.plan_stop(self.stack, seen, run, names), "stopped"
        )

    def restart(self, names: Sequence[str]) -> None:
        """Stop and start what runs of these services, with what depends on them."""
        self._change(
            "restart",
            lambda _, seen, run: services.plan_restart(self.stack, seen, run, names),
            "restarted",
        )

    def rebuild(self, names: Sequence[str]) -> None:
        """Build images anew, replace their containers, and restart what depends on them."""
        self._change(
            "rebuild",
            lambda _, seen, run: services.plan_rebuild(self.stack, seen, run, names),
            "rebuilt and healthy",
        )

    def down(self, names: Sequence[str]) -> None:
        """Remove containers and networks; volumes stay."""
        self._change(
            "down",
            lambda _, seen, run: services.plan_down(self.stack, seen, run, names),
            "down; every volume is still there",
        )

    # -------------------------------------------------------------------- backup and restore

    def restore(
        self,
        file: str | None,
        request: RestoreRequest,
        *,
        database: str | None = None,
        note: str = "",
        from_instance: str | None = None,
    ) -> RestoreOutcome | None:
        """Bring a set back, or a single file: built beside, checked, exchanged at the end.

        `database` is the one that a single file is of; `note` is for the log of restores.
        `from_instance` is the instance that the set was made of, where it is another one.
        """
        note = checked_note(note)
        if path := foreign.is_single_file(self.stack, file):
            if from_instance is not None:
                raise RequestError("--from-instance is for sets", "leave it out: a file is of none")
            return self._restore_file(path, request, database, note)
        if database is not None:
            raise RequestError("--database is for single files", "use --only with a set")
        sets = self._store_sets()
        source = choosing.resolve(self.stack, sets, file, self._ask_for_set, from_instance)
        request = complete_request(source, request)

        green: list[Probe] = []
        afterwards: list[str] = []
        sources: dict[str, BackupSet] = {source.name: source}

        def plan(ports: Ports, seen: Observed, run: str) -> Plan:
            sources[source.name] = read = readable(ports, run, source, self._identity())
            prepared = prepare_restore(self.stack, ports, seen, read, request)
            afterwards.extend(prepared.afterwards)
            if self.stack.probes and request.restart and not self.options.dry_run:
                green.extend(asking.answered(self.stack, ports))
            safety_set = self._new_set_name(ports, "safety")
            return plan_restore(
                self.stack, seen, read, prepared.request, run, safety_set, prepared.taken
            )

        def confirm(*_: object) -> None:
            if request.in_place and not request.safety:
                lines = [f"rows of {source.name} replace the live ones: there is no way back"]
                phrase = f"REPLACE {self.stack.instance.name}"
                require_phrase(self.reporter, phrase, lines, self.options.confirm)
                return
            if source.manifest.instance != self.stack.instance.name and not request.beside:
                phrase, lines = from_other_instance(source, self.stack)
                require_phrase(self.reporter, phrase, lines, self.options.confirm)
                return
            what = f"the rows of {source.name}" if request.data_only else source.name
            if request.beside:
                what = f"{source.name} as {request.beside}"
            self._require_yes(f"restore {what} into {self.stack.instance.name}?")

        began = self.clock.monotonic()
        run = self._change("restore", plan, confirm=confirm, sources=sources, note=note)
        if run is None:
            return None
        outcome = self._restored(source, request, run, began)
        for text in afterwards:
            self.reporter.warn(text)
        self._require_answers(green)
        return outcome

    def _require_answers(self, probes: Sequence[Probe]) -> None:
        """Raise CheckFailed when a probe that was answered well before the restore is not now."""
        if not probes:
            return
        patience = self.stack.restart.health_timeout
        run = self._run_id()
        ports = self._connect(run)
        try:
            wrong = asking.still_answered(self.stack, ports, probes, self.clock, patience)
        finally:
            disconnect(ports, run)
        if wrong:
            raise CheckFailed(
                f"before the restore it was answered well, and is not now: {wrong[0]}",
                "see 'inv logs'; 'inv undo-restore' goes back to what was there before",
                details=wrong[1:],
            )

    def _restored(
        self, source: BackupSet, request: RestoreRequest, run: Run, began: float
    ) -> RestoreOutcome:
        outcome = restore_outcome(source, run, self.clock.monotonic() - began)
        self.reporter.restore_done(outcome)
        if name := request.beside:
            text = (
                f"{name} is a database of its own now: drop it when it is not needed any more, or"
            )
            self.reporter.note(f"{text} declare it, for no set holds it")
        return outcome

    def _restore_file(
        self, path: Path, request: RestoreRequest, database: str | None, note: str
    ) -> RestoreOutcome | None:
        sources: dict[str, BackupSet] = {}
        afterwards: list[str] = []
        volumes = {volume.key for volume in self.stack.volumes}
        volume = request.only[0] if len(request.only) == 1 and request.only[0] in volumes else None
        wanted = foreign.ForeignFile(path, database, volume)
        request = replace(request, foreign=True)

        def plan(ports: Ports, seen: Observed, run: str) -> Plan:
            source = foreign.as_source(self.stack, ports, run, wanted, self._identity())
            sources[source.name] = source
            full = complete_request(source, request)
            prepared = prepare_restore(self.stack, ports, seen, source, full)
            afterwards.extend(prepared.afterwards)
            safety_set = self._new_set_name(ports, "safety")
            return plan_restore(
                self.stack, seen, source, prepared.request, run, safety_set, prepared.taken
            )

        began = self.clock.monotonic()
        what = f"{path.name} as {request.beside}" if request.beside else path.name
        question = f"restore {what} into {self.stack.instance.name}?"
        run = self._change("restore", plan, confirm=question, sources=sources, note=note)
        if run is None:
            return None
        (source,) = sources.values()
        outcome = self._restored(source, request, run, began)
        for text in afterwards:
            self.reporter.warn(text)
        return outcome

    def backups(self) -> None:
        """List the catalogue."""
        from quiesce.adapters.sets.local import LocalStore

        store = LocalStore(self.stack.backups)
        sets, now = store.sets(), self.clock.now()
        self.reporter.sets(sets, now, reasons=self._reasons(sets), unreadable=store.unreadable())

    # --------------------------------------------------------------------------- databases

    def migrate(self, names: Sequence[str], revision: str) -> None:
        """Bring databases to a revision; only their server has to be up."""
        self._change(
            "migrate",
            lambda _, seen, run: migrate.plan_migrate(self.stack, seen, run, names, revision),
            "migrated",
        )

    def migrations(self, names: Sequence[str]) -> None:
        """Show where databases stand in their migrations; exit 7 for one that is not sound."""
        from quiesce.app.looking import find_migrations

        with self._looking() as (ports, seen):
            rows = find_migrations(self.stack, ports, seen, names)
        self.reporter.migrations(rows)
        if wrong := [row.database for row in rows if row.unknown or row.problem]:
            raise CheckFailed(
                f"the migrations of {', '.join(wrong)} are not sound",
                "see above; 'inv migrate' refuses them until that is put right",
            )

    # ----------------------------------------------------------------------------- looking

    def status(self) -> None:
        """Show what runs, what is kept and how old the newest backup is."""
        from quiesce.app.looking import show_status

        with self._looking() as (ports, seen):
            show_status(self.stack, ports, seen, self.reporter)
            self._tell_overdue(ports.store.sets())

    def volumes(self, max_size: str | None) -> None:
        """Show the inventory of volumes; exit 7 when one is larger than it may be."""
        from quiesce.app.looking import show_volumes

        with self._looking() as (ports, seen):
            show_volumes(self.stack, ports, seen, self.reporter, max_size)

    def check(self) -> None:
        """Compare stack.yaml with the Compose model and the servers; exit 7 for any error."""
        from quiesce.app.looking import find_findings

        with self._looking() as (ports, seen):
            findings = find_findings(self.stack, ports, seen)
        self.reporter.findings(findings)
        if any(finding.level == "error" for finding in findings):
            count = sum(finding.level == "error" for finding in findings)
            raise CheckFailed(f"check found {count} errors", "each has a hint beside it")

    def doctor(self) -> None:
        """Check everything that a backup or a restore relies on; exit 7 for any error."""
        from quiesce.app.doctor import examine

        findings = examine(self.stack, self.clock, self._looking, self.options.environ)
        self.reporter.findings(findings)
        if count := sum(finding.level == "error" for finding in findings):
            raise CheckFailed(f"doctor found {count} errors", "each has a hint beside it")

    def lose_everything(self) -> None:
        """No container, network and volume of a throwaway copy: the disaster of a drill."""
        if not self.stack.instance.throwaway:
            raise RequestError("only a throwaway copy is lost on purpose", "use 'inv clean-all'")
        with self._looking() as (ports, _):
            ports.premises.remove_project()
            for name in ports.premises.belongings().volumes:
                ports.premises.remove_volume(name)


def _nobody(_: Sequence[BackupSet]) -> str:
    """Nobody is asked: `latest` is meant."""
    return "latest"


def open_app(
    start: Path,
    stack: str | None,
    instance: str | None,
    reporter: Reporter,
    options: Options,
    *,
    anyhow: bool = False,
) -> App:
    """Read `stack.yaml` and return the application for one instance of it.

    `stack` or `QUIESCE_STACK` names the file; otherwise it lies in `start`, beside the tasks.py
    that was loaded. Raise ConfigError or RequestError for what is wrong with it; `anyhow`: unless
    it is known how it was when a run began that is owed something.
    """
    from quiesce.config import load_stack

    named = stack or options.environ.get("QUIESCE_STACK")
    if anyhow:
        file = (Path(named).expanduser() if named else start / "stack.yaml").absolute()
        loaded = declared.load_anyhow(file, instance, options.environ, reporter.warn)
    else:
        loaded = load_stack(_stack_file(start, named), instance, options.environ)
    loaded = settle_project(loaded, anyhow=anyhow)
    rotate_log(loaded)
    reporter.use_zone(ZoneInfo(loaded.timezone))
    return App(loaded, reporter, options)


def engines_of(start: Path, stack: str | None) -> Mapping[str, tuple[str, str]]:
    """Return what tells the engine of each instance from another. Raise ConfigError."""
    from quiesce.config import read_engines

    return read_engines(_stack_file(start, stack or os.environ.get("QUIESCE_STACK")))


def _stack_file(start: Path, named: str | None) -> Path:
    file = Path(named).expanduser() if named else start / "stack.yaml"
    if not file.is_file():
        raise RequestError(f"there is no {file}", "name it with --stack PATH or QUIESCE_STACK")
    return file.absolute()


__all__ = ["App", "Options", "engines_of", "open_app", "runs_folder"]
