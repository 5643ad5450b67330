"""A word that is nearly right on the command line is answered with the right one."""

from __future__ import annotations

import pytest
from invoke.exceptions import ParseError
from invoke.parser import Parser, ParserContext

from quiesce.menu import namespace
from quiesce.menu.near_misses import WrongRequest

MISSES = [
    ("restore latest", "'latest'", "did you mean 'inv restore --file latest'?"),
    ("restore core-20261121-020000", "'core", "'inv restore --file core-20261121-020000'?"),
    ("restore --set latest", "'--set'", "did you mean '--file'?"),
    ("verify --al", "'--al'", "did you mean '--all'?"),
    ("backup --mod cold", "'--mod'", "did you mean '--mode'?"),
    ("backup --dryrun", "'--dryrun'", "did you mean '--dry-run'?"),
    ("backup -y", "'-y'", "did you mean '--yes'?"),
    ("backup rulesdb", "'rulesdb'", "did you mean 'inv backup --only rulesdb'?"),
    ("backup --xyzzy", "'--xyzzy'", "'inv --help backup' shows every option of backup"),
    ("up web", "'web'", "did you mean 'inv up --service web'?"),
    ("backup verfy", "'verfy'", "did you mean 'verify'?"),
    ("status foo", "'foo'", "status takes options only; 'inv --help status' shows them"),
    ("restroe", "'restroe'", "did you mean 'inv restore'?"),
    ("xyzzy", "'xyzzy'", "'inv --list' shows every task"),
]


@pytest.mark.parametrize(("line", "unknown", "hint"), MISSES)
def test_an_unknown_word_gets_a_hint(line: str, unknown: str, hint: str) -> None:
    """By Invoke's own parser, whose program prints the message; it ends with 2."""
    parser = Parser(contexts=namespace.to_contexts(), initial=ParserContext())
    with pytest.raises(ParseError) as told:
        parser.parse_argv(line.split())
    fact, _, advice = str(told.value).partition("\nHINT: ")
    assert unknown in fact
    assert advice.endswith(hint)
    assert isinstance(told.value, WrongRequest)
    assert (told.value.code, told.value.message) == (2, None)
