"""What a run of the tests came to: counted per stage from pytest's record, printed as one table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

# pytest's exit codes: everything passed, something failed, nothing was collected.
ORDINARY = (0, 1, 5)
# Of more skipped tests than this, with one reason, only the files are named.
MANY = 60


@dataclass(slots=True)
class Outcome:
    """The counts of one stage; `skips` says for each skipped test which it was and why.

    `cpu` is what the tests and the programs they waited for took of the processors, in seconds.
    """

    stage: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    skips: list[tuple[str, str]] = field(default_factory=list)

    def add(self, part: Outcome) -> None:
        """Count what `part` counted as well."""
        self.passed += part.passed
        self.failed += part.failed
        self.skipped += part.skipped
        self.cpu += part.cpu
        self.skips += part.skips


def count_tests(record: Path, groups: Sequence[str], *, pytest_code: int) -> list[Outcome]:
    """Given the file of pytest's --junitxml, return one outcome per group.

    A run that ended otherwise than pytest ends by itself, or that failed without a failed test,
    adds an outcome of its own, so that it never counts as passed.
    """
    outcomes = {name: Outcome(name) for name in groups}
    for case in _read_cases(record):
        _count(case, outcomes)
    failed = sum(outcome.failed for outcome in outcomes.values())
    if pytest_code not in ORDINARY or (pytest_code == 1 and failed == 0):
        outcomes["pytest"] = Outcome(f"pytest (exit {pytest_code})", failed=1)
    return list(outcomes.values())


def count_files(record: Path) -> list[Outcome]:
    """Given the same file, return what each file of tests took, the slowest first."""
    files: dict[str, Outcome] = {}
    for case in _read_cases(record):
        parts = (case.get("classname") or "").split(".")
        if len(parts) > 2:
            outcome = files.setdefault("/".join(parts[:3]), Outcome("/".join(parts[:3])))
            outcome.seconds += float(case.get("time", 0))
            outcome.cpu += _cpu(case)
    return sorted(files.values(), key=lambda outcome: -outcome.seconds)


def _read_cases(record: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(record).iter("testcase")) if record.is_file() else []


def _cpu(case: ElementTree.Element) -> float:
    noted = case.iterfind("properties/property")
    return sum(float(one.get("value", 0)) for one in noted if one.get("name", "")[:3] == "cpu")


def _count(case: ElementTree.Element, outcomes: dict[str, Outcome]) -> None:
    # A test is tests.<group>.<module>; a module that could not be imported has no class name.
    place = case.get("classname") or case.get("name") or "tests.unknown"
    parts = place.split(".")
    group = parts[1] if len(parts) > 1 else place
    outcome = outcomes.setdefault(group, Outcome(group))
    outcome.seconds += float(case.get("time", 0))
    outcome.cpu += _cpu(case)
    skip = case.find("skipped")
    if case.find("failure") is not None or case.find("error") is not None:
        outcome.failed += 1
    elif skip is not None:
        outcome.skipped += 1
        outcome.skips.append((f"{place}.{case.get('name')}", skip.get("message", "no reason")))
    else:
        outcome.passed += 1


def print_summary(outcomes: Sequence[Outcome], *, tests_wanted: bool) -> int:
    """Print the table, what was skipped and why, and the closing line; return the exit code."""
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    skipped = sum(outcome.skipped for outcome in outcomes)
    tests = [outcome for outcome in outcomes if outcome.stage not in ("lint", "types", "engine")]
    nothing_ran = passed + failed == 0 or (
        tests_wanted and not any(outcome.passed + outcome.failed for outcome in tests)
    )
    heads = ("passed", "failed", "skipped", "seconds", "cpu s")
    print(f"\n{'stage':<20}" + "".join(f"{head:>9}" for head in heads))
    for row in outcomes:
        counts = f"{row.passed:>9}{row.failed:>9}{row.skipped:>9}"
        print(f"{row.stage:<20}{counts}{row.seconds:>9.1f}{row.cpu:>9.1f}")
    _print_skips(outcomes)
    if nothing_ran:
        print("\nno test ran, which is not a success")
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(nothing_ran or failed > 0)


def _print_skips(outcomes: Sequence[Outcome]) -> None:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        for test, reason in outcome.skips:
            by_reason[reason].append(test)
    if by_reason:
        print("\nnot run:")
    for reason, names in by_reason.items():
        print(f"  {len(names)} × {reason}")
        # One line a test: two hundred seeds of one are one thing that was not tried. Where it is
        # about whole files, one line a file.
        tests = Counter(name.partition("[")[0] for name in names)
        files = Counter(name.rpartition(".")[0] for name in tests)
        lines, unit = (files, "tests") if len(tests) > MANY else (tests, "variants")
        for name, count in lines.items():
            print(f"      {name}" + (f" ({count} {unit})" if count > 1 else ""))
