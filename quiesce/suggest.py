"""Hints for a name that is not known: the names most like it, or all that are known. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that `word` was probably meant to be, None where none is alike."""
    return next(iter(_alike(word, known, 1)), None)


def did_you_mean(*names: str) -> str:
    """Return the question that offers these names."""
    return f"did you mean {' or '.join(map(_quoted, names))}?"


def suggest(
    word: str,
    known: Iterable[str],
    *,
    most: int = 1,
    unlike: str | None = None,
    none: str | None = None,
) -> str:
    """Return `did you mean 'A'?` for a name that is alike, or `known: A, B` with all names.

    At most `most` names are offered. `unlike` replaces the list where no name is alike, and `none`
    where no name is known. The list keeps the order of `known`; a set is sorted.
    """
    names = sorted(known) if isinstance(known, set | frozenset) else list(known)
    if alike := _alike(word, names, most):
        return did_you_mean(*alike)
    if not names and none is not None:
        return none
    return f"known: {', '.join(names) or 'none'}" if unlike is None else unlike


def _alike(word: str, known: Iterable[str], most: int) -> list[str]:
    # Sorted, so that of two that are equally alike it is always the same one.
    return difflib.get_close_matches(word, sorted(known), n=most, cutoff=0.6)


def _quoted(name: str) -> str:
    return f"'{name}'"
