"""Values that must not be printed."""

from __future__ import annotations

from collections.abc import Callable


class Secret:
    """A value that prints as `***`; only `reveal()` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class LateSecret(Secret):
    """A value that is looked up when it is first needed, and may then raise QuiesceError."""

    __slots__ = ("_found", "_look_up")

    def __init__(self, look_up: Callable[[], str]) -> None:
        super().__init__("")
        self._look_up = look_up
        self._found: str | None = None

    def reveal(self) -> str:
        if self._found is None:
            self._found = self._look_up()
        return self._found

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)
