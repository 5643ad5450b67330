"""The verb `restore`, for sets and single files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.app import importing, set_ref
from quiesce.app import probes as asking
from quiesce.app.confirm import from_other_instance, require_phrase
from quiesce.app.coverage import left_behind
from quiesce.app.outlook import require_room_to_restore, with_downtime
from quiesce.app.run_reports import checked_note
from quiesce.app.session import Session
from quiesce.commands.restore_preparation import (
    check_request,
    prepare_restore,
    readable,
    restore_outcome,
)
from quiesce.commands.restore_servers import find_absent
from quiesce.errors import CheckFailed, RequestError
from quiesce.plan.naming import SAFETY
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreRequest, rows_alone

if TYPE_CHECKING:
    from quiesce.execute.run import Ports, Run
    from quiesce.model import Probe, RestoreSource
    from quiesce.observed import Observed
    from quiesce.plan.restore_request import RestoreInputs
    from quiesce.plan.steps import Plan
    from quiesce.report import RestoreOutcome


def run_restore(
    session: Session,
    file: str | None,
    request: RestoreRequest,
    *,
    database: str | None = None,
    note: str = "",
    from_instance: str | None = None,
) -> RestoreOutcome | None:
    """Restore a set or a single file: build new copies, check and exchange them.

    `database` is the target of a single file; `note` is for the restore log. `from_instance` is
    the instance of the set, if it is another one.
    """
    note = checked_note(note)
    ref = None if file is None else set_ref.parse(session.stack, file)
    if ref is not None and (path := set_ref.single_file(session.stack, ref)):
        if from_instance is not None:
            raise RequestError(
                "--from-instance applies to sets only", "omit it: a file belongs to no instance"
            )
        return _restore_file(session, path, request, database, note)
    if database is not None:
        raise RequestError(
            "--database applies to single files only", "use --only to choose from a set"
        )
    sets = session.local_sets()
    if ref is None:
        own = set_ref.require_any(session.stack, sets, from_instance)
        ref = set_ref.parse(session.stack, session.ask_for_set(own))
    source = set_ref.resolve(session.stack, sets, ref, from_instance)
    check_request(source, request)
    absent = find_absent(session, source, request)
    request = absent.request(request)

    green: list[Probe] = []
    afterwards: list[str] = []
    behind: list[str] = []
    sources: dict[str, RestoreSource] = {source.name: source}

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        sources[source.name] = read = readable(ports, run, source, session.identity())
        prepared = prepare_restore(session.stack, ports, seen, read, request)
        afterwards.extend(prepared.afterwards)
        behind.extend(left_behind(session.stack, ports, seen, read, request))
        if session.stack.probes and request.restart and not session.options.dry_run:
            green.extend(asking.answered(session.stack, ports))
        before, seen = absent.planned(session, seen, run) or (None, seen)
        made = _planned(session, ports, seen, read, request, prepared.inputs, run)
        return made if before is None else replace(made, nodes=(*before.nodes, *made.nodes))

    def confirm(*_: object) -> None:
        if request.in_place and not request.safety:
            lines = [f"this replaces live rows with the rows of {source.name} and cannot be undone"]
            phrase = f"REPLACE {session.stack.instance.name}"
            require_phrase(session.reporter, phrase, lines, session.options.confirm)
            return
        if source.manifest.instance != session.stack.instance.name and not request.beside:
            phrase, lines = from_other_instance(source, session.stack)
            require_phrase(session.reporter, phrase, lines, session.options.confirm)
            return
        what = f"the rows of {source.name}" if rows_alone(source, request) else source.name
        if request.beside:
            what = f"{source.name} as {request.beside}"
        session.require_yes(f"restore {what} into {session.stack.instance.name}?")

    began = session.clock.monotonic()
    asked = absent.bring_up_servers(session, confirm)
    run = session.change(
        "restore", plan, confirm="" if asked else confirm, sources=sources, note=note
    )
    if run is None:
        return None
    outcome = _restored(session, source, request, run, began, behind)
    absent.bring_up_rest(session, request)
    for text in afterwards:
        session.reporter.warn(text)
    _require_answers(session, green)
    return outcome


def _planned(
    session: Session,
    ports: Ports,
    seen: Observed,
    source: RestoreSource,
    request: RestoreRequest,
    inputs: RestoreInputs,
    run: str,
) -> Plan:
    safety_set = session.new_set_name(ports, SAFETY)
    made = plan_restore(session.stack, seen, source, request, inputs, run, safety_set)
    require_room_to_restore(session.stack, ports, seen, made, source)
    return with_downtime(session.stack, made)


def _require_answers(session: Session, probes: Sequence[Probe]) -> None:
    """Raise CheckFailed if a probe that passed before the restore fails now."""
    if not probes:
        return
    patience = session.stack.restart.health_timeout
    with session.connected() as (ports, _):
        wrong = asking.still_answered(session.stack, ports, probes, session.clock, patience)
    if wrong:
        raise CheckFailed(
            f"the probe passed before the restore and fails now: {wrong[0]}",
            "check 'inv logs'; 'inv undo-restore' brings back the previous data",
            details=wrong[1:],
        )


def _restored(
    session: Session,
    source: RestoreSource,
    request: RestoreRequest,
    run: Run,
    began: float,
    behind: Sequence[str] = (),
) -> RestoreOutcome:
    outcome = restore_outcome(source, run, session.clock.monotonic() - began)
    outcome = replace(outcome, left_behind=tuple(behind))
    session.reporter.restore_done(outcome)
    if name := request.beside:
        advice = "drop it when you no longer need it, or add it to stack.yaml"
        session.reporter.note(f"{name} is not backed up: {advice}")
    return outcome


def _restore_file(
    session: Session, path: Path, request: RestoreRequest, database: str | None, note: str
) -> RestoreOutcome | None:
    sources: dict[str, RestoreSource] = {}
    afterwards: list[str] = []
    volumes = {volume.key for volume in session.stack.volumes}
    volume = request.only[0] if len(request.only) == 1 and request.only[0] in volumes else None
    wanted = importing.ForeignFile(path, database, volume)

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        source = importing.as_source(session.stack, ports, run, wanted, session.identity())
        sources[source.name] = source
        check_request(source, request)
        prepared = prepare_restore(session.stack, ports, seen, source, request)
        afterwards.extend(prepared.afterwards)
        return _planned(session, ports, seen, source, request, prepared.inputs, run)

    began = session.clock.monotonic()
    what = f"{path.name} as {request.beside}" if request.beside else path.name
    question = f"restore {what} into {session.stack.instance.name}?"
    run = session.change("restore", plan, confirm=question, sources=sources, note=note)
    if run is None:
        return None
    (source,) = sources.values()
    outcome = _restored(session, source, request, run, began)
    for text in afterwards:
        session.reporter.warn(text)
    return outcome
