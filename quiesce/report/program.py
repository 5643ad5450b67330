"""Replaces `inv` in texts by the command that the user called.

Messages in the code say `inv backup`. A user who called `quiesce`, or has no `tasks.py`, must be
able to follow a hint literally.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quiesce.report.blocks import Cell, Facts, Headline, Remark

if TYPE_CHECKING:
    from quiesce.errors import QuiesceError
    from quiesce.report.blocks import Block

#: `inv` before a task or an option; not a part of a path or of a longer word.
_CALL = re.compile(r"(?<![\w./-])(?:\./)?inv(?= (?:--)?[a-z])")


@dataclass(frozen=True, slots=True)
class Program:
    """The command that was called."""

    name: str

    def of(self, text: str) -> str:
        """Return the text with every call of `inv` replaced by a call of this command."""
        return text if self.name == "inv" else _CALL.sub(self.name, text)

    def of_block(self, block: Block) -> Block:
        """Return a block with such calls in its sentences; tables stay as they are."""
        match block:
            case Remark():
                return replace(block, fact=self.of(block.fact), hint=self.of(block.hint))
            case Headline():
                return replace(block, text=self.of(block.text))
            case Facts():
                rows = tuple((name, self._of_cell(cell)) for name, cell in block.rows)
                return replace(block, rows=rows)
            case _:
                return block

    def _of_cell(self, cell: Cell) -> Cell:
        """Only calls in quotes, because a value may be text of the user."""
        calls = "'inv " in cell.text
        return replace(cell, text=self.of(cell.text)) if calls else cell

    def of_error(self, error: QuiesceError) -> None:
        """Rewrite an error that is about to be shown."""
        error.fact, error.hint = self.of(error.fact), self.of(error.hint)
        error.details = tuple(self.of(line) for line in error.details)
