"""What a result looks like before a face gives it a form: lines, tables, facts, a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "good", "bad", "warning", "faint"]
Mark = Literal["none", "good", "bad", "warning"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell or a fact's value; the tone is colour where there is colour."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Column:
    """`numeric` stands to the right; `wraps` is the least width at which the column still may
    take several lines of a narrow terminal, 0 for one that stays whole."""

    title: str
    numeric: bool = False
    wraps: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under titled columns; `empty` is said where there are no rows."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = "none"


@dataclass(frozen=True, slots=True)
class Headline:
    """The result in one line; `event` lines carry the time where lines do."""

    text: str
    mark: Mark = "none"
    event: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one a line, below a headline."""

    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about the subject, with the way out on a line of its own."""

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
    """Text that is printed as it is: it is meant for another program or a file."""

    text: str


Block = Table | Headline | Facts | Remark | Outline | Verbatim
