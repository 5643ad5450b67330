"""The verb `report`: recent runs, and the HTML page, from reports, sets and logs.

It contacts neither engine nor servers, so it works when everything is down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from quiesce import __version__
from quiesce.adapters import files
from quiesce.app.overdue import overdue
from quiesce.app.restore_log import reports_folder, restore_log
from quiesce.app.run_reports import last_drill, read_reports
from quiesce.app.session import Session
from quiesce.commands.retention import is_own, reasons
from quiesce.errors import RequestError
from quiesce.file_errors import hint_for, reason
from quiesce.plan.large_sqlite import large_unchanged
from quiesce.private_files import make_private, read_private
from quiesce.report import words
from quiesce.report.page.values import (
    MadeSet,
    PageFacts,
    RestoreRecord,
    ScheduleRow,
    Uncovered,
)
from quiesce.report.values import RunRecord

if TYPE_CHECKING:
    from quiesce.model import BackupSet, Retention, Stack

PAGE = "report.html"

#: What is never in a set.
ALWAYS_UNCOVERED = (
    Uncovered("images", "the images of the services", "a set contains only their digests"),
    Uncovered(
        "values", "env files", "passwords are never backed up: keep them in your password store"
    ),
    Uncovered("code", "the stack's own files", "they are in your repository"),
)


def run_report(session: Session, *, html: bool, output: str | None) -> None:
    """Show the runs that left a report; with `html`, write the page and report its path.

    `output` is the page's file (default: in the instance's `backups/.reports/`).
    """
    if output is not None and not html:
        raise RequestError("--output names the HTML page", "add --html")
    store = session.store
    facts = _page_facts(session, store.sets(), store.unreadable())
    session.reporter.runs(facts.runs, facts.now, large_unchanged(facts.sets))
    if not html:
        return
    from quiesce.report.page import render_page

    file = _page_file(session, output)
    text = render_page(facts)
    try:
        files.replace_synced(file, words.utf_8(text))
    except OSError as error:
        raise RequestError(
            f"cannot write {file}: {reason(error)}",
            f"{hint_for(error, file)}; or choose another file with --output PATH",
        ) from error
    session.reporter.done(f"wrote {file}", {"page": str(file)})


def _page_file(session: Session, output: str | None) -> Path:
    if output is not None:
        file = Path(output).expanduser().absolute()
        if file.is_dir() or not file.parent.is_dir():
            raise RequestError(
                f"{file} is a folder, or its folder does not exist",
                "give a file in an existing folder",
            )
        return file
    make_private(reports_folder(session.stack))
    return reports_folder(session.stack) / PAGE


def _page_facts(
    session: Session, sets: Sequence[BackupSet], unreadable: Sequence[tuple[str, str]]
) -> PageFacts:
    own = tuple(backup for backup in sets if is_own(session, backup))
    documents = tuple(read_reports(session.stack))
    return PageFacts(
        tool=f"Quiesce {__version__}",
        instance=session.stack.instance.name,
        now=session.clock.now(),
        zone=ZoneInfo(session.stack.timezone),
        sets=own,
        reasons=reasons(session, own),
        unreadable=tuple(unreadable),
        made=_made(documents, own),
        runs=tuple(_run(document) for document in documents),
        restores=tuple(_restores(session.stack)),
        drill=last_drill(documents),
        schedule=tuple(
            ScheduleRow(entry.timing.text, entry.due, entry.done, entry.overdue)
            for entry in overdue(session, own)
        ),
        uncovered=(*_undeclared(own), *_uncovered(session.stack), *ALWAYS_UNCOVERED),
        policy=_policy(session.stack.retention),
    )


def _run(document: dict[str, Any]) -> RunRecord:
    return RunRecord(
        run=document["run"],
        task=document["task"],
        at=datetime.fromisoformat(document["started_at"]),
        seconds=document["seconds"],
        ok=document["ok"],
        exit_code=document["exit_code"],
        fact=document.get("error", {}).get("fact", ""),
        sets=tuple(made["name"] for made in document.get("sets", ())),
    )


def _made(documents: Sequence[dict[str, Any]], sets: Sequence[BackupSet]) -> tuple[MadeSet, ...]:
    """Every backup in reports and sets, oldest first; the set takes precedence."""
    found: dict[str, MadeSet] = {}
    for document in documents:
        if document["task"] not in ("backup", "shutdown"):
            continue
        for made in document.get("sets", ()):
            found[made["name"]] = MadeSet(
                made["name"],
                made["kind"],
                datetime.fromisoformat(document["started_at"]),
                made["bytes"],
                document["seconds"],
                document.get("downtime_seconds", {}).get("overall"),
            )
    for backup in sets:
        manifest = backup.manifest
        if manifest.safety:
            continue
        found[backup.name] = MadeSet(
            backup.name,
            manifest.kind,
            manifest.created_at,
            backup.bytes,
            manifest.duration_seconds,
            manifest.downtime_seconds.overall if manifest.services_stopped else None,
        )
    return tuple(sorted(found.values(), key=lambda made: (made.at, made.name)))


def _restores(stack: Stack) -> Iterator[RestoreRecord]:
    """Yield the entries of the restore log, newest first, without incomplete lines."""
    try:
        lines = read_private(restore_log(stack)).decode(errors="replace").splitlines()
    except OSError:
        return
    ended: dict[str, bool] = {}
    for text in reversed(lines):
        try:
            line = json.loads(text)
            run = str(line["run"])
            if line["event"] == "ended":
                ended[run] = bool(line["ok"])
            elif line["event"] == "begun":
                yield RestoreRecord(
                    at=datetime.fromisoformat(line["at"]),
                    task=str(line["task"]),
                    source=str(line["source"]),
                    operator=str(line["operator"]),
                    note=str(line["note"]),
                    ok=ended.get(run),
                )
        except (ValueError, KeyError, TypeError):
            continue


def _undeclared(sets: Sequence[BackupSet]) -> Iterator[Uncovered]:
    """Yield the data that the newest full set lacks because stack.yaml does not mention it."""
    full = [s for s in sets if s.manifest.kind == "full" and not s.manifest.safety]
    for one in full[-1].manifest.undeclared if full else ():
        yield Uncovered(one.kind, one.name, f"NOT DECLARED: {one.fact}")


def _uncovered(stack: Stack) -> Iterator[Uncovered]:
    for volume in stack.volumes:
        if volume.backup == "never":
            purpose = f"{volume.purpose}: " if volume.purpose else ""
            yield Uncovered("volume", volume.key, f"{purpose}backup: never in {stack.file.name}")
        elif volume.exclude:
            patterns = ", ".join(volume.exclude)
            yield Uncovered("files", f"{volume.key}: {patterns}", f"exclude in {stack.file.name}")
    for key in stack.excluded_volumes:
        yield Uncovered("volume", key, f"excluded in {stack.file.name}")
    for name in stack.excluded_databases:
        yield Uncovered("database", name, f"excluded in {stack.file.name}")
    for entry in stack.paths:
        if entry.backup == "never":
            yield Uncovered("path", entry.key, f"backup: never in {stack.file.name}")


def _policy(policy: Retention) -> str:
    rules = []
    for field in fields(policy):
        value = getattr(policy, field.name)
        if field.name != "name" and value is not None:
            text = words.span(int(value)) if field.name == "keep_within" else str(value)
            rules.append(f"{field.name} {text}")
    return f"Retention {policy.name}: {', '.join(rules) or 'no rule, so nothing is removed'}."
