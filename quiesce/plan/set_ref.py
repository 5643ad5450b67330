"""The grammar of `--file`, which names a set or a file. Pure.

    latest             the newest full set
    latest:KIND        the newest set of this kind: full, data or schema
    latest:safety      the newest safety set; all other forms of `latest` skip safety sets
    latest:KEY         the newest full set with this database or volume
    STORE:…            any of these, or a set's name, in this store of stack.yaml; without
                       anything behind the colon, its `latest`
    anything else      a set's name, or the path of a set's folder or of a single file

A path that reads like one of the other forms is written with `./` before it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import get_args

from quiesce.errors import RequestError
from quiesce.model import SetKind

_KINDS: tuple[str, ...] = get_args(SetKind)
_SAFETY = "safety"


@dataclass(frozen=True, slots=True)
class SetRef:
    """The parsed value of `--file`: the `latest` set, limited by `narrowed`, or a `name`, which may
    be a path.

    `store` is the store that was named before it, "" for none.
    """

    name: str = ""
    narrowed: str = ""
    store: str = ""

    @classmethod
    def parse(cls, text: str, stores: Collection[str] = ()) -> SetRef:
        """Parse `text`; `stores` are the declared stores. A prefix that is not a declared store is
        part of the name. Raise RequestError for a text that names nothing.
        """
        store, colon, rest = text.partition(":")
        if colon and store in stores:
            inner = cls.parse(rest or "latest")
            return cls(inner.name, inner.narrowed, store)
        if not text.strip():
            raise RequestError("--file names no set", "give a set's name, a path, or latest")
        word, _, narrowed = text.partition(":")
        return cls(narrowed=narrowed) if word == "latest" else cls(name=text)

    @property
    def is_latest(self) -> bool:
        """Whether the newest of several sets is meant."""
        return not self.name

    @property
    def last_part(self) -> str:
        """The name alone, or the last part of the path; "" for `latest`."""
        return PurePath(self.name).name

    @property
    def without_store(self) -> str:
        """The text for `--file` of `inv pull`, where the store has its own option."""
        if self.name:
            return self.name
        return f"latest:{self.narrowed}" if self.narrowed else "latest"

    @property
    def words(self) -> str:
        """What `latest` looks for, for messages: `full set`, `safety set`, `set with media`."""
        if self.narrowed in (*_KINDS, _SAFETY):
            return f"{self.narrowed} set"
        return f"full set with {self.narrowed}" if self.narrowed else "full set"

    def __str__(self) -> str:
        return f"{self.store}:{self.without_store}" if self.store else self.without_store

    def fits(self, kind: SetKind, sources: Collection[str], *, safety: bool) -> bool:
        """Whether `latest` considers a set; the newest of these is chosen.

        `sources` are the keys of the databases and volumes in it.
        """
        if safety or self.narrowed == _SAFETY:
            return safety and self.narrowed == _SAFETY
        if self.narrowed in _KINDS:
            return kind == self.narrowed
        return kind == "full" and (not self.narrowed or self.narrowed in sources)
