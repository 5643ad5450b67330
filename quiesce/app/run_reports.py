"""Writes a report of each run, and the log of restores, which is never truncated.

    backups/.reports/<instance>/<run>-<task>.json   for programs
    backups/.reports/<instance>/<run>-<task>.txt    the same for people
    backups/.reports/<instance>/restores.jsonl      a line at the start and one at the end

They are files, because a restore would replace records in a database. The newest `KEPT` reports are
kept, and the whole log of restores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from quiesce.adapters import files
from quiesce.app import notify
from quiesce.app.backups_folder import secure
from quiesce.app.restore_log import append, operator, reports_folder, restore_log
from quiesce.errors import QuiesceError, Refused, RequestError, place_of
from quiesce.file_errors import hint_for, reason
from quiesce.private_files import make_private, read_private
from quiesce.report import words
from quiesce.report.values import DrillRecord

if TYPE_CHECKING:
    from quiesce.execute.run import Run
    from quiesce.model import Stack
    from quiesce.ports import Clock, EventSink

FORMAT = 1
KEPT = 200
LONGEST_NOTE = 500
#: Fields of every report.
_ALWAYS_THERE = frozenset({"run", "task", "started_at", "seconds", "ok", "exit_code"})


@dataclass(slots=True)
class Account:
    """The record of a run for its report. `facts` are plain values, `source` a restore's set."""

    stack: Stack
    run: str
    task: str
    facts: dict[str, Any]
    source: str = ""
    note: str = ""
    logged: bool = False
    #: Pending work of an earlier run that prevents this one from counting as a success.
    pending: QuiesceError | None = None

    def begin_restore(self, at: datetime) -> None:
        """Log that data is about to be replaced. Raise RequestError if that fails."""
        if self.source:
            self._log("begun", at, {})
            self.logged = True

    def end_restore(self, at: datetime, outcome: dict[str, Any]) -> None:
        """Log the outcome."""
        if self.logged:
            self._log("ended", at, outcome)

    def _log(self, event: str, at: datetime, outcome: dict[str, Any]) -> None:
        line = {
            "at": words.utc(at),
            "event": event,
            "run": self.run,
            "task": self.task,
            "instance": self.stack.instance.name,
            "source": self.source,
            "operator": operator(),
            "note": self.note,
            **outcome,
        }
        try:
            append(restore_log(self.stack), line)
        except OSError as error:
            # No data has changed yet when a restore is logged.
            raise RequestError(
                f"cannot write the log of restores: {reason(error)}",
                hint_for(error, restore_log(self.stack)),
            ) from error


@contextmanager
def reported(stack: Stack, run: str, task: str, clock: Clock, sink: EventSink) -> Iterator[Account]:
    """Write a report of the block, however it ends; a refusal leaves none.

    A report that cannot be written is only a warning.
    """
    account = Account(stack, run, task, {})
    started, began = clock.now(), clock.monotonic()
    failure: BaseException | None = None
    notify.notify_start(stack, task, sink)
    try:
        yield account
    except BaseException as error:
        failure = error
        raise
    finally:
        if not isinstance(failure, Refused):
            outcome = _outcome(failure or account.pending)
            document = {
                "format": FORMAT,
                "run": run,
                "task": task,
                "instance": stack.instance.name,
                "started_at": words.utc(started),
                "seconds": round(clock.monotonic() - began, 3),
                **outcome,
                **({"source": account.source} if account.source else {}),
                **({"note": account.note} if account.note else {}),
                **account.facts,
            }
            try:
                account.end_restore(clock.now(), _outcome(failure))
                _write(stack, document, started)
            except (OSError, QuiesceError) as error:
                sink.warn(f"the report of this run cannot be written: {error}")
            notify.notify_end(stack, document, clock.now(), sink)


def run_facts(run: Run) -> dict[str, Any]:
    """Return what a run created and compared, for its report."""
    downtime = run.downtime.result()
    return {
        "sets": [
            {"name": s.name, "bytes": s.bytes, "kind": s.manifest.kind} for s in run.published
        ],
        "downtime_seconds": {"overall": downtime.overall, "services": dict(downtime.services)},
        "compared": {
            key: {"tables": tables, "rows": rows} for key, (tables, rows) in run.compared.items()
        },
        "uncompared": {key: list(tables) for key, tables in run.uncompared.items()},
        "undeclared": [
            {"set": s.name, "kind": one.kind, "name": one.name, "fact": one.fact}
            for s in run.published
            for one in s.manifest.undeclared
        ],
    }


