"""The body of `./inv test --mutants`: which mutants are tried, and whether a new one survived."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from tests.mutants.mutate import mutants
from tests.support import sampling

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = ROOT / "tests" / "mutants" / "survivors.md"
#: What is mutated, and the tests that can notice: all that need no engine and no server.
MUTATED = ("quiesce/plan", "quiesce/execute", "quiesce/adapters/volumes/changes.py")
TESTS = (
    *("tests/unit", "tests/golden"),
    *("tests/crash/test_every_step.py", "tests/crash/test_pending.py", "tests/crash/test_ends.py"),
    "tests/integration/test_journal.py",
)
#: How many are tried, and for how many seconds, without --long.
SAMPLE = 300
SECONDS = 300.0
#: A mutant that hardly computes for this many seconds waits for something that does not come; one
#: with a test that computes for a fifth of it longer than ten times as usual goes in circles.
PATIENCE = 10.0
_LINE = re.compile(r"- (anything|`.+?`: (?:`.+?` → `.*?`(?: \(\d+\))?|anything)): \S.*")


def paths() -> list[str]:
    """Return the modules that are mutated."""
    found: list[str] = []
    for name in MUTATED:
        place = ROOT / name
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        found += [file.relative_to(ROOT).as_posix() for file in files]
    return found


def read_survivors(text: str) -> set[tuple[str, str]]:
    """Return the path and the name of each known survivor; raise ValueError for a wrong line.

    `anything` stands for all mutants of a function, or of a module.
    """
    known, path = set(), ""
    for line in text.splitlines():
        if line.startswith("## "):
            path = line[3:].strip()
        elif line.startswith("- "):
            match = _LINE.fullmatch(line)
            if match is None or not path:
                raise ValueError(f"{SURVIVORS.name}: not a survivor with its reason: {line}")
            known.add((path, match[1]))
    return known


def is_known(path: str, name: str, known: Collection[tuple[str, str]]) -> bool:
    """Tell whether the list has this mutant, its function or its module."""
    function = name.split(": ", 1)[0]
    return any((path, listed) in known for listed in (name, f"{function}: anything", "anything"))


def main(*, long: bool, only: Collection[str] = (), tests: Collection[str] = ()) -> int:
    """Try mutants, print those that survive; return 1 where one is not in the list, else 0.

    Without `long`, a sample of them, chosen by the seed that is printed, and a bounded time. `only`
    names the modules and folders whose mutants are tried, `tests` those that may notice; all by
    default.
    """
    files = [path for path in paths() if not only or any(_is_in(path, one) for one in only)]
    count = sum(len(mutants(path, (ROOT / path).read_text("utf-8"))) for path in files)
    numbers = list(range(count))
    if not long:
        random.Random(f"{sampling.choose_seed()} mutants").shuffle(numbers)
    print(f"seed of the samples: {sampling.SEED}={sampling.choose_seed()}")
    chosen, seconds = (numbers, None) if long else (numbers[:SAMPLE], SECONDS)
    results = _run(files, chosen, seconds, tests or TESTS)
    if results is None:
        return 1
    return _report(results, count, read_survivors(SURVIVORS.read_text("utf-8")))


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place.rstrip('/')}/")


def _report(
    results: Mapping[str, list[list[str]]], count: int, known: Collection[tuple[str, str]]
) -> int:
    survived = sorted(map(tuple, [*results["survived"], *results["untested"]]))
    new = [one for one in survived if not is_known(*one, known)]
    died = {tuple(one) for one in results["killed"]} & set(known)
    untested = set(map(tuple, results["untested"]))
    path = ""
    for one in survived:
        if one[0] != path:
            path = one[0]
            print(f"\n## {path}\n")
        mark = "" if one in new else "  (known)"
        print(f"- {one[1]}{' no fast test runs it' if one in untested else ''}{mark}")
    for test in results["broken"]:
        print(f"fails without any mutant, and so was not asked: {test}")
    for one in sorted(died):
        print(f"dies now, so remove it from {SURVIVORS.name}: {one[0]} {one[1]}")
    if results["untried"]:
        # A mutant that uses another set of outer variables, for example.
        print(f"{len(results['untried'])} could not be put into the running process")
    tried = len(survived) + len(results["killed"])
    left = f", {len(results['left'])} not tried in {SECONDS:.0f} s" if results["left"] else ""
    print(f"\n{tried} of {count} mutants tried{left}: {len(results['killed'])} killed, "
          f"{len(survived)} survived, {len(new)} of them new")  # fmt: skip
    return 1 if new or results["broken"] or not tried else 0


def _run(
    files: list[str], numbers: list[int], seconds: float | None, tests: Collection[str]
) -> dict[str, list[list[str]]] | None:
    """Run the plugin in a copy of this folder; return what became of each mutant."""
    with tempfile.TemporaryDirectory(prefix="quiesce-mutants-") as name:
        folder = Path(name).resolve()
        copy = folder / "copy"
        left_out = shutil.ignore_patterns(".*", "__pycache__", "backups")
        shutil.copytree(ROOT, copy, ignore=left_out, symlinks=True)
        asked = {
            "root": str(copy),
            "paths": files,
            "numbers": numbers,
            "seconds": seconds,
            "patience": PATIENCE,
            "processes": len(os.sched_getaffinity(0)),
            "results": str(folder / "results.json"),
        }
        environment = {**os.environ, "QUIESCE_TEST_MUTANTS": json.dumps(asked)}
        environment["QUIESCE_TEST_NO_ENGINE"] = "mutants are tried without an engine"
        options = ["-q", "-p", "tests.mutants.plugin", "-p", "no:cacheprovider", "--quick"]
        options += ["-p", "no:xdist", "-p", "no:rerunfailures", "--hypothesis-seed=0"]
        options += [f"--basetemp={folder / 'tests'}", "-m", "not engine and not postgres"]
        command = [sys.executable, "-m", "pytest", *options, *tests]
        code = subprocess.run(command, cwd=copy, env=environment, check=False).returncode
        results = folder / "results.json"
        if not results.is_file():
            print(f"pytest ended with {code} before any mutant was tried; see above")
            return None
        found: dict[str, list[list[str]]] = json.loads(results.read_text("utf-8"))
        return found
