"""Notifies users (with Apprise), monitors (with pings) and Prometheus of a run.

All of this happens before anything stops and after everything is started again, has a deadline, and
never makes a run fail: a failed notification is a warning.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from quiesce.app.wiring import open_store
from quiesce.file_errors import hint_for, reason
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.adapters.notify.prometheus import Figure
    from quiesce.model import BackupSet, Stack
    from quiesce.ports import EventSink

#: Tasks that send notifications. A user who starts or stops services by hand sees the result
#: anyway.
NOTIFIED = frozenset(
    "backup backup-db restore undo-restore verify prune drill push pull shutdown recover "
    "nuke clean-all".split()
)
_MOST_DETAILS = 5


def notify_start(stack: Stack, task: str, sink: EventSink) -> None:
    """Ping the monitor at the start of a run."""
    ping = stack.ping.get(task)
    if ping is not None and ping.start is not None:
        _ping(ping.start, "", f"start of {task}", sink)


def notify_end(stack: Stack, document: Mapping[str, Any], now: datetime, sink: EventSink) -> None:
    """Send all notifications at the end of a run, from its report."""
    task, ok = str(document["task"]), bool(document["ok"])
    ping = stack.ping.get(task)
    if ping is not None and (url := ping.success if ok else ping.fail) is not None:
        _ping(url, _body(document), f"end of {task}", sink)
    if task not in NOTIFIED:
        return
    sets = _own_sets(stack)
    overdue = _overdue(stack, sets, now) if stack.schedule else ()
    if stack.notify:
        for event, title, body in _messages(stack, document, overdue):
            send(stack, event, title, body, sink)
    if stack.metrics is not None:
        _write_metrics(stack, sets, document, overdue, sink)


def send(stack: Stack, event: str, title: str, body: str, sink: EventSink) -> None:
    """Send a message to every subscriber of this event."""
    from quiesce.adapters.notify import apprise

    urls = {
        f"notify[{number}]": entry.url
        for number, entry in enumerate(stack.notify)
        if event in entry.on
    }
    # File names may contain bytes that are not valid text.
    title, body = (words.utf_8(text).decode() for text in (title, body))
    for name in apprise.notify(urls, title, body) if urls else ():
        sink.warn(f"{name} could not be notified; check its URL")


# ---------------------------------------------------------------------------------------- inside


def _messages(
    stack: Stack, document: Mapping[str, Any], overdue: Iterable[tuple[str, datetime | None]]
) -> Iterable[tuple[str, str, str]]:
    name, task = stack.instance.name, document["task"]
    took = words.duration(document["seconds"])
    if not document["ok"]:
        yield "failure", f"{name}: {task} FAILED", _body(document)
    else:
        yield "success", f"{name}: {task} succeeded in {took}", _body(document)
    if recovered := document.get("recovered"):
        yield "recovery", f"{name}: interrupted runs were recovered", "\n".join(recovered)
    late = [
        f"'{entry}' last ran: {done.isoformat() if done else 'never'}" for entry, done in overdue
    ]
    if late:
        yield (
            "overdue",
            f"{name}: {words.counted(len(late), 'schedule entry', 'entries')} overdue",
            ("\n".join(late)),
        )


def _body(document: Mapping[str, Any]) -> str:
    lines = [f"{document['task']} of {document['instance']} on {socket.gethostname()}"]
    lines.append(f"run {document['run']}, started {document['started_at']}")
    error = document.get("error") or {}
    if error:
        lines += [str(error.get("fact", "")), *map(str, error.get("details", ())[:_MOST_DETAILS])]
        if error.get("hint"):
            lines.append(f"HINT: {error['hint']}")
    for made in document.get("sets", ()):
        lines.append(f"set {made['name']}, {words.size(made['bytes'])}")
    for one in document.get("undeclared", ())[:_MOST_DETAILS]:
        lines.append(f"NOT in the set: {one['kind']} {one['name']} {one['fact']}")
    downtime = (document.get("downtime_seconds") or {}).get("overall")
    if downtime:
        lines.append(f"downtime {words.duration(downtime)}")
    return "\n".join(line for line in lines if line)


def _ping(url: Any, body: str, what: str, sink: EventSink) -> None:
    from quiesce.adapters.notify import apprise

    if apprise.ping({"ping": url}, body):
        sink.warn(f"could not ping the monitor for the {what}; check its URL")


def _own_sets(stack: Stack) -> tuple[BackupSet, ...]:
    sets = open_store(stack.backups).sets()
    return tuple(s for s in sets if s.manifest.instance == stack.instance.name)


def _overdue(
    stack: Stack, sets: tuple[BackupSet, ...], now: datetime
) -> tuple[tuple[str, datetime | None], ...]:
    from quiesce.app.overdue import due

    found = (due(stack, timing, sets, now) for timing in stack.schedule)
    return tuple((e.timing.text, e.done) for e in found if e is not None and e.overdue)


def _write_metrics(
    stack: Stack,
    sets: tuple[BackupSet, ...],
    document: Mapping[str, Any],
    overdue: tuple[tuple[str, datetime | None], ...],
    sink: EventSink,
) -> None:
    from quiesce.adapters.notify import prometheus

    folder = stack.metrics
    if folder is None:
        return
    try:
        prometheus.write(folder, stack.instance.name, _figures(stack, sets, document, overdue))
    except OSError as error:
        sink.warn(f"cannot write the metrics: {reason(error)}; {hint_for(error, folder)}")


def _figures(
    stack: Stack,
    sets: tuple[BackupSet, ...],
    document: Mapping[str, Any],
    overdue: tuple[tuple[str, datetime | None], ...],
) -> list[Figure]:
    from quiesce.adapters.notify.prometheus import Figure
    from quiesce.app.run_reports import last_drill, read_reports

    newest: dict[str, BackupSet] = {}
    for backup in sets:
        if not backup.manifest.safety:
            newest[backup.manifest.kind] = backup
    kinds = [({"kind": kind}, backup) for kind, backup in newest.items()]
    full = newest.get("full")
    verified = [
        (kind, s.state.verified_at.timestamp()) for kind, s in kinds
        if s.state.verified_good and s.state.verified_at
    ]  # fmt: skip
    downtime = full.manifest.downtime_seconds.services if full else {}
    reports = list(read_reports(stack))
    last = {d["task"]: d for d in reversed(reports)} | {document["task"]: document}
    drill = last_drill(reports)
    late = {entry for entry, _ in overdue}
    return [
        Figure(
            "quiesce_last_success_timestamp_seconds", "When the newest set of a kind was made.",
            [(kind, s.manifest.created_at.timestamp()) for kind, s in kinds],
        ),
        Figure("quiesce_set_bytes", "Size of the newest set.", [(k, s.bytes) for k, s in kinds]),
        Figure(
            "quiesce_backup_duration_seconds", "How long the newest set took.",
            [(kind, s.manifest.duration_seconds) for kind, s in kinds],
        ),
        Figure(
            "quiesce_downtime_seconds", "Downtime of a service in the newest full set.",
            [({"service": name}, seconds) for name, seconds in downtime.items()],
        ),
        Figure(
            "quiesce_verified_timestamp_seconds", "When the newest set passed verification.",
            verified,
        ),
        Figure(
            "quiesce_run_success", "Whether the last run of a task succeeded.",
            [({"task": task}, float(bool(d["ok"]))) for task, d in sorted(last.items())],
        ),
        Figure(
            "quiesce_run_timestamp_seconds", "When the last run of a task started.",
            [
                ({"task": task}, datetime.fromisoformat(d["started_at"]).timestamp())
                for task, d in sorted(last.items())
            ],
        ),
        Figure(
            "quiesce_drill_recovery_seconds", "Recovery time of the last drill.",
            [({}, drill.recovery_seconds)] if drill and drill.recovery_seconds is not None else [],
        ),
        Figure(
            "quiesce_overdue", "Whether an entry of the schedule was missed.",
            [({"entry": t.text}, float(t.text in late)) for t in stack.schedule],
        ),
        Figure("quiesce_sets", "Number of local sets.", [({}, float(len(sets)))]),
    ]  # fmt: skip
