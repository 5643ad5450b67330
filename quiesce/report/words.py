"""Sizes, durations, ages and names as people read them. Pure text, no colour."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, tzinfo

MINUTE, HOUR, DAY = 60, 3600, 86400

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

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


def size(count: int) -> str:
    """Return bytes as `512 B`, `1.2 MiB`, `3.0 GiB`: powers of 1024, one decimal."""
    value = float(abs(count))
    sign = "-" if count < 0 else ""
    if value < 1024:
        return f"{sign}{value:.0f} B"
    for unit in _UNITS:
        value /= 1024
        # 1023.96 KiB would be printed as 1024.0 KiB.
        if round(value, 1) < 1024 or unit == _UNITS[-1]:
            break
    return f"{sign}{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return seconds as `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min` or `3 d 04 h`."""
    seconds = max(seconds, 0.0)
    if round(seconds * 1000) < 1000:
        return f"{round(seconds * 1000)} ms"
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{whole // DAY} d {whole % DAY // HOUR:02d} h"


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
