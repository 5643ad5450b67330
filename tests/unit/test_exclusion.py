"""What `exclude` patterns leave out, against the documented rule written down a second time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from quiesce.exclusion import (
    RESERVED,
    BadPattern,
    Exclusion,
    LeftOut,
    Tally,
    expression_of,
    is_run_folder,
)


def matches(pattern: str, path: str) -> bool:
    """The rule of docs/volumes.md, part by part and character by character."""
    wanted = [part for part in pattern.removeprefix("./").split("/") if part]
    found = path.split("/")
    return any(_all_match(wanted, found[:depth]) for depth in range(1, len(found) + 1))


def _all_match(wanted: list[str], found: list[str]) -> bool:
    if not wanted:
        return not found
    if wanted == ["**"]:
        return bool(found)
    if wanted[0] == "**":
        return any(_all_match(wanted[1:], found[skipped:]) for skipped in range(len(found) + 1))
    return bool(found) and _matches(wanted[0], found[0]) and _all_match(wanted[1:], found[1:])


def _matches(wanted: str, name: str) -> bool:
    if not wanted:
        return not name
    if wanted[0] == "*":
        return any(_matches(wanted[1:], name[taken:]) for taken in range(len(name) + 1))
    if not name:
        return False
    if wanted[0] == "\\":
        return name[0] == wanted[1] and _matches(wanted[2:], name[1:])
    if wanted[0] == "[":
        negated = wanted[1] in "!^"
        end = wanted.index("]", 2 + negated)
        inside = name[0] in _members(wanted[1 + negated : end])
        return inside != negated and _matches(wanted[end + 1 :], name[1:])
    return wanted[0] in ("?", name[0]) and _matches(wanted[1:], name[1:])


def _members(inside: str) -> set[str]:
    found: set[str] = set()
    position = 0
    while position < len(inside):
        if inside[position + 1 : position + 2] == "-" and position + 2 < len(inside):
            found |= set(map(chr, range(ord(inside[position]), ord(inside[position + 2]) + 1)))
            position += 3
        else:
            found.add(inside[position])
            position += 1
    return found


# Few characters, so that what is drawn often matches: plain, special, non-ASCII, a byte that is
# no UTF-8 (as Python shows it), a line break.
CHARACTERS = "ab.-]^!*?\\ü\udcff\n "
SETS = ["[ab]", "[!a]", "[^a]", "[a-c]", "[]a]", "[!]a]", "[+-9]", "[a^]", "[b-]", "[ü]"]
PIECES = [*"ab.-!^ü", "*", "?", *SETS, r"\*", r"\[", r"\\"]
names = some.text(CHARACTERS, min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
paths = some.lists(names, min_size=1, max_size=4).map("/".join)
parts = some.one_of(
    some.just("**"),
    some.lists(some.sampled_from(PIECES), min_size=1, max_size=4)
    .map("".join)
    .filter(lambda part: part not in (".", "..") and "**" not in part),
)
patterns = some.lists(parts, min_size=1, max_size=4).map("/".join)


def in_volume(path: str) -> bytes:
    """A path as find prints it."""
    return b"./" + path.encode("utf-8", "surrogateescape")


@given(patterns, paths, some.sampled_from(["", "./"]), some.sampled_from(["", "/"]))
def test_the_matcher_does_what_the_rule_says(
    pattern: str, path: str, before: str, after: str
) -> None:
    """Any pattern, any path: a leading `./` and a trailing slash mean nothing."""
    decided = Exclusion([before + pattern + after]).which(in_volume(path))
    assert (decided == 0) is matches(pattern, path)


@given(patterns, paths, names)
def test_what_is_in_a_folder_that_is_left_out_is_left_out(
    pattern: str, path: str, name: str
) -> None:
    """A folder is left out with its whole tree."""
    exclusion = Exclusion([pattern])
    if exclusion.which(in_volume(path)) is not None:
        assert exclusion.which(in_volume(f"{path}/{name}")) == 0


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("cache/*", ["cache/x", "cache/.x", "cache/x/y"], ["cache", "users/eve/cache/x"]),
        ("*.tmp", ["a.tmp", ".tmp", "d.tmp/x"], ["d/b.tmp", "a.tmpx"]),
        ("**/*.tmp", ["a.tmp", "d/b.tmp", "d/e/f.tmp/x"], ["tmp", "d/tmp"]),
        ("**/cache", ["cache", "a/cache/b"], ["cachex", "xcache/b"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/z"], ["a", "ab", "x/a/b"]),
        ("cache/**", ["cache/x", "cache/x/y"], ["cache"]),
        ("[^k]*.dat", ["other.dat"], ["keep.dat", "d/other.dat"]),
        ("[!k]*.dat", ["other.dat"], ["keep.dat"]),
        (r"\[x\]", ["[x]"], ["x"]),
        (r"a\*", ["a*"], ["ab"]),
        ("?", ["ü", "a", "\udcff", "\n"], ["ab"]),
        ("*", ["a", ".a", "a/b"], []),
    ],
)
def test_examples(pattern: str, matching: list[str], other: list[str]) -> None:
    """Those of the documentation, and those that went wrong when there were two matchers."""
    exclusion = Exclusion([pattern])
    for path in (*matching, *other):
        assert (exclusion.which(in_volume(path)) == 0) is (path in matching), path
    assert exclusion.which(b".") is None


@pytest.mark.parametrize(
    "pattern",
    ["", "/", "./", "/a", "a//b", "../a", "a/..", "a/./b", "a**", "**a/b", "[a", "[]", "a\\",
     "a\\/b", "[[:digit:]]", "[z-a]", "a\nb", r"[\]]"],
)  # fmt: skip
def test_a_pattern_without_a_meaning_is_refused(pattern: str) -> None:
    """With what to write instead."""
    with pytest.raises(BadPattern) as caught:
        expression_of(pattern)
    assert caught.value.fact
    assert caught.value.hint


def test_only_names_of_the_form_of_a_run_are_ours() -> None:
    """A user's own `.quiesce-archive` is the user's; a run's name deeper is, too."""
    exclusion = Exclusion([])
    assert exclusion.which(b"./.quiesce-20261129054812-0a1b2c/old/x") == RESERVED
    for path in (b"./.quiesce-archive", b"./.quiesce-", b"./d/.quiesce-20261129054812-0a1b2c"):
        assert exclusion.which(path) is None
    assert not is_run_folder(".quiesce-20261129054812-0a1b2c.tar")


def test_what_several_patterns_match_is_counted_once_for_the_first() -> None:
    """And one that others hide is not said to match nothing."""
    exclusion = Exclusion(["cache", "**/*.tmp", "none"])
    tally = Tally(exclusion)
    tally.add(0, b"./cache", b"d", 4096)
    tally.add(0, b"./cache/x.tmp", b"f", 3)
    tally.add(0, b"./cache/socket", b"s", 0)
    assert tally.result() == (
        LeftOut("cache", 2, 3),
        LeftOut("**/*.tmp", 0, 0),
        LeftOut("none", 0, 0),
    )
    assert tally.unmatched() == ("none",)


def test_no_pattern_takes_time_that_grows_with_a_power_of_the_name() -> None:
    """Names are a service's; a hostile one must not hold up the window."""
    exclusion = Exclusion(["*a*a*a*a*a*a*a*a*b", "*?*?*?*?*?*?*?*x"])
    began = time.process_time()
    assert exclusion.which(b"./" + b"a" * 255) is None
    assert time.process_time() - began < 20
