"""The renderer for terminals: colour, fitted tables, and a live line for each running step.

It never hides the cursor or takes over the screen, so a killed run leaves the terminal intact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from io import StringIO
from typing import TYPE_CHECKING

from quiesce.report import words
from quiesce.report.blocks import Block, Cell, Facts, Headline, Mark, Outline, Remark, Table
from quiesce.report.phases import Phases
from quiesce.report.plain import failure_lines
from quiesce.report.renderer import Failure, Instant, Running, Steps
from quiesce.report.streams import Stream
from quiesce.report.wrapping import glued, unglued, wrapped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Seconds between two updates, and before a step is shown at all: short ones would flicker.
DRAW_EVERY = 0.1
SHOW_AFTER = 0.3
#: Seconds before a running step shows how long it runs.
TIME_AFTER = 1.0

_MARKS = {"none": "", "good": "✔", "warning": "!", "bad": "✘"}
_MARK_TONES = {"none": "bold", "good": "green", "warning": "yellow", "bad": "bold red"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_SPINNER = "|/-\\"
_UP_AND_CLEAR = "\x1b[1A\x1b[2K"
_CLEAR = "\r\x1b[2K"


class _Page(StringIO):
    """The file for Rich; its encoding decides which lines and arrows Rich may use."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # StringIO says None
        return self._encoding


class _OutputBuffer:
    """Renders with Rich to text, and writes the text to the stream."""

    def __init__(self, stream: Stream, environ: Mapping[str, str], columns: int | None) -> None:
        from rich.console import Console

        self._stream = stream
        self._fixed = columns
        self._page = _Page(stream.encoding)
        self.console: Console = Console(
            file=self._page,
            force_terminal=stream.terminal,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            width=columns or 80,
            _environ=environ,
        )

    @property
    def columns(self) -> int:
        return self._fixed or self._stream.columns

    def render(self, *parts: object, soft: bool = False) -> str:
        """Return the parts as text with the terminal's codes, one below the other. Lines of text
        are wrapped unless they are `soft`."""
        from rich.text import Text

        self.console.width = self.columns
        for part in parts:
            if isinstance(part, Text) and not soft:
                for line in wrapped(part, self.columns):
                    self.console.print(line, soft_wrap=True)
            else:
                self.console.print(part, soft_wrap=soft or getattr(part, "prewrapped", False))
        text = unglued(self._page.getvalue())
        self._page.seek(0)
        self._page.truncate()
        # Rich fills tables up to the terminal's width, which is noise in what is copied.
        return "\n".join(line.rstrip(" ") for line in text.split("\n"))


