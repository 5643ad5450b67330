"""Hints for an unknown name: the most similar names, or all known names. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to `word`, or None if no name is similar."""
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
    """Return `did you mean 'A'?` if a name is similar, otherwise `known: A, B` with all names. At
    most `most` names are offered. If no name is similar, `unlike` replaces the list; if no name is
    known, `none` replaces it. The list keeps the order of `known`; a set is sorted.
    """
    names = sorted(known) if isinstance(known, set | frozenset) else list(known)
    if alike := _alike(word, names, most):
        return did_you_mean(*alike)
    if not names and none is not None:
        return none
    return f"known: {', '.join(names) or 'none'}" if unlike is None else unlike


def _alike(word: str, known: Iterable[str], most: int) -> list[str]:
    # Sorted, so that the result is always the same if two names are equally similar.
    return difflib.get_close_matches(word, sorted(known), n=most, cutoff=0.6)


def _quoted(name: str) -> str:
    return f"'{name}'"
