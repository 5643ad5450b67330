"""Breaks lines for a terminal: never inside a word, a number and its unit, or a quoted command.

A word that is wider than the terminal, such as a path, is left whole: the terminal shows it on two
lines, and it is copied as one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from quiesce.report import words

if TYPE_CHECKING:
    from rich.text import Text

#: Stands for a blank at which no line breaks; of private use, so that no text contains it.
GLUE = "\ue000"
_UNITS = (
    "B KiB MiB GiB TiB PiB EiB KB kB MB GB TB ms s min h d day days week weeks month months year "
    "years file files table tables row rows set sets entry entries volume volumes database "
    "databases"
).split()
_AMOUNT = re.compile(rf"(?<=\d) (?=(?:{'|'.join(_UNITS)})(?![\w-]))")
#: A command in a hint: 'inv restore --file latest'.
_QUOTED = re.compile(r"(?<![^\s(])'[^'\n]{1,60}'(?![\w])")
_WORD = re.compile(r"\s*\S+\s*")


def glued(text: str) -> str:
    """Return the text with `GLUE` instead of blanks at which no line may break."""
    text = _AMOUNT.sub(GLUE, text)
    return _QUOTED.sub(lambda found: found[0].replace(" ", GLUE), text)


def unglued(text: str) -> str:
    """Return the text with its blanks."""
    return text.replace(GLUE, " ")


def widest_word(text: str) -> int:
    """Return the width of the widest part of a glued text that stays on one line."""
    return max((words.width(word) for word in text.split()), default=0)


def wrapped(text: Text, room: int) -> list[Text]:
    """Return the lines of a text that are at most `room` columns wide if their words are."""
    lines = []
    for paragraph in text.split("\n", allow_blank=True):
        breaks, column = [], 0
        for found in _WORD.finditer(paragraph.plain):
            if column and column + words.width(found[0].rstrip()) > room:
                breaks.append(found.start())
                column = 0
            column += words.width(found[0])
        for line in paragraph.divide(breaks):
            line.rstrip()
            lines.append(line)
    return lines
