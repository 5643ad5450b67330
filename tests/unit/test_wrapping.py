"""Lines of a terminal break between words only, and not between a number and its unit."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from quiesce.report import words
from quiesce.report.blocks import Cell, Column, Facts, Headline, Remark, Table
from quiesce.report.wrapping import glued, unglued, wrapped
from tests.unit.report_samples import Room

PATH = "/srv/a-very-long-folder/with/another-long-folder/and/more/backups/core-20261121-020000"
WORDS = st.lists(st.text("abc/-.", min_size=1, max_size=30), min_size=1, max_size=20)


def _lines(text: str, room: int) -> list[str]:
    return [unglued(line.plain) for line in wrapped(Text(glued(text)), room)]


@given(WORDS, st.integers(5, 100))
def test_a_text_is_broken_between_words_only(parts: list[str], room: int) -> None:
    """Nothing is lost; only a word that is wider than the room makes a line wider."""
    text = " ".join(parts)
    lines = _lines(text, room)
    assert " ".join(lines) == text
    assert all(words.width(line) <= room or " " not in line for line in lines)


@given(st.integers(1, 120))
def test_amounts_and_commands_stay_whole(room: int) -> None:
    """In any width: a number with its unit, and what is to be typed."""
    whole = ["12.4 MiB", "4 min", "05 s", "400 ms", "1,234 files", "'inv restore --file latest'"]
    text = " and then ".join(whole)
    lines = _lines(text, room)
    assert " ".join(lines) == text
    assert all(any(part in line for line in lines) for part in whole)


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_a_terminal_of_any_width_shows_paths_and_amounts_whole(columns: int) -> None:
    """In facts, tables, records, headlines, remarks, notes and errors."""
    room = Room(renderer="terminal", columns=columns)
    amount = "the set has 12.4 MiB in 1,234 files"
    rows = tuple((Cell(f"volume-{n}"), Cell(f"{amount} {PATH}"), Cell("7.8 MiB")) for n in range(2))
    columns_ = (Column("volume"), Column("where", wraps=10), Column("size", numeric=True))
    blocks = [
        Headline(f"backed up into {PATH}: {amount}", "good"),
        Facts((("path", Cell(PATH)), ("what", Cell(f"{amount} and {amount}")))),
        Table("", columns_, rows),
        Remark("warning", "volume", f"{amount} in {PATH}", f"run 'inv verify --all' in {PATH}"),
    ]
    room.reporter.note(f"{amount} in {PATH}")
    room.reporter._show({}, blocks)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", room.stdout).split("\n")
    assert sum(PATH in line for line in lines) == 7
    text = "\n".join(lines)
    assert text.count("12.4 MiB") == text.count("12.4")
    assert text.count("1,234 files") == text.count("1,234")
    assert text.count("'inv verify --all'") == 1
