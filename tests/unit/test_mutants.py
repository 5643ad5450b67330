"""The mutation run: which changes it makes, that they are tried, and what its list may say."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

from tests.mutants import command
from tests.mutants.mutate import compiled, mutants

CODE = """
LIMIT = 3

class Held:
    size: int = 4

    def fits(self, used: int = 5) -> bool:
        "Whether there is room."
        return used < LIMIT and not self.full

def first(names):
    def known(name: int | str) -> int | None:
        pass
    for name in names:
        if name:
            break
        note(f"skipped {1 + 1}", *zip(names, names, strict=True))
    else:
        raise ValueError("none")
    return name
"""


def names(code: str = CODE) -> list[str]:
    """The mutants of a module, as they are called in the list."""
    return [one.name for one in mutants("m.py", code)]


def test_every_change_of_a_function_is_found_in_order() -> None:
    """Nothing of what runs at import, and no text for people."""
    assert names() == [
        "`Held.fits`: `used < LIMIT and (not self.full)` → `used < LIMIT or not self.full`",
        "`Held.fits`: `used < LIMIT and (not self.full)` → `used < LIMIT`",
        "`Held.fits`: `used < LIMIT and (not self.full)` → `not self.full`",
        "`Held.fits`: `used < LIMIT` → `used <= LIMIT`",
        "`Held.fits`: `not self.full` → `self.full`",
        "`first`: `if name` → `if not name`",
        "`first`: `break` → `pass`",
        "`first`: `note(f'skipped {1 + 1}', *zip(names, names, strict=True))` → `pass`",
        "`first`: `raise ValueError('none')` → `pass`",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a == b", "a != b"),
        ("a in b", "a not in b"),
        ("a is None", "a is not None"),
        ("a + b", "a - b"),
        ("any(a)", "all(a)"),
        ("max(a)", "min(a)"),
        ("True", "False"),
        ("7", "8"),
    ],
)
def test_a_value_is_exchanged(before: str, after: str) -> None:
    """For the one that is nearest to it."""
    assert names(f"def f(): return {before}") == [f"`f`: `{before}` → `{after}`"]


def test_the_same_words_in_one_function_are_numbered() -> None:
    """So that each has a name of its own."""
    assert names("def f(): return (1, 1)") == ["`f`: `1` → `2`", "`f`: `1` → `2` (2)"]


@pytest.mark.parametrize("number", range(9))
def test_a_compiled_mutant_differs_in_that_place_alone(number: int) -> None:
    """The lines stay, so that functions are found by them."""
    one = mutants("m.py", CODE)[number]
    module = compiled(one, CODE, "m.py")
    code = {c.co_qualname: c for c in _all_codes(module)}
    original = {c.co_qualname: c for c in _all_codes(compile(ast.parse(CODE), "m.py", "exec"))}
    assert {name for name in code if code[name] != original[name]} - {"<module>", "Held"} == {
        one.function
    }
    assert code[one.function].co_firstlineno == original[one.function].co_firstlineno


def _all_codes(code: object) -> list:
    inner = [one for one in code.co_consts if hasattr(one, "co_qualname")]
    return [code, *(deeper for one in inner for deeper in _all_codes(one))]


def test_the_list_names_a_mutant_a_function_or_a_module() -> None:
    """Each line with its reason."""
    known = command.read_survivors(
        "# Title\n\n## a.py\n\n- `f`: `1` → `2` (2): the same\n- `g`: anything: elsewhere\n\n"
        "## b.py\n\n- anything: needs an engine\n"
    )
    assert command.is_known("a.py", "`f`: `1` → `2` (2)", known)
    assert not command.is_known("a.py", "`f`: `1` → `2`", known)
    assert command.is_known("a.py", "`g`: `True` → `False`", known)
    assert command.is_known("b.py", "`f`: `1` → `2`", known)
    assert not command.is_known("c.py", "`g`: `1` → `2`", known)


@pytest.mark.parametrize(
    "text", ["- `f`: anything: no module", "## a.py\n- `f`: anything", "## a.py\n- what is this"]
)
def test_a_line_without_a_reason_is_refused(text: str) -> None:
    """A list that grows by itself says nothing."""
    with pytest.raises(ValueError, match="not a survivor with its reason"):
        command.read_survivors(text)


@pytest.mark.thorough
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="names are those of Python 3.11")
def test_the_list_of_this_repository_names_what_there_is() -> None:
    """A mutant that is not there any more is no survivor."""
    known = command.read_survivors(command.SURVIVORS.read_text("utf-8"))
    there: set[tuple[str, str]] = set()
    for path in command.paths():
        found = mutants(path, (command.ROOT / path).read_text("utf-8"))
        there |= {(path, "anything")} | {(path, one.name) for one in found}
        there |= {(path, f"`{one.function}`: anything") for one in found}
    assert known - there == set()


def _small_repository(folder: Path) -> None:
    (folder / "quiesce").mkdir()
    (folder / "quiesce/__init__.py").touch()
    (folder / "quiesce/small.py").write_text(
        "from functools import cache\n\n"
        "def is_old(age):\n    return age > 3\n\n"
        "@cache\ndef remembered(age):\n    return age + 1\n\n"
        "def unused():\n    return 1\n\n"
        "def noted(done):\n    done.append(2)\n    print(1 < 2)\n\n"
        "def forever(n):\n    while n > 0:\n        n -= 1\n\n"
        "def wait(event):\n    event.set()\n    event.wait()\n"
    )
    (folder / "tests/small").mkdir(parents=True)
    (folder / "tests/small/test_small.py").write_text(
        "import threading\nfrom quiesce.small import forever, is_old, noted, remembered, wait\n"
        "def test_old():\n    assert is_old(4) and not is_old(2)\n"
        "def test_remembered():\n    assert remembered(1) == 2\n"
        "def test_noted(tmp_path):\n    done = []\n    noted(done)\n    assert done == [2]\n"
        "def test_forever():\n    forever(3)\n"
        "def test_wait():\n    wait(threading.Event())\n"
    )


@pytest.mark.thorough
def test_mutants_are_tried_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those that a test notices die, the others are printed, and a new one is a failure."""
    _small_repository(tmp_path)
    for name in ("mutants", "support"):
        shutil.copytree(
            command.ROOT / "tests" / name,
            tmp_path / "tests" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    (tmp_path / "tests/__init__.py").touch()
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--quick', action='store_true')\n"
    )
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "MUTATED", ("quiesce/small.py",))
    monkeypatch.setattr(command, "TESTS", ("tests/small",))
    monkeypatch.setattr(command, "PATIENCE", 1.0)
    monkeypatch.setenv("PYTHONPATH", "")
    listed = tmp_path / "survivors.md"
    monkeypatch.setattr(command, "SURVIVORS", listed)
    listed.write_text("## quiesce/small.py\n- `unused`: anything: nobody calls it\n")
    before = sorted(tmp_path.rglob("*.py"))
    assert command.main(long=True) == 1
    out = capfd.readouterr().out
    assert "`unused`: `1` → `2` no fast test runs it  (known)" in out
    assert "- `is_old`: `age > 3` → `age >= 3`\n" in out
    assert "- `is_old`: `3` → `4`" not in out
    assert "- `remembered`: " not in out
    assert "- `noted`: `done.append(2)` → `pass`" not in out
    assert "- `forever`: `n -= 1` → `pass`" not in out
    assert "- `wait`: `event.set()` → `pass`" not in out
    assert "- `wait`: `event.wait()` → `pass`" in out
    assert "quiesce/small.py: all that were chosen are tried" in out
    assert "of them new" in out
    assert sorted(tmp_path.rglob("*.py")) == before
    survivors = [
        line for line in out.splitlines() if line.startswith("- `") and "known" not in line
    ]
    listed.write_text(
        "## quiesce/small.py\n- `unused`: anything: nobody calls it\n"
        + "".join(f"{line.replace(' no fast test runs it', '')}: a reason\n" for line in survivors)
    )
    assert command.main(long=True) == 0
