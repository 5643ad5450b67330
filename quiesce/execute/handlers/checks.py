"""Checks of a backup: other writers, clean shutdown, consistency, downtime."""

from __future__ import annotations

import shlex

from quiesce.errors import Busy, CheckFailed, Interrupted, QuiesceError
from quiesce.execute.handlers.registry import handles
from quiesce.execute.run import Run
from quiesce.model import Manifest
from quiesce.plan import outcome, sqlite
from quiesce.plan import steps as s
from quiesce.plan.coverage import of_kinds, undeclared_words
from quiesce.undeclared import Contents, find_undeclared


@handles(s.CheckIdle)
def idle(step: s.CheckIdle, run: Run) -> str:
    """Report other sessions. Whether they wrote anything is determined when the databases are
    dumped."""
    databases = [run.stack.database(key) for key in step.databases]
    seen = run.ports.databases.activity(databases)
    unknown = outcome.external_sessions(seen, step.ignored)
    for each in unknown:
        run.ports.sink.warn(f"also connected: {outcome.session_words(each)}")
    if step.set:
        run.drafts[step.set].activity, run.drafts[step.set].ignored = seen, step.ignored
    else:
        run.ended_sessions = tuple(each for each in unknown if not each.idle)
    return f"{len(unknown)} others connected" if unknown else ""


@handles(s.WatchStarts)
def watch(step: s.WatchStarts, run: Run) -> str:
    del step
    run.ports.runtime.watch_starts()
    return ""


@handles(s.CheckStopped)
def stopped(step: s.CheckStopped, run: Run) -> str:
    """Check again which writers run or ran, and record in the set what that means for it."""
    runtime = run.ports.runtime
    declared = [run.stack.volume(key) for key in step.volumes]
    writers = outcome.running_writers(
        runtime.services(),
        runtime.volumes(declared) if declared else (),
        runtime.seen_starting(step.services, step.volumes),
        step,
    )
    run.drafts[step.set].inconsistencies.append(outcome.writers_words(writers))
    return f"{', '.join(writers)} running or started" if writers else ""


@handles(s.CheckShutdown)
def shutdown(step: s.CheckShutdown, run: Run) -> str:
    """Raise QuiesceError unless the server's files may be copied."""
    state = run.observed.volume(step.volume)
    units = run.observed.service(step.service).units
    before = next((unit.exit_code for unit in units if unit.exit_code), None)
    code = run.exit_codes.get(step.service, before)
    clusters = run.ports.volumes.clusters(state, step.copy)
    wrong = outcome.unclean_shutdown(step.service, code, clusters)
    if wrong:
        raise QuiesceError(
            f"{wrong}: a copy of its files could be corrupt",
            f"start {step.service}, give it a longer stop_grace_period, and read its log with "
            f"'inv logs --service {step.service}'",
        )
    if step.set:
        run.drafts[step.set].clusters += clusters
    return ", ".join(f"PostgreSQL {c.version}, {c.state} at {c.checkpoint}" for c in clusters)


@handles(s.CheckConsistent)
def consistent(step: s.CheckConsistent, run: Run) -> str:
    manifest = _published(step.set, run)
    if not manifest.consistent:
        raise CheckFailed(
            f"{step.set} is published, but is not consistent: {manifest.inconsistency}",
            "stop that writer and back up again; if its writes do not matter, add it to "
            "writers.ignore in stack.yaml",
        )
    return ""


@handles(s.RequireSqlite)
def require_sqlite(step: s.RequireSqlite, run: Run) -> str:
    if wrong := sqlite.damaged(run.drafts[step.set].volumes.values()):
        facts = [f"{one.file} of {v.noun} {v.key}: {one.problems[0]}" for v, one in wrong]
        where, first = wrong[0]
        raise CheckFailed(
            f"{step.set} is published, but an SQLite database was damaged before the backup: "
            f"{facts[0]}",
            f"restore it from an older set: inv restore --file SET --only {where.key} --path "
            f"{shlex.quote(first.file)}",
            details=facts[1:],
        )
    return ""


@handles(s.FindUndeclared)
def find(step: s.FindUndeclared, run: Run) -> str:
    """Look for undeclared data once more, now that services run again. If this fails, the earlier
    result counts."""
    draft, ports = run.drafts[step.set], run.ports
    draft.undeclared = step.before
    askable = [d for d in run.stack.databases if run.observed.database(d.key).reachable]
    try:
        now = find_undeclared(
            run.stack,
            ports.runtime.services(),
            [state for state in ports.runtime.volumes(run.stack.volumes) if state.exists],
            [
                name
                for name in (ports.databases.undeclared(askable) if "database" in step.data else ())
                if name not in step.ignored
            ],
            local=run.observed.engine.local,
            contents=Contents(ports.runtime, ports.volumes) if "file" in step.data else None,
        )
    except (Busy, Interrupted):
        raise
    except QuiesceError as error:
        ports.sink.warn(
            f"cannot look again for data that stack.yaml does not mention: {error.fact}"
        )
        return ""
    draft.undeclared = of_kinds((*step.before, *now), step.data)
    return undeclared_words(draft.undeclared)


@handles(s.CheckUndeclared)
def undeclared(step: s.CheckUndeclared, run: Run) -> str:
    found = _published(step.set, run).undeclared
    if found:
        raise CheckFailed(
            f"{step.set} is published, but does not contain {undeclared_words(found)}: stack.yaml "
            "does not mention that data",
            f"{found[0].hint}; 'inv check' lists everything with its line for stack.yaml",
            details=[f"{one.words} {one.fact}" for one in found],
        )
    return ""


@handles(s.CheckDowntime)
def downtime(step: s.CheckDowntime, run: Run) -> str:
    spent = _published(step.set, run).downtime_seconds
    if spent.overall > step.limit:
        raise CheckFailed(
            f"{step.set} is published, but services were down for {spent.overall:.1f} s, more "
            f"than max_downtime ({step.limit:g} s)",
            "check which service took longest to stop or to become healthy, or raise max_downtime",
            details=[f"{name}: {seconds:.1f} s" for name, seconds in spent.services.items()],
        )
    return f"{spent.overall:.1f} s"


def _published(name: str, run: Run) -> Manifest:
    return next(sealed for sealed in run.published if sealed.name == name).manifest
