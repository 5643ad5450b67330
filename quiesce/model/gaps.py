"""What a set does not contain although it belongs to the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UndeclaredKind = Literal["volume", "path", "file", "database"]


@dataclass(frozen=True, slots=True)
class Undeclared:
    """Data of the stack that stack.yaml neither names nor excludes, so that no set contains it.

    `name` is a volume's key, the path of a folder or file, or a database's name on its server;
    `SERVICE:/path` is an anonymous volume. `hint` says how to declare it.
    """

    kind: UndeclaredKind
    name: str
    fact: str
    hint: str = ""

    @property
    def words(self) -> str:
        """Return its kind and name, for sentences."""
        return f"{'folder' if self.kind == 'path' else self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LeftOutFile:
    """A file of the stack's definition that is missing or changed in a set, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class StackFiles:
    """The files that define a stack: content by name below `stack/` of a set, and what is left
    out. None of them contains a secret."""

    kept: Mapping[str, bytes] = field(default_factory=dict)
    left_out: tuple[LeftOutFile, ...] = ()
