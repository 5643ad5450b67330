r"""The `exclude:` patterns of a volume, and the only matcher for them. Pure.

The rules, which `docs/volumes.md` gives to users:

- A pattern is the path of an entry relative to the volume's root, with components between slashes.
  A matching entry is left out; a folder is left out with everything in it.
- `*` matches any characters of one component (also none, also a leading dot), `?` one character,
  `[a-z]` one of these, `[!a-z]` or `[^a-z]` one that is none of these. None of them matches a
  slash. `\` makes the next character literal.
- A component `**` matches any number of folders, also none; as the last component, everything in
  the folder. `**/x` is `x` anywhere.
- Names are read as UTF-8. An invalid byte is one character, which `?` and `*` match.
- A leading `./` and a trailing `/` are ignored. The root itself is never left out.

The folders of restores (`.quiesce-<run>` in the root) are left out without a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: The name of a restore's folder in a volume's root, as a regular expression that means the same in
#: Python and in GNU find (posix-extended). Every other name belongs to the user.
RUN_FOLDER = r"\.quiesce-[0-9]{14}-[0-9a-f]{4,16}"
#: The prefix of such a name. Other names with this prefix are kept, with a warning.
RUN_FOLDER_PREFIX = ".quiesce-"
#: Used instead of the index of a pattern: the entry is the folder of a restore.
RESERVED = -1

_PREFIX = f"./{RUN_FOLDER_PREFIX}".encode()
_RUN_FOLDER = re.compile(RUN_FOLDER)
_RESERVED_PATH = re.compile(rf"\./{RUN_FOLDER}(?:/|\Z)".encode())


class BadPattern(ValueError):
    """An invalid pattern, and what to write instead."""

    def __init__(self, fact: str, hint: str) -> None:
        super().__init__(fact)
        self.fact = fact
        self.hint = hint


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a pattern of `exclude` leaves out of a volume: entries, and bytes of regular files."""

    pattern: str
    files: int
    bytes: int


def is_run_folder(name: str) -> bool:
    """Whether this name in a volume's root belongs to a restore's folder."""
    return _RUN_FOLDER.fullmatch(name) is not None


def previous_copy(run: str) -> str:
    """Return the folder in a volume's root with the content that the exchange of `run` replaced."""
    return f"{RUN_FOLDER_PREFIX}{run}/old"


def replaced_copy(run: str) -> str:
    """Return the folder in a volume's root with the content that was live before the exchange of
    `run` was undone."""
    return f"{RUN_FOLDER_PREFIX}{run}/new"


class Exclusion:
    """Decides which paths (`./a/b`, as find prints them) are left out."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raise BadPattern for an invalid pattern."""
        self.patterns = tuple(patterns)
        each = [expression_of(pattern) for pattern in patterns]
        self._each = [re.compile(rf"\./{text}(?:/|\Z)") for text in each]
        every = "|".join(f"({text})" for text in each)
        self._any = re.compile(rf"\./(?:{every})(?:/|\Z)") if each else None

    def which(self, path: bytes) -> int | None:
        """Return the index of the first pattern that leaves the path out, `RESERVED` for the folder
        of a restore, or None if the path is archived."""
        if path.startswith(_PREFIX) and _RESERVED_PATH.match(path):
            return RESERVED
        if self._any is None:
            return None
        found = self._any.match(path.decode("utf-8", "surrogateescape"))
        return None if found is None else (found.lastindex or 0) - 1

    def matches(self, index: int, path: bytes) -> bool:
        """Whether this pattern, regardless of the others, leaves the path out."""
        return self._each[index].match(path.decode("utf-8", "surrogateescape")) is not None


class Tally:
    """How much each pattern leaves out. An entry counts for the first pattern that matches it."""

    def __init__(self, exclusion: Exclusion) -> None:
        self._exclusion = exclusion
        self._entries = [0] * len(exclusion.patterns)
        self._bytes = [0] * len(exclusion.patterns)
        self._unseen = set(range(len(exclusion.patterns)))
        #: Names in the root that only begin like the folder of a restore.
        self.lookalikes: list[str] = []

    def add(self, index: int, path: bytes, kind: bytes, size: int) -> None:
        """Count an entry that is left out, by the rules for volumes. `kind` is the letter of its
        type: sockets (`s`) do not count, and bytes count only for regular files (`f`)."""
        if index == RESERVED or kind == b"s":
            return
        self._entries[index] += 1
        self._bytes[index] += size if kind == b"f" else 0
        self._unseen -= {i for i in self._unseen if self._exclusion.matches(i, path)}

    def result(self) -> tuple[LeftOut, ...]:
        """One for each pattern, in their order."""
        return tuple(
            LeftOut(pattern, entries, size)
            for pattern, entries, size in zip(
                self._exclusion.patterns, self._entries, self._bytes, strict=True
            )
        )

    def unmatched(self) -> tuple[str, ...]:
        """Return the patterns that match nothing."""
        return tuple(self._exclusion.patterns[index] for index in sorted(self._unseen))


