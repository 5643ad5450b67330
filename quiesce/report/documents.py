"""Results as JSON values: the keys of `docs/json.md`. Times are UTC, sizes bytes, spans seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quiesce.report import words
from quiesce.report.values import (
    DrillRecord,
    LastRestore,
    Leftover,
    MigrationRow,
    RestoreOutcome,
    RunRecord,
    Sizes,
    UnfinishedRun,
)

if TYPE_CHECKING:
    from datetime import datetime

    from quiesce.errors import QuiesceError
    from quiesce.findings import Finding
    from quiesce.model import BackupSet, Downtime, Stack
    from quiesce.observed import Observed, Service, ShadowedFolder, VolumeState
    from quiesce.plan.large_sqlite import LargeDatabase
    from quiesce.plan.steps import Plan

Document = dict[str, Any]

#: Exit codes whose details are printed in documents. Details of failed steps may contain lines that
#: services logged, which go to stderr only.
_DETAILS_ARE_OURS = (2, 7)


def plan(value: Plan, text: str) -> Document:
    """Return the plan as data and as text."""
    from quiesce.codec import encode

    return {"plan": encode(value), "plan_text": text}


def backup_set(backup: BackupSet, now: datetime | None = None) -> Document:
    """Return one set; with `now` also its age."""
    manifest, state = backup.manifest, backup.state
    age = {} if now is None else {"age_seconds": (now - manifest.created_at).total_seconds()}
    return {
        "name": backup.name,
        "path": str(backup.path),
        "instance": manifest.instance,
        "created_at": words.utc(manifest.created_at),
        **age,
        "kind": manifest.kind,
        "mode": manifest.mode,
        "label": manifest.label,
        "pinned": state.pinned,
        "consistent": manifest.consistent,
        "inconsistency": manifest.inconsistency,
        "undeclared": [
            {"kind": one.kind, "name": one.name, "fact": one.fact} for one in manifest.undeclared
        ],
        "bytes": backup.bytes,
        "duration_seconds": manifest.duration_seconds,
        "downtime_seconds": downtime(manifest.downtime_seconds),
        "databases": [
            {
                "key": record.key,
                "name": record.name,
                "tables": len(record.tables),
                "rows": sum(table.rows for table in record.tables),
                "revision": list(record.revision),
            }
            for record in manifest.databases
        ],
        "volumes": [
            {
                "key": record.key,
                "files": record.files,
                "bytes": record.bytes,
                "excluded": [
                    {"pattern": part.pattern, "files": part.files, "bytes": part.bytes}
                    for part in record.excluded
                ],
                "sqlite": [
                    {
                        "file": one.file,
                        "bytes": one.bytes,
                        "tables": len(one.tables),
                        "rows": sum(one.tables.values()),
                        "problems": list(one.problems),
                        "unchecked": one.unchecked or None,
                        "orphans": one.orphans,
                    }
                    for one in record.sqlite or ()
                ],
            }
            for record in manifest.volumes
        ],
        "verified_at": words.utc(state.verified_at) if state.verified_at else None,
        "verified_level": state.verified_level,
        "verified_good": state.verified_good,
        "checks": {
            level: {"at": words.utc(check.at), "good": check.good}
            for level, check in state.checks.items()
        },
    }


def runs(records: Sequence[RunRecord], large: Sequence[LargeDatabase]) -> Document:
    """Return the runs that left a report, and large SQLite databases that change little."""
    return {
        "runs": [
            {
                "run": record.run,
                "task": record.task,
                "started_at": words.utc(record.at),
                "seconds": record.seconds,
                "ok": record.ok,
                "exit_code": record.exit_code,
                "fact": record.fact,
                "sets": list(record.sets),
            }
            for record in records
        ],
        "large_sqlite": [
            {
                "volume": one.volume,
                "file": one.file,
                "bytes": one.bytes,
                "changed": round(one.changed, 4),
                "since": one.since,
            }
            for one in large
        ],
    }


def downtime(value: Downtime) -> Document:
    """Return the downtime of services."""
    return {"overall": value.overall, "services": dict(value.services)}


def sets(
    backups: Sequence[BackupSet],
    now: datetime,
    reasons: Mapping[str, tuple[str, ...]] | None,
    unreadable: Sequence[tuple[str, str]],
) -> Document:
    """Return the list of sets. `kept_by` is null if retention was not evaluated."""
    return {
        "sets": [
            {
                **backup_set(backup, now),
                "kept_by": None if reasons is None else list(reasons.get(backup.name, ())),
            }
            for backup in backups
        ],
        "unreadable": [{"name": name, "reason": reason} for name, reason in unreadable],
    }


def restore(outcome: RestoreOutcome) -> Document:
    """Return the results of a restore."""
    return {
        "restored": {
            "source": outcome.source,
            "databases": [
                {
                    "key": d.key,
                    "tables": d.tables,
                    "rows": d.rows,
                    "compared": d.compared,
                    "uncompared": list(d.uncompared),
                }
                for d in outcome.databases
            ],
            "volumes": [
                {"key": v.key, "files": v.files, "bytes": v.bytes} for v in outcome.volumes
            ],
            "seconds": outcome.seconds,
            "downtime_seconds": downtime(outcome.downtime) if outcome.downtime else None,
            "safety_set": outcome.safety_set,
            # Only if a flag allowed it.
            **({"not_as_before": list(outcome.deviations)} if outcome.deviations else {}),
            "left_behind": list(outcome.left_behind),
        }
    }


def status(
    stack: Stack,
    observed: Observed,
    last: BackupSet | None,
    verified: BackupSet | None,
    now: datetime,
    unfinished: Sequence[UnfinishedRun],
    sizes: Sizes,
    covered: Sequence[ShadowedFolder] = (),
    last_restore: LastRestore | None = None,
    last_drill: DrillRecord | None = None,
    left: Sequence[Leftover] = (),
    later: BackupSet | None = None,
) -> Document:
    """Return everything `status` shows."""
    engine = observed.engine
    return {
        "instance": stack.instance.name,
        "project": stack.instance.project,
        "runtime": stack.instance.runtime,
        "engine": {"id": engine.id, "kind": engine.kind, "version": engine.version},
        "services": [_service(service) for service in observed.services],
        "databases": [
            {
                "key": state.key,
                "name": state.name,
                "reachable": state.reachable,
                "exists": state.exists,
                "server_version": state.server_version,
                "revision": list(state.revision),
                "bytes": state.bytes,
                "problem": state.problem,
            }
            for state in observed.databases
        ],
        "undeclared_databases": list(observed.undeclared_databases),
        **volumes(stack, observed, sizes),
        "last_backup": backup_set(last, now) if last else None,
        "newest_set": backup_set(later or last, now) if last else None,
        "last_verified": backup_set(verified, now) if verified else None,
        "last_restore": {
            "request": last_restore.request,
            "began": words.utc(last_restore.began),
        }
        if last_restore
        else None,
        "last_drill": {
            "began": words.utc(last_drill.at),
            "ok": last_drill.ok,
            "source": last_drill.source,
            "recovery_seconds": last_drill.recovery_seconds,
            "problem": last_drill.fact,
        }
        if last_drill
        else None,
        "interrupted_runs": [
            {
                "run": run.run,
                "verb": run.verb,
                "started": words.utc(run.started) if run.started else None,
            }
            for run in unfinished
        ],
        "pending": [
            {
                "run": one.run,
                "what": one.what,
                "bytes": one.bytes,
                "service": one.service,
                "tries": one.tries,
                "fact": one.fact,
                "hint": one.hint,
            }
            for one in left
        ],
        "free_bytes": observed.free_bytes,
        "covered_folders": [
            {
                "service": folder.service,
                "source": folder.source,
                "target": folder.target,
                "entries": list(folder.entries),
            }
            for folder in covered
        ],
    }


def _service(service: Service) -> Document:
    return {
        "name": service.name,
        "units": [
            {
                "name": unit.name,
                "state": unit.state,
                "health": unit.health,
                "exit_code": unit.exit_code,
                "started_at": words.utc(unit.started_at) if unit.started_at else None,
            }
            for unit in service.units
        ],
    }


def volumes(stack: Stack, observed: Observed, sizes: Sizes) -> Document:
    """Return the volumes. `files` and `bytes` are null if not measured."""
    return {"volumes": [_volume(stack, observed, state, sizes) for state in observed.volumes]}


def _volume(stack: Stack, observed: Observed, state: VolumeState, sizes: Sizes) -> Document:
    declared = next((entry for entry in stack.volumes if entry.key == state.key), None)
    size = sizes.get(state.key)
    return {
        "key": state.key,
        "name": state.name,
        "declared": declared is not None,
        "exists": state.exists,
        "driver": state.driver,
        "mountpoint": str(state.mountpoint) if state.mountpoint else None,
        "mounts": [
            {"service": service.name, "path": mount.target, "writable": mount.writable}
            for service in observed.services
            for mount in service.mounts
            if mount.volume == state.key
        ],
        "purpose": declared.purpose if declared else "",
        "priority": declared.priority if declared else None,
        "backup": declared.backup if declared else None,
        "clean": declared.clean if declared else None,
        "files": size[0] if size else None,
        "bytes": size[1] if size else None,
        "max_bytes": declared.max_size if declared else None,
    }


def migrations(rows: Sequence[MigrationRow]) -> Document:
    """Return the revisions of each database."""
    return {
        "migrations": [
            {
                "database": row.database,
                "current": list(row.current),
                "heads": list(row.heads),
                "pending": list(row.pending),
                "unknown": list(row.unknown),
                "problem": row.problem,
            }
            for row in rows
        ]
    }


def findings(found: Sequence[Finding]) -> Document:
    """Return the findings; `ok` is false if one of them is an error."""
    bad = any(finding.level == "error" for finding in found)
    return {
        "ok": not bad,
        "findings": [
            {"level": f.level, "subject": f.subject, "fact": f.fact, "hint": f.hint} for f in found
        ],
    }


def error(failure: QuiesceError) -> Document:
    """Return the error, without lines that services logged."""
    details = failure.details if failure.exit_code in _DETAILS_ARE_OURS else ()
    return {
        "ok": False,
        "error": {
            "fact": failure.fact,
            "hint": failure.hint,
            "exit_code": failure.exit_code,
            "details": list(details),
        },
    }


def as_text(document: Mapping[str, Any], encoding: str) -> str:
    """Return the document so that every reader of JSON can read it, in any encoding."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    # Bytes of file names that are not valid text are surrogates, which cannot be encoded.
    text = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    if words.legible(text, encoding) != text:
        text = json.dumps(json.loads(text), indent=2)
    return text