def read_reports(stack: Stack) -> Iterator[dict[str, Any]]:
    """Yield the existing reports, newest first. Unreadable ones are skipped."""
    folder = reports_folder(stack)
    for path in sorted(folder.glob("*.json"), reverse=True) if folder.is_dir() else ():
        try:
            document = json.loads(read_private(path))
            datetime.fromisoformat(document["started_at"])
            if document.keys() >= _ALWAYS_THERE:
                yield document
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue


def last_run(stack: Stack, wanted: Callable[[dict[str, Any]], bool]) -> datetime | None:
    """Return the start of the newest successful run for which `wanted` returns True."""
    for document in read_reports(stack):
        if document["ok"] and wanted(document):
            return datetime.fromisoformat(document["started_at"])
    return None


def last_drill(documents: Iterable[dict[str, Any]]) -> DrillRecord | None:
    """Return the newest drill in reports that are ordered newest first; None if there is none."""
    for document in documents:
        if document["task"] == "drill":
            return DrillRecord(
                at=datetime.fromisoformat(document["started_at"]),
                ok=document["ok"],
                source=document.get("source", ""),
                recovery_seconds=document.get("recovery_seconds"),
                fact=document.get("error", {}).get("fact", ""),
            )
    return None


def checked_note(note: str) -> str:
    """Return the note for the log. Raise RequestError unless it is one printable line."""
    if len(note) > LONGEST_NOTE or any(not character.isprintable() for character in note):
        raise RequestError(
            "the note is not a single printable line",
            f"use one line of at most {LONGEST_NOTE} characters",
        )
    return note


# ---------------------------------------------------------------------------------------- inside


def _outcome(failure: BaseException | None) -> dict[str, Any]:
    if failure is None:
        return {"ok": True, "exit_code": 0}
    if isinstance(failure, QuiesceError):
        # Without details, which may contain output of services.
        told = {"fact": failure.fact, "hint": failure.hint}
        return {"ok": False, "exit_code": failure.exit_code, "error": told}
    told = {"fact": f"unexpected {place_of(failure)}", "hint": ""}
    return {"ok": False, "exit_code": 1, "error": told}


def _write(stack: Stack, document: dict[str, Any], started: datetime) -> None:
    secure(stack)
    folder = reports_folder(stack)
    make_private(folder)
    stem = f"{document['run']}-{document['task']}"
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    files.replace_synced(folder / f"{stem}.json", words.utf_8(text))
    files.replace_synced(folder / f"{stem}.txt", words.utf_8(_for_people(stack, document, started)))
    for suffix in (".json", ".txt"):
        for path in sorted(folder.glob(f"*{suffix}"), reverse=True)[KEPT:]:
            path.unlink(missing_ok=True)


def _for_people(stack: Stack, document: dict[str, Any], started: datetime) -> str:
    zone = ZoneInfo(stack.timezone)
    how = "done" if document["ok"] else f"FAILED (exit code {document['exit_code']})"
    lines = [
        f"{document['task']} of {document['instance']}: {how}",
        f"started  {started.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}",
        f"took     {words.duration(document['seconds'])}",
        f"run      {document['run']}",
    ]
    if error := document.get("error"):
        lines.append(f"error    {error['fact']}")
        lines += [f"hint     {error['hint']}"] if error["hint"] else []
    if source := document.get("source"):
        lines.append(f"source   {source}")
    if note := document.get("note"):
        lines.append(f"note     {note}")
    lines += [f"set      {s['name']}, {words.size(s['bytes'])}" for s in document.get("sets", ())]
    if downtime := document.get("downtime_seconds", {}).get("overall"):
        lines.append(f"downtime {words.duration(downtime)}")
    lines += [f"NOT in it {one['kind']} {one['name']}" for one in document.get("undeclared", ())]
    for key, found in document.get("compared", {}).items():
        counted = ", ".join(document.get("uncompared", {}).get(key, ()))
        told = f"compared {key}: {found['tables']} tables, {found['rows']:,} rows equal"
        lines.append(told + (f", except for {counted}: only counted" if counted else ""))
    return "\n".join(lines) + "\n"