# ----------------------------------------------------------------------------- one pattern


def expression_of(pattern: str) -> str:
    """Return the regular expression that a pattern stands for, to match whole paths relative to
    the root, without `./`. Raise BadPattern."""
    text = pattern.removeprefix("./").rstrip("/")
    if not text or pattern.startswith("/"):
        raise BadPattern(
            "is not a pattern relative to the volume",
            "write a pattern that starts at the volume's root, like 'cache/*'",
        )
    if "\n" in pattern or "\0" in pattern:
        raise BadPattern("contains a line break", "write one pattern on each line of the list")
    parts = text.split("/")
    expressions: list[str] = []
    last = len(parts) - 1
    for number, part in enumerate(parts):
        if part != "**":
            expressions.append(_part(part) + ("/" if number < last else ""))
        elif number == last:
            expressions.append("[^/]+")
        elif parts[number + 1] != "**":
            expressions.append("(?:[^/]+/)*")
    return "".join(expressions)


def _part(part: str) -> str:
    """Return the expression for one component of a path."""
    if part in ("", ".", ".."):
        raise BadPattern(
            "is not a pattern relative to the volume",
            "write the path relative to the volume's root, without '..', '.' and '//'",
        )
    # Between two stars, the first match suffices. Without backtracking, matching takes time that
    # is linear in the length of a name.
    first, *rest = _segments(part)
    if not rest:
        return first
    *middle, last = rest
    if "" in middle:
        raise BadPattern(
            "has '**' next to other characters", "write '**' alone between slashes, like '**/*.tmp'"
        )
    return first + "".join(rf"(?>[^/]*?{text})" for text in middle) + "[^/]*" + last


def _segments(part: str) -> list[str]:
    """Return the expressions between the stars of a component."""
    segments = [""]
    position = 0
    while position < len(part):
        character = part[position]
        if character == "*":
            segments.append("")
        elif character == "?":
            segments[-1] += "[^/]"
        elif character == "[":
            text, position = _set(part, position)
            segments[-1] += text
        elif character == "\\":
            position += 1
            if position == len(part):
                raise BadPattern(
                    "has a path component that ends with a backslash",
                    r"write '\\' for a backslash in a name",
                )
            segments[-1] += re.escape(part[position])
        else:
            segments[-1] += re.escape(character)
        position += 1
    return segments


def _set(part: str, start: int) -> tuple[str, int]:
    """Return the expression for the brackets that begin at `start`, and where they end."""
    begin = start + 1
    negated = part[begin : begin + 1] in ("!", "^")
    begin += negated
    # A `]` right at the beginning is one of the characters.
    end = part.find("]", begin + 1)
    if end < 0:
        raise BadPattern("has a '[' that is not closed", r"write '\[' for a bracket in a name")
    inside = part[begin:end]
    if "[:" in inside or "[." in inside or "[=" in inside or "\\" in inside:
        raise BadPattern(
            "has a character class or a backslash in brackets",
            "list the characters themselves, like [0-9]",
        )
    found = "".join(_ranges(inside))
    # A slash must not match: neither `[!a]` nor a range that contains it, like `[+-9]`.
    return (f"[^/{found}]" if negated else f"(?!/)[{found}]"), end


def _ranges(inside: str) -> Iterator[str]:
    position = 0
    while position < len(inside):
        first = inside[position]
        if inside[position + 1 : position + 2] == "-" and position + 2 < len(inside):
            last = inside[position + 2]
            if last < first:
                raise BadPattern(
                    f"has the range {first}-{last}, which is empty",
                    f"write [{last}-{first}]",
                )
            yield f"{re.escape(first)}-{re.escape(last)}"
            position += 3
        else:
            yield re.escape(first)
            position += 1
