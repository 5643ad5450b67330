"""Env files are read as Compose reads them, except that nothing undefined is passed over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from quiesce.config.findings import Findings
from quiesce.config.variables import read_env_file
from quiesce.env_file import parse_env_file
from quiesce.errors import ConfigError

ENVIRON = {"HOME_TOWN": "Ulm", "EMPTY": ""}

#: The line of X, and its value.
VALUES = {
    "plain": ("X=value", "value"),
    "nothing": ("X=", ""),
    "spaces": ("  X =  a b  ", "a b"),
    "colon": ("X: value", "value"),
    "export": ("export X=value", "value"),
    "equals": ("X=a=b", "a=b"),
    "comment": ("X=a # b", "a"),
    "no comment": ("X=a#b", "a#b"),
    "backslash": (r"X=a\nb", r"a\nb"),
    "single quotes": (r"X='a \n $A # ${B}'  # c", r"a \n $A # ${B}"),
    "single quote inside": (r"X='it\'s'", "it's"),
    "double quotes": ('X="a # b" # c', "a # b"),
    "double quotes inside": (r'X="a \"b\""', 'a "b"'),
    "escapes": (r'X="a\tb\\n\z"', "a\tb\\n\\z"),
    "octal": (r'X="\0101\0044HOME_TOWN"', "AUlm"),
    "escaped dollar": (r'X="\$HOME_TOWN $$HOME_TOWN"', "$HOME_TOWN $HOME_TOWN"),
    "several lines": ('X="a\n  b "', "a\n  b "),
    "reference": ("X=${HOME_TOWN}/$HOME_TOWN", "Ulm/Ulm"),
    "default": ("X=${ABSENT:-a}${EMPTY-b}${EMPTY:-c}", "ac"),
    "reference in quotes": ('X="in ${HOME_TOWN}"', "in Ulm"),
    "earlier variable": ("A=1\nX=${A}2", "12"),
    "of the environment": ("X=old\nX=${X}er", "older"),
    "twice": ("X=1\nX=2", "2"),
    "single dollar": ("X=a$ b$", "a$ b$"),
    "windows": ("A=1\r\nX=a\r", "a"),
    "after comments": ("# X=1\n\n   # X=2\nX=3", "3"),
}

MISTAKES = {
    "not a name": (
        "A=1\n2X=1",
        "2: not a variable (write 'NAME=value', or '#' before a comment)",
    ),
    "two words": ("my name=1", "1: not a variable (write 'NAME=value', or '#' before a comment)"),
    "open quote": ("\nX='abc\nY=1\n", "2: X: a quote is not closed (close it with ')"),
    "after the quote": (
        'X="a"b',
        '1: X: there is text after the closing quote (write \\" for a quote inside)',
    ),
    "open brace": ("X=${A", "1: X: a '${' is not closed (write '${NAME}')"),
    "undefined": (
        "A=1\nX=pa$word",
        "2: X: variable 'word' is not defined (define it above, or write '$$' or use single "
        "quotes for a dollar sign)",
    ),
    "nearly defined": (
        "PASSWORD=1\nX=${PASWORD}",
        "2: X: variable 'PASWORD' is not defined (did you mean 'PASSWORD'?)",
    ),
    "needed": (
        "X=${EMPTY:?say it}",
        "1: X: variable 'EMPTY' is empty: say it (define it above, or write '$$' or use single "
        "quotes for a dollar sign)",
    ),
    "NUL": ("A=1\nX=\0", "2: a NUL character (remove it)"),
}


def read(folder: Path, content: str) -> Mapping[str, str] | None:
    """Read an env file of this content; raise ConfigError for its mistakes."""
    file = folder / "core.env"
    file.write_bytes(content.encode())
    findings = Findings("stack.yaml")
    values = read_env_file(file, {}, ENVIRON, findings)
    findings.raise_if_any()
    return values


@pytest.mark.parametrize(("content", "expected"), VALUES.values(), ids=VALUES)
def test_a_value_is_read(tmp_path: Path, content: str, expected: str) -> None:
    """The variable X of each file."""
    values = read(tmp_path, content)
    assert values is not None
    assert values["X"] == expected


@pytest.mark.thorough
@pytest.mark.skipif(not shutil.which("docker"), reason="docker compose is not installed")
@pytest.mark.parametrize(("content", "expected"), VALUES.values(), ids=VALUES)
def test_compose_reads_the_same(tmp_path: Path, content: str, expected: str) -> None:
    """What Compose itself makes of the file; `config` needs no engine."""
    (tmp_path / "core.env").write_bytes(f"{content}\n".encode())
    (tmp_path / "compose.yml").write_text(
        "services: {a: {image: x, environment: {X: '${X-absent}'}}}"
    )
    command = ["docker", "compose", "--file", "compose.yml", "--env-file", "core.env"]
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **ENVIRON},
        capture_output=True,
        text=True,
        check=False,
    )
    if "is not a docker command" in done.stderr or "unknown flag" in done.stderr:
        pytest.skip("docker compose is not installed")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)["services"]["a"]["environment"]["X"]
    assert value.replace("$$", "$") == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    MISTAKES.values(),
    ids=MISTAKES,
)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: str
) -> None:
    """One mistake each, and never the value."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, content)
    assert [str(problem) for problem in caught.value.problems] == [f"core.env:{expected}"]


def test_a_name_alone_is_taken_from_the_environment(tmp_path: Path) -> None:
    """It is left out when the environment does not have it either."""
    assert read(tmp_path, "HOME_TOWN\nexport ABSENT\nX=1") == {"HOME_TOWN": "Ulm", "X": "1"}


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line of the first wrong byte."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "core.env").write_bytes(b"A=1\nB=\xff\n")
    findings = Findings("stack.yaml")
    assert read_env_file(tmp_path / "core.env", {}, {}, findings) is None
    with pytest.raises(ConfigError, match=r"core.env:2: not UTF-8 text"):
        findings.raise_if_any()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=pa$word$$", "pa$word$$"),
        ('X="pa$word\\$"', "pa$word$"),
        ("X='${A}'", "${A}"),
        ("X=${A", "${A"),
    ],
)
def test_without_references_a_dollar_sign_stands_for_itself(line: str, value: str) -> None:
    """For files whose values nobody fills in."""
    parsed = parse_env_file(line.encode(), {}, {"word": "x"}, references=False)
    assert (parsed.values, parsed.mistakes) == ({"X": value}, ())


def test_no_value_is_in_the_representation() -> None:
    """A traceback with local variables would show it."""
    assert "s3cret" not in repr(parse_env_file(b"PASSWORD=s3cret", {}, {}))
