"""The reporter of a command: receives all its events and results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from quiesce.report.clock import Clock, ThisMachine
from quiesce.report.program import Program
from quiesce.report.renderer import Failure, Instant, Renderer, Running
from quiesce.report.streams import Outlet, Stream

if TYPE_CHECKING:
    from quiesce.errors import QuiesceError
    from quiesce.findings import Finding
    from quiesce.model import BackupSet, OffsiteSet, Stack
    from quiesce.observed import Observed, ShadowedFolder
    from quiesce.plan.large_sqlite import LargeDatabase
    from quiesce.plan.steps import Plan
    from quiesce.report.blocks import Block
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

_RESERVED = ("ok", "task", "error")


def make_reporter(
    *,
    task: str,
    json: bool,
    stdout: TextIO | None,
    stderr: TextIO | None,
    environ: Mapping[str, str],
    stdin: TextIO | None = None,
    clock: Clock | None = None,
    zone: tzinfo | None = None,
    plain: bool | None = None,
    columns: int | None = None,
    background: bool = True,
    log_format: str = "text",
    program: str = "inv",
    verbose: bool = False,
) -> Reporter:
    """Return the command's reporter. `task` is its name, for documents.

    A terminal on stdout gets the console renderer, unless `plain` is given. `zone` is the time zone
    of plain lines; None is this machine's (`use_zone` sets it later). With `log_format` `json`,
    events are printed as one JSON object per line on stderr. `columns` fixes the width, `program`
    the command that hints name. With `verbose`, a terminal shows every step, not phases.
    Without `background`, the calling thread writes everything.
    """
    from quiesce.report.plain import PlainRenderer

    out, err = Stream(stdout), Stream(stderr)
    if plain is None:
        plain = not out.terminal or environ.get("TERM", "") in ("", "dumb", "unknown")
    renderer: Renderer
    if log_format == "json":
        from quiesce.report.json_lines import JsonLinesRenderer

        lines = JsonLinesRenderer(err if json else out, err)
        lines.task = task
        renderer = lines
    elif json:
        renderer = PlainRenderer(err, err)
    elif plain:
        renderer = PlainRenderer(out, err)
    else:
        from quiesce.report.console import ConsoleRenderer

        renderer = ConsoleRenderer(out, err, environ, columns, phases=not verbose)
    renderer.zone = zone
    return Reporter(
        task=task,
        renderer=renderer,
        out=out,
        err=err,
        stdin=stdin,
        json=json,
        clock=clock or ThisMachine(),
        background=background,
        words=Program(program),
    )


class Reporter:
    """Receives events (as an `EventSink`) and results, by the same calls for every renderer.

    A context manager: leaving it writes all remaining output, with `--json` the one document.
    Several results of a command are merged in it; `ok` is true if all of them are.

    Calls during a run return at once and never raise. Results and errors wait until they are
    written; a closed pipe is no error."""

    def __init__(
        self,
        *,
        task: str,
        renderer: Renderer,
        out: Stream,
        err: Stream,
        stdin: TextIO | None,
        json: bool,
        clock: Clock,
        background: bool,
        words: Program,
    ) -> None:
        self._task, self._words = task, words
        self.json = json
        self._face = renderer
        self._out = out
        self._err = err
        self._stdin = stdin
        self._clock = clock
        self._document: dict[str, Any] = {"ok": True, "task": task}
        self._closed = False
        self._unshown: list[Block] = []
        self._outlet = Outlet(self._tick, lambda: renderer.busy, seconds=0.1, background=background)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.result({"ok": False})
        self.close()

    def close(self) -> None:
        """Write all remaining output, with `--json` the document, once.

        Call it before another program gets the terminal (`shell`).
        """
        self._outlet.run(self._face.leave)
        self._outlet.close()
        if self._closed:
            return
        self._closed = True
        if self.json:
            from quiesce.report import documents

            self._out.write(documents.as_text(self._document, self._out.encoding) + "\n")
        if problem := self._outlet.problem:
            self._err.write(f"warning: some output could not be shown: {problem!r}\n")
        if self._out.problem is not None and not self._out.reader_left:
            self._err.write(f"warning: cannot write to stdout: {self._out.problem}\n")

    def use_zone(self, zone: tzinfo | None) -> None:
        """Print times in this zone from now on (the one of stack.yaml, once it is read)."""
        self._face.zone = zone

    # ----------------------------------------------------------------- events, while a run works

    def step_begins(
        self, position: str, sentence: str, why: str, depth: int, phase: str = ""
    ) -> None:
        step = Running(position, sentence, why, depth, threading.get_ident(), phase)
        self._render(self._face.begins, step)

    def step_ends(self, position: str, sentence: str, seconds: float, result: str) -> None:
        self._render(self._face.ends, position, sentence, seconds, result)

    def step_fails(self, position: str, sentence: str, reason: str) -> None:
        self._render(self._face.fails, position, sentence, reason)

    def progress(self, text: str, done: int) -> None:
        self._render(self._face.progress, threading.get_ident(), text, done)

    def note(self, text: str) -> None:
        self._render(self._face.note, self._words.of(text))

    def warn(self, text: str) -> None:
        self._render(self._face.warn, self._words.of(text))

    def _render(self, action: Callable[..., None], *arguments: object) -> None:
        self._outlet.post(partial(action, *arguments, self._instant()))

    def _instant(self) -> Instant:
        return Instant(self._clock.now(), self._clock.monotonic())

    def _tick(self) -> None:
        self._face.tick(self._instant())

    def named(self, text: str) -> str:
        """Return a text in which calls of `inv` are calls of the command that was called."""
        return self._words.of(text)

    # ------------------------------------------------------------------------------------ results

    def result(self, document: Mapping[str, Any]) -> None:
        """Add facts to the JSON document only."""
        ok = self._document["ok"] and document.get("ok", True)
        self._document = {**self._document, **document, "ok": ok, "task": self._task}

    def _show(self, document: Mapping[str, Any], blocks: Sequence[Block]) -> None:
        self.result(document)
        blocks = [self._words.of_block(block) for block in blocks]
        if self.json:
            self._unshown += blocks
        else:
            self._outlet.run(partial(self._face.show, blocks, self._instant()))

    def plan(self, plan: Plan) -> None:
        """Show the plan, with the reason of every step."""
        from quiesce.plan.describe import describe
        from quiesce.report import documents
        from quiesce.report.blocks import Outline

        text = describe(plan)
        self._show(documents.plan(plan, text), [Outline(text)])

    def sets(
        self,
        sets: Sequence[BackupSet],
        now: datetime,
        *,
        reasons: Mapping[str, tuple[str, ...]] | None = None,
        unreadable: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Show sets in the given order. `reasons` are, by set name, the retention rules that keep
        it; `prune` would remove a set without any."""
        from quiesce.report import documents, views

        self._show(
            documents.sets(sets, now, reasons, unreadable),
            views.sets(sets, now, reasons, unreadable),
        )

    def offsite_sets(
        self,
        store: str,
        sets: Sequence[OffsiteSet],
        now: datetime,
        kept: Mapping[str, tuple[str, ...]],
        unreadable: Sequence[tuple[str, str]],
    ) -> None:
        """Show the sets of a store; `kept` are the rules that keep them."""
        from quiesce.report import offsite

        self._show(
            offsite.document(store, sets, kept, unreadable),
            offsite.blocks(store, sets, now, kept, unreadable),
        )

    def runs(
        self, records: Sequence[RunRecord], now: datetime, large: Sequence[LargeDatabase] = ()
    ) -> None:
        """Show the runs that left a report, in the order given, and large SQLite databases."""
        from quiesce.report import documents, views

        self._show(documents.runs(records, large), views.runs(records, now, large))

    def status(
        self,
        observed: Observed,
        stack: Stack,
        sets: Sequence[BackupSet],
        now: datetime,
        unfinished: Sequence[UnfinishedRun],
        sizes: Sizes,
        *,
        covered: Sequence[ShadowedFolder] = (),
        last_restore: LastRestore | None = None,
        last_drill: DrillRecord | None = None,
        left: Sequence[Leftover] = (),
    ) -> None:
        """Show the status of the instance."""
        from quiesce.report import documents, overview

        last = overview.newest(sets, stack.instance.name, verified=False)
        good = overview.newest(sets, stack.instance.name, verified=True)
        zone = self._face.zone
        proofs = (last_restore, last_drill, left)
        later = overview.newer(sets, last)
        self._show(
            documents.status(
                stack, observed, last, good, now, unfinished, sizes, covered, *proofs, later
            ),
            overview.status(
                stack, observed, last, good, now, unfinished, sizes, zone, covered, *proofs, later
            ),
        )

    def volumes(self, observed: Observed, stack: Stack, sizes: Sizes) -> None:
        """Show the volumes; one above its `max_size` is marked."""
        from quiesce.report import documents, overview

        self._show(
            documents.volumes(stack, observed, sizes), overview.volumes(stack, observed, sizes)
        )

    def migrations(self, rows: Sequence[MigrationRow]) -> None:
        """Show the revisions of each database."""
        from quiesce.report import documents, views

        self._show(documents.migrations(rows), views.migrations(rows))

    def findings(self, found: Sequence[Finding]) -> None:
        """Show the findings of a check; with an error, the document is not `ok`."""
        from quiesce.report import documents, views

        self._show(documents.findings(found), views.findings(found))

    def backup_done(self, backup: BackupSet) -> None:
        """Show the result of a backup."""
        from quiesce.report import documents, views

        self._show({"set": documents.backup_set(backup)}, views.backup_done(backup))

    def restore_done(self, outcome: RestoreOutcome) -> None:
        """Show the result of a restore."""
        from quiesce.report import documents, views

        self._show(documents.restore(outcome), views.restore_done(outcome))

    def done(self, text: str, facts: Mapping[str, Any] | None = None) -> None:
        """Show any other result. Facts are plain values and become keys of the document;
        names that end in `seconds` or `bytes` are shown in such units."""
        from quiesce.report import views

        facts = facts or {}
        if taken := [name for name in facts if name in (*_RESERVED, "message")]:
            raise ValueError(f"{taken[0]} cannot be the name of a fact")
        self._show({"message": text, **facts}, views.done(text, facts))

    def text(self, content: str) -> None:
        """Print text for a file or another program (crontab lines), unchanged."""
        from quiesce.report.blocks import Verbatim

        self._show({"text": content}, [Verbatim(content)])

    def error(self, error: QuiesceError, *, debug: bool = False) -> None:
        """Show an error on stderr, with `debug` its traceback too, and add it to the document."""
        from quiesce.report import documents

        trace = _trace(error) if debug else ""
        self._words.of_error(error)
        failure = Failure(error.fact, error.details, error.hint, trace)
        self.result(documents.error(error))
        self._outlet.run(partial(self._face.failure, failure))

    # ------------------------------------------------------------------------------------- asking

    def ask(self, question: str, banner: Sequence[str] = ()) -> str | None:
        """Ask on stderr and return one line of standard input, None at its end.

        Works with a terminal and with a pipe; the caller interprets the answer.
        """
        if self._unshown:
            # With --json, the question may refer to something that only the document contains.
            self._outlet.run(partial(self._face.show, self._unshown, self._instant()))
            self._unshown = []
        self._outlet.run(partial(self._face.prompt, question, banner))
        answer = self._read()
        if answer is None or not self._answer_shows():
            self._outlet.run(self._face.answered)
        return answer

    def _read(self) -> str | None:
        if self._stdin is None:
            return None
        try:
            line = self._stdin.readline()
        except UnicodeDecodeError:
            # Not valid text, so not a valid answer either.
            return ""
        except (OSError, ValueError):
            return None
        return line.rstrip("\r\n") if line else None

    def _answer_shows(self) -> bool:
        try:
            return self._stdin is not None and self._stdin.isatty()
        except ValueError:
            return False


def _trace(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
