"""The renderer for cron, pipes and logs: plain lines with timestamps, no colour, no cursor codes.

A step is one line when it ends. A longer one also prints a line when it has begun, and then its
progress, so that the log of a stuck run shows where it is stuck.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from quiesce.report import words
from quiesce.report.blocks import (
    Block,
    Cell,
    Facts,
    Headline,
    Outline,
    Remark,
    Table,
    Verbatim,
)
from quiesce.report.renderer import DETAIL_LINES, Failure, Instant, Running, Steps
from quiesce.report.streams import Stream

#: Seconds after which a step is shown as running, and between progress lines.
LONG_STEP = 10.0
HEARTBEAT = 30.0

_LEVELS = {"none": "", "good": "ok", "warning": "warning", "bad": "error"}


class PlainRenderer:
    """Results and steps to `out`, warnings and failures to `err`."""

    def __init__(self, out: Stream, err: Stream) -> None:
        self._out = out
        self._err = err
        self._steps = Steps()
        self._began: dict[str, float] = {}
        self.zone: tzinfo | None = None

    @property
    def busy(self) -> bool:
        return bool(self._steps)

    # ------------------------------------------------------------------------------------ events

    def begins(self, step: Running, at: Instant) -> None:
        self._steps.add(step)
        self._began[step.position] = at.clock

    def ends(self, position: str, sentence: str, seconds: float, result: str, at: Instant) -> None:
        step = self._steps.remove(position)
        outcome = ", ".join(part for part in (result, words.duration(seconds)) if part)
        why = f" — {step.why}" if step and step.why else ""
        self._line(self._out, f"{sentence}{why} ({outcome})", at)

    def fails(self, position: str, sentence: str, reason: str, at: Instant) -> None:
        self._steps.remove(position)
        self._line(self._err, f"failed: {sentence} — {reason}", at)

    def progress(self, thread: int, text: str, done: int, at: Instant) -> None:
        if step := self._steps.progressing(thread):
            step.text, step.done = text, done
            self.tick(at)

    def note(self, text: str, at: Instant) -> None:
        self._line(self._out, text, at)

    def warn(self, text: str, at: Instant) -> None:
        self._line(self._err, f"warning: {text}", at)

    def tick(self, at: Instant) -> None:
        for step in self._steps.all():
            elapsed = at.clock - self._began[step.position]
            if step.reported_at is None and elapsed >= LONG_STEP:
                why = f" — {step.why}" if step.why else ""
                self._line(self._out, f"{step.sentence}{why} (running)", at)
            elif step.reported_at is not None and at.clock - step.reported_at >= HEARTBEAT:
                self._line(self._out, f"{step.sentence}: {_how_far(step, elapsed)}", at)
            else:
                continue
            step.reported_at = at.clock

    def leave(self) -> None:
        """Do nothing: there are no live lines."""

    def _line(self, stream: Stream, text: str, at: Instant) -> None:
        stream.write(f"{words.moment(at.when, self.zone)} {_flat(text)}\n")

    # ----------------------------------------------------------------------------------- results

    def show(self, blocks: Sequence[Block], at: Instant) -> None:
        lines: list[str] = []
        for index, block in enumerate(blocks):
            if index and isinstance(block, Table):
                lines.append("")
            lines += self._lines(block, at)
        self._out.write("".join(f"{line}\n" for line in lines))

    def _lines(self, block: Block, at: Instant) -> Iterable[str]:
        if isinstance(block, Headline):
            stamp = f"{words.moment(at.when, self.zone)} " if block.event else ""
            return [f"{stamp}{_flat(block.text)}"]
        if isinstance(block, Table):
            return table_lines(block)
        if isinstance(block, Facts):
            return fact_lines(block)
        if isinstance(block, Remark):
            return remark_lines(block)
        if isinstance(block, Outline):
            return words.printable(block.text.rstrip("\n")).split("\n")
        return _verbatim(block)

    def failure(self, failure: Failure) -> None:
        self._err.write("".join(f"{line}\n" for line in failure_lines(failure)))

    def prompt(self, question: str, banner: Sequence[str]) -> None:
        lines = "".join(f"{words.printable(line)}\n" for line in banner)
        self._err.write(f"{lines}{_flat(question)} ")

    def answered(self) -> None:
        self._err.write("\n")


def failure_lines(failure: Failure) -> list[str]:
    """Return the error as text: trace if any, fact, bounded details, hint."""
    shown = failure.details[:DETAIL_LINES]
    left = len(failure.details) - len(shown)
    return [
        *words.printable(failure.trace).splitlines(),
        f"error: {_flat(failure.fact)}",
        *(f"  {_flat(line)}" for line in shown),
        *([f"  … and {words.counted(left, 'more line', 'more lines')}"] if left else []),
        *([f"HINT: {_flat(failure.hint)}"] if failure.hint else []),
    ]


def table_lines(table: Table) -> list[str]:
    """Return the table with every column as wide as its widest cell, for `grep` and `awk`."""
    title = [f"{_flat(table.title)}:"] if table.title else []
    if not table.rows:
        return [f"{title[0]} {table.empty}"] if title else [table.empty]
    heads = [column.title.upper() for column in table.columns]
    rows = [heads, *([_flat(cell.text) or "-" for cell in row] for row in table.rows)]
    widths = [max(words.width(row[i]) for row in rows) for i in range(len(heads))]
    lines = []
    for row in rows:
        cells = [
            " " * (wide - words.width(text)) + text if column.numeric else words.padded(text, wide)
            for column, text, wide in zip(table.columns, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return title + lines


def fact_lines(facts: Facts) -> list[str]:
    """Return `  name: value` lines, the values below each other."""
    wide = max((words.width(name) for name, _ in facts.rows), default=0) + 1
    return [f"  {words.padded(f'{name}:', wide)} {_value(cell)}" for name, cell in facts.rows]


def remark_lines(remark: Remark) -> list[str]:
    """Return `error    subject: fact` and, indented, its hint."""
    level = words.padded(_LEVELS[remark.mark], 7)
    subject = f"{_flat(remark.subject)}: " if remark.subject else ""
    lines = [f"{level}  {subject}{_flat(remark.fact)}"]
    return lines + ([f"         HINT: {_flat(remark.hint)}"] if remark.hint else [])


def _verbatim(block: Verbatim) -> list[str]:
    return words.printable(block.text.rstrip("\n")).split("\n")


def _how_far(step: Running, elapsed: float) -> str:
    parts = (
        _flat(step.text),
        words.size(step.done) if step.done else "",
        words.duration(elapsed),
    )
    return ", ".join(part for part in parts if part)


def _value(cell: Cell) -> str:
    return _flat(cell.text) or "-"


def _flat(text: str) -> str:
    return words.printable(words.one_line(text))
