"""Sizes, durations, ages and names as people read them. Pure text, no colour."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, tzinfo

from quiesce import amounts
from quiesce.amounts import DAY, HOUR, MINUTE

size, duration = amounts.size, amounts.duration

#: Replacements of characters in ASCII output.
_IN_ASCII = str.maketrans(
    {
        "—": "-",
        "–": "-",
        "×": "x",
        "…": "...",
        "✔": "+",
        "✘": "x",
        "•": "-",
        "·": "-",
        "→": "->",
        "’": "'",
    }
)


def age(then: datetime, now: datetime) -> str:
    """Return how long ago `then` was: `just now`, `45 s ago`, `3 h ago`, `2 days ago`.

    Rounded down, so nothing looks older than it is. A future time (the clock was set back) reads
    `in 3 h`.
    """
    seconds = int((now - then).total_seconds())
    if -5 < seconds < 5:
        return "just now"
    words = span(abs(seconds))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def span(seconds: int) -> str:
    """Return a duration in its largest unit only: `45 s`, `3 min`, `47 h`, `81 days`."""
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR} h"
    return f"{seconds // DAY} days"


def moment(when: datetime, zone: tzinfo | None) -> str:
    """Return an ISO 8601 time with offset, to the second. `zone` None is this machine's."""
    return when.astimezone(zone).isoformat(timespec="seconds")


def utc(when: datetime) -> str:
    """Return an ISO 8601 time in UTC, for documents."""
    return when.astimezone(UTC).isoformat()


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `1 table`, `12,345 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def utf_8(text: str) -> bytes:
    """Return the text for a file. Bytes of names that are not UTF-8 are escaped as in JSON."""
    return text.encode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """Return the text on a single line, its line breaks and runs of blanks as one blank."""
    return " ".join(text.split())


def printable(text: str) -> str:
    r"""Return the text without control sequences and characters that cannot be encoded.

    Control characters become `\x1b` and the like, as do those that reorder text; invalid bytes of
    file names (surrogates) become U+FFFD. Tabs become four blanks; line breaks are kept.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\n" or character.isprintable():
        return character
    if character == "\t":
        return "    "
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category in ("Cc", "Cf", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    # Unusual blanks and characters newer than this Python's tables are harmless.
    return character


def legible(text: str, encoding: str) -> str:
    """Return the text with every character that `encoding` lacks replaced by a similar one."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_IN_ASCII).encode(encoding, "replace").decode(encoding)
    except LookupError:
        return text.translate(_IN_ASCII).encode("ascii", "replace").decode("ascii")
    return text


def width(text: str) -> int:
    """Return the width of the text in terminal columns."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, columns: int) -> str:
    """Return the text followed by blanks up to `columns` columns."""
    return text + " " * max(0, columns - width(text))
