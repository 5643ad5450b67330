"""Tables, facts and plans for a terminal, made with Rich. Input texts must be printable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text
from rich.tree import Tree

from quiesce.plan.describe import RULE
from quiesce.report import words
from quiesce.report.blocks import Cell, Table
from quiesce.report.wrapping import widest_word, wrapped

STYLES = {"plain": "", "good": "green", "bad": "bold red", "warning": "yellow", "faint": "dim"}

_GAP = 2


def table(block: Table, columns: int) -> list[object]:
    """Return the table, or one record per row if the terminal is too narrow for it."""
    title = [Text(block.title, "bold")] if block.title else []
    if not block.rows:
        return [Text.assemble((f"{block.title}: " if block.title else "", "bold"), block.empty)]
    if _least_width(block) > columns:
        return [*title, *(_record(block, row, columns) for row in block.rows)]
    body = RichTable(box=None, header_style="dim", padding=(0, _GAP, 0, 0), pad_edge=False)
    for index, column in enumerate(block.columns):
        body.add_column(
            column.title,
            justify="right" if column.numeric else "left",
            no_wrap=not column.wraps,
            overflow="fold",
            min_width=_least(block, index) or None,
        )
    for row in block.rows:
        body.add_row(*(_styled(cell) for cell in row))
    return [*title, body]


class Lines(Group):
    """Lines of text that are wrapped already."""

    prewrapped = True


def facts(rows: Sequence[tuple[str, Cell]], columns: int) -> object:
    """Return names and values in two columns, indented."""
    return Lines(*_pairs(rows, columns))


def outline(text: str, shaped: Callable[[str], str]) -> object:
    """Return a plan from `describe` as a tree: dim reasons, parts under their bracket.

    The structure is derived from the text's indentation; `shaped` makes lines printable.
    """
    first, *lines = text.rstrip("\n").split("\n")
    tree = Tree(Text(shaped(first), "bold"), guide_style="dim")
    holders: list[Tree] = [tree]
    brackets: dict[int, Tree] = {}
    for line in lines:
        depth = max(1, (len(line) - len(line.lstrip(" "))) // 2)
        words_ = line.strip()
        sentence, dash, why = words_.partition(" — ")
        if words_.startswith("[ "):
            parent = holders[min(depth, len(holders)) - 1]
            node = brackets[depth] = parent.add(Text(shaped(words_[2:-2]), "bold"))
        elif words_.startswith(RULE):
            holders[min(depth, len(holders)) - 1].add(Text(shaped(words_), "bold yellow"))
            continue
        elif not dash and words_.endswith(":") and depth in brackets:
            node = brackets[depth].add(Text(shaped(words_[:-1]), "italic"))
        else:
            holders[min(depth, len(holders)) - 1].add(
                Text.assemble(shaped(sentence), (shaped(dash + why), "dim"))
            )
            continue
        holders[depth:] = [node]
    return tree


def _least_width(block: Table) -> int:
    total = 0
    for index, column in enumerate(block.columns):
        least = _least(block, index) if column.wraps else _widest(block, index)
        total += max(least, words.width(column.title)) + _GAP
    return total - _GAP


def _least(block: Table, index: int) -> int:
    """Return the width that a column needs so that it breaks only between words, 0 if it never
    breaks."""
    wraps = block.columns[index].wraps
    if not wraps:
        return 0
    longest = max(widest_word(row[index].text) for row in block.rows)
    return max(longest, min(wraps, _widest(block, index)))


def _widest(block: Table, index: int) -> int:
    return max(words.width(row[index].text) for row in block.rows)


def _record(block: Table, row: Sequence[Cell], columns: int) -> object:
    head, *rest = row
    pairs = [
        (column.title, cell)
        for column, cell in zip(block.columns[1:], rest, strict=True)
        if cell.text != "-"
    ]
    return Lines(Text(head.text, STYLES[head.tone] or "bold"), *_pairs(pairs, columns))


def _pairs(rows: Sequence[tuple[str, Cell]], columns: int) -> list[Text]:
    names = max((words.width(name) for name, _ in rows), default=0)
    before = _GAP + names + _GAP
    lines = []
    for name, cell in rows:
        first, *more = wrapped(_styled(cell), max(1, columns - before)) or [Text()]
        lines.append(
            Text.assemble(" " * _GAP, (words.padded(name, names), "dim"), " " * _GAP, first)
        )
        lines += [Text.assemble(" " * before, line) for line in more]
    return lines


def _styled(cell: Cell) -> Text:
    return Text(cell.text, STYLES[cell.tone])