class ConsoleRenderer:
    """Steps and results to the terminal `out`; warnings and failures to `err`.

    `columns` fixes the width; otherwise it is the terminal's width when printing. With `phases`,
    steps that belong to a phase share one line, which is printed when the phase ends.
    """

    def __init__(
        self,
        out: Stream,
        err: Stream,
        environ: Mapping[str, str],
        columns: int | None = None,
        *,
        phases: bool = True,
    ) -> None:
        self._phases = Phases(phases)
        self._out = out
        self._err = err
        self._environ = environ
        self._columns = columns
        self._papers: dict[int, _OutputBuffer] = {}
        self._steps = Steps()
        self._began: dict[str, float] = {}
        self._drawn = 0
        self._drawn_at = float("-inf")
        self._unicode = words.legible("✔✘⠋—", out.encoding) == "✔✘⠋—"
        self.zone: tzinfo | None = None

    @property
    def busy(self) -> bool:
        return bool(self._steps)

    # ------------------------------------------------------------------------------------ events

    def begins(self, step: Running, at: Instant) -> None:
        self._end_phase(self._phases.begins(step, at.clock))
        self._steps.add(step)
        self._began[step.position] = at.clock

    def ends(self, position: str, sentence: str, seconds: float, result: str, at: Instant) -> None:
        step = self._steps.remove(position)
        if self._phases.covers(step, at.clock):
            self.tick(at)
            return
        line = self._step_line("good", sentence, step)
        line.append(f"  {words.duration(seconds)}", "cyan")
        if result:
            line.append(f"  {self._flat(result)}")
        if step and step.why:
            self._append_why(line, step.why)
        self._print(self._out, line)
        self.tick(at)

    def fails(self, position: str, sentence: str, reason: str, at: Instant) -> None:
        self._phases.fails()
        line = self._step_line("bad", sentence, self._steps.remove(position))
        line.append(self._flat(f" — {reason}"))
        self._print(self._out, line)
        self.tick(at)

    def progress(self, thread: int, text: str, done: int, _at: Instant) -> None:
        if step := self._steps.progressing(thread):
            step.text, step.done = text, done

    def note(self, text: str, _at: Instant) -> None:
        self._print(self._out, self._text(text, "dim"))

    def warn(self, text: str, _at: Instant) -> None:
        self._print(self._err, self._text(f"! {text}", "yellow"))

    def tick(self, at: Instant) -> None:
        if self._steps and at.clock - self._drawn_at >= DRAW_EVERY:
            self._drawn_at = at.clock
            self._draw(at)

    # ------------------------------------------------------------------------------- live lines

    def _draw(self, at: Instant) -> None:
        buffer = self._buffer(self._out)
        # The last column stays free: some terminals wrap as soon as it is written.
        room = max(10, buffer.columns - 1)
        lines = []
        for step in self._steps.all():
            elapsed = at.clock - self._began[step.position]
            if elapsed >= SHOW_AFTER:
                line = self._live_line(step, elapsed)
                line.truncate(room, overflow="ellipsis" if self._unicode else "crop")
                lines.append(buffer.render(line, soft=True).rstrip("\n"))
        drawn, self._drawn = self._drawn, len(lines)
        self._out.write(_erasing(drawn) + "\n".join(lines))

    def _live_line(self, step: Running, elapsed: float) -> Text:
        frames = _SPINNER if self._unicode else _ASCII_SPINNER
        line = self._joined((frames[int(elapsed / DRAW_EVERY) % len(frames)], "cyan"))
        phase = self._phases.of(step)
        shown = f"{'  ' * step.depth}{self._flat(step.sentence)}"
        line.append(f" {self._flat(phase)}: {shown.strip()}" if phase else f" {shown}", "bold")
        if elapsed >= TIME_AFTER:
            line.append(f"  {words.duration(int(elapsed)).replace('.0 s', ' s')}", "cyan")
        if step.done:
            line.append(f"  {words.size(step.done)}")
        if step.text:
            line.append(f"  {self._flat(step.text)}", "dim")
        return line

    def leave(self) -> None:
        self._end_phase(self._phases.ends())

    def _end_phase(self, ended: tuple[str, float] | None) -> None:
        self._erase()
        if ended is None:
            return
        line = self._step_line("good", ended[0], None)
        self._print(self._out, line.append(f"  {words.duration(ended[1])}", "cyan"))

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(_erasing(self._drawn))
            self._drawn, self._drawn_at = 0, float("-inf")

    def _print(self, stream: Stream, *parts: object, soft: bool = False) -> None:
        """Print above the live lines, which are drawn again with the next tick."""
        self._erase()
        stream.write(self._buffer(stream).render(*parts, soft=soft))

    # ----------------------------------------------------------------------------------- results

    def show(self, blocks: Sequence[Block], _at: Instant) -> None:
        from rich.text import Text

        self.leave()
        parts: list[object] = []
        for index, block in enumerate(blocks):
            if index and isinstance(block, Table):
                parts.append(Text())
            parts += self._parts(block)
        self._print(self._out, *parts)

    def _parts(self, block: Block) -> list[object]:
        from quiesce.report import console_tables as tables

        if isinstance(block, Headline):
            mark = _MARKS[block.mark]
            return [self._text(f"{mark} {block.text}".strip(), _MARK_TONES[block.mark])]
        if isinstance(block, Table):
            return tables.table(self._shown(block), self._buffer(self._out).columns)
        if isinstance(block, Facts):
            rows = tuple((self._flat(name), self._cell(cell)) for name, cell in block.rows)
            return [tables.facts(rows, self._buffer(self._out).columns)]
        if isinstance(block, Remark):
            return self._remark(block)
        if isinstance(block, Outline):
            return [tables.outline(block.text, self._shaped)]
        return [self._shaped(block.text.rstrip("\n"))]

    def _remark(self, remark: Remark) -> list[object]:
        line = self._marked(remark.mark)
        if remark.subject:
            line.append(f" {self._flat(remark.subject)}", "bold")
        line.append(f"  {self._flat(remark.fact)}")
        return [
            line,
            *(
                [self._text(f"  HINT: {words.one_line(remark.hint)}", "cyan", keep=True)]
                if remark.hint
                else []
            ),
        ]

    def failure(self, failure: Failure) -> None:
        self.leave()
        styles = {"error:": "bold red", "HINT:": "cyan"}
        lines = [
            self._text(line, styles.get(line.partition(" ")[0], ""), keep=True)
            for line in failure_lines(failure)
        ]
        # In a file, the fact and the hint stay one line each.
        self._print(self._err, *lines, soft=not self._err.terminal)

    def prompt(self, question: str, banner: Sequence[str]) -> None:
        self.leave()
        lines = [self._text(line, "bold yellow", keep=True) for line in banner]
        self._print(self._err, *lines, soft=True)
        question = self._buffer(self._err).render(self._text(question, "bold"), soft=True)
        self._err.write(question.rstrip("\n") + " ")

    def answered(self) -> None:
        self._err.write("\n")

    # ------------------------------------------------------------------------------------- parts

    def _step_line(self, mark: Mark, sentence: str, step: Running | None) -> Text:
        return self._marked(mark).append(
            f" {'  ' * (step.depth if step else 0)}{self._flat(sentence)}"
        )

    def _append_why(self, line: Text, why: str) -> None:
        """Add the reason if enough of the line is left for it."""
        from rich.text import Text

        room = self._buffer(self._out).columns - 1 - line.cell_len
        reason = Text(self._flat(f" — {why}"), "dim")
        if room < min(16, reason.cell_len):
            return
        reason.truncate(room, overflow="ellipsis" if self._unicode else "crop")
        line.append_text(reason)

    def _shown(self, table: Table) -> Table:
        rows = tuple(tuple(self._cell(cell) for cell in row) for row in table.rows)
        return Table(self._flat(table.title), table.columns, rows, table.empty)

    def _cell(self, cell: Cell) -> Cell:
        return Cell(self._flat(cell.text) or "-", cell.tone)

    def _marked(self, mark: Mark) -> Text:
        return self._joined((self._flat(_MARKS[mark]), _MARK_TONES[mark]))

    def _joined(self, *parts: tuple[str, str]) -> Text:
        """Return a text whose parts keep their own styles, and what is appended its own."""
        from rich.text import Text

        return Text.assemble(*parts)

    def _text(self, text: str, style: str = "", *, keep: bool = False) -> Text:
        from rich.text import Text

        return Text(self._shaped(text) if keep else self._flat(text), style)

    def _flat(self, text: str) -> str:
        # Blanks at the ends join this text to its neighbours.
        flat = words.one_line(text)
        before = " " if text[:1] == " " else ""
        return self._shaped(before + flat)

    def _shaped(self, text: str) -> str:
        return glued(words.legible(words.printable(text), self._out.encoding))

    def _buffer(self, stream: Stream) -> _OutputBuffer:
        if id(stream) not in self._papers:
            self._papers[id(stream)] = _OutputBuffer(stream, self._environ, self._columns)
        return self._papers[id(stream)]


def _erasing(lines: int) -> str:
    return _CLEAR + _UP_AND_CLEAR * (lines - 1) if lines else ""
