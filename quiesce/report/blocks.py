"""The parts of a result before rendering: lines, tables, facts, a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "good", "bad", "warning", "faint"]
Mark = Literal["none", "good", "bad", "warning"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell or a fact's value; the tone is shown as a colour on terminals."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Column:
    """`numeric` columns are aligned right. `wraps` is the minimum width to which the column may be
    wrapped on a narrow terminal, 0 for never."""

    title: str
    numeric: bool = False
    wraps: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under titled columns; `empty` is printed if there are no rows."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = "none"


@dataclass(frozen=True, slots=True)
class Headline:
    """The result in one line; `event` lines get a timestamp if lines have one."""

    text: str
    mark: Mark = "none"
    event: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one per line, below a headline."""

    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about the subject, with a hint on a separate line."""

    mark: Mark
    subject: str
    fact: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """A plan in words, as `describe` writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text that is printed unchanged, for another program or a file."""

    text: str


Block = Table | Headline | Facts | Remark | Outline | Verbatim
