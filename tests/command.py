"""The body of `inv test`: format and lint, types, then every test, and one table at the end.

Only the standard library is needed until `requirements-dev.txt` is installed, which happens here,
into the environment this runs in. The last line is always `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tests.costs import WRITE, write_costs
from tests.engine.named import MACHINE, NAMES, NEWEST
from tests.outcome import Outcome, count_files, count_tests, print_summary
from tests.spending import measured_processors, print_spending

ROOT = Path(__file__).resolve().parent.parent
CHECKS = ("lint", "types")
GROUPS = ("unit", "golden", "architecture", "contract", "integration", "stack", "crash", "e2e")
# What `--quick` runs: what needs nothing but Python, and says within seconds what a change broke.
QUICK = ("unit", "golden", "architecture")
# Settings of the caller's shell that would change what the tests see.
# Without PYTHONDONTWRITEBYTECODE each of hundreds of programs would compile what it imports.
FOREIGN = (
    *("BACKUP_RESTORE_PHASE", "COMPOSE_", "INVOKE_", "PG", "QUIESCE_"),
    "PYTHONDONTWRITEBYTECODE",
)
KEPT = ("QUIESCE_PYTHON", "QUIESCE_TEST_")
PATIENCE = 60.0
# Most tests wait for an engine or a server most of their time. The tests of a file stay together:
# they share a stack, and some of them build on each other.
PARALLEL = ["--numprocesses=4", "--dist=loadfile", "--no-loadscope-reorder"]
# These compute all the time: more workers than processors would only import more often.
PARALLEL_QUICK = ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder"]
# A test that ran into its time limit (nothing else) is tried once more, and both runs are shown: on
# a shared machine that stood still for minutes that says nothing about what is tested.
# What `--long` runs on each named engine, and of which the normal run takes those of mark `sample`.
ON_ENGINES = ("contract", "e2e")
# The run without options tries the core and one of so many files that take long, others each time.
ONE_IN = 8
AGAIN = ["--reruns=1", "--only-rerun=Timeout >", "--only-rerun=TimeoutExpired"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The Docker Engine for the tests; `started` when it is ours to stop."""

    docker_host: str
    started: bool
    variables: dict[str, str]
    entering: list[str]
    """What a command has to follow to be a client of it."""


def main(
    *,
    long: bool = False,
    quick: bool = False,
    mutants: bool = False,
    provision: bool = False,
    only: str = "",
    expression: str = "",
    engine: str = "",
) -> int:
    """Run the stages named in `only` (comma-separated, all by default); return the exit code.

    `quick` is for the moment after a file is saved: the stages of `QUICK` with fewer random
    examples, no engine, in seconds. `long` adds the tests that take minutes, `expression` is
    pytest's -k and leaves out format, lint and types, `provision` installs and starts a Docker
    Engine where there is none, as CI=true does. `mutants` runs nothing else: it breaks the code in
    small ways that a test has to notice (a sample, all of them with `long`). `engine` runs only the
    tests that need an engine, on that of this name. 0 means that something
    ran and all of it passed, 1 that something failed or nothing ran, 2 that the request was wrong
    or the tools could not be installed.
    """
    groups = find_groups()
    chosen = [name for name in only.replace(" ", "").split(",") if name]
    if quick and long:
        return _refuse("--quick and --long are opposites", "give one of them")
    if mutants and (quick or chosen or expression):
        return _refuse("--mutants chooses its tests itself", "give it alone, or with --long")
    if unknown := sorted(set(chosen) - {*CHECKS, *groups}):
        return _refuse(
            f"no stage of this name: {', '.join(unknown)}", f"use {', '.join([*CHECKS, *groups])}"
        )
    if engine and (quick or mutants):
        return _refuse("--quick and --mutants need no engine", "give --engine without them")
    if engine and engine not in NAMES:
        return _refuse(f"no engine of this name: {engine}", f"use {', '.join(NAMES)}")
    if quick and not chosen:
        chosen = list(QUICK)
    checks = (
        [] if expression or engine else [name for name in CHECKS if not chosen or name in chosen]
    )
    groups = [name for name in groups if not chosen or name in chosen]
    outcomes: list[Outcome] = []
    if engine:
        groups = [name for name in groups if name not in QUICK]
    options = ["--long"] if long else ["--quick"] if quick else []
    options += ["-m", "engine"] if engine else []
    if not (long or quick or chosen or expression or engine):
        options += [f"--one-in={ONE_IN}"]
    with _ending_on_sigterm():
        if not _install_tools():
            return _refuse(
                "requirements-dev.txt could not be installed",
                "check the network and pip's settings (pip config list), then run this again",
            )
        if mutants:
            return _try_mutants(long=long)
        outcomes += map(_check, checks)
        if groups:
            outcomes += _test(
                groups, options, provision=provision, expression=expression, name=engine
            )
        if not (engine or expression) and (on_engines := [*filter(groups.count, ON_ENGINES)]):
            outcomes += _test_on_engines(on_engines, long=long, provision=provision)
    return print_summary(outcomes, tests_wanted=bool(groups))


def _try_mutants(*, long: bool) -> int:
    """Run mutants in a process of their own: they need what is installed only now."""
    call = f"import sys; from tests.mutants import command; sys.exit(command.main(long={long}))"
    begun = time.monotonic()
    code = _run([sys.executable, "-c", call], _clean_environment())
    outcome = Outcome("mutants", passed=int(not code), failed=int(bool(code)))
    outcome.seconds = time.monotonic() - begun
    return print_summary([outcome], tests_wanted=True)


def find_groups() -> list[str]:
    """Return the folders of tests/ that hold tests: those of `GROUPS` first, in its order."""
    found = {
        path.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/**/test_*.py")
    }
    return [name for name in GROUPS if name in found] + sorted(found - set(GROUPS))


def _refuse(fact: str, hint: str) -> int:
    print(f"{fact}\nHINT: {hint}", file=sys.stderr, flush=True)
    print("0 passed, 1 failed, 0 skipped", flush=True)
    return 2


def _install_tools() -> bool:
    """Install requirements-dev.txt where this Python runs, unless it is there; tell if it is."""
    names = ("requirements.txt", "requirements-dev.txt")
    wanted = "".join((ROOT / name).read_text(encoding="utf-8") for name in names)
    stamp = Path(sys.prefix) / "quiesce-requirements-dev.txt"
    with (Path(sys.prefix) / "quiesce-requirements-dev.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return True
        print("quiesce: installing the tools of the tests", file=sys.stderr, flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        install = [*pip, "--requirement", str(ROOT / "requirements-dev.txt")]
        stamp.unlink(missing_ok=True)
        environment = {**os.environ, "PIP_USER": "0"}
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            if _run(install, environment, stdout=log, stderr=log) != 0:
                log.seek(0)
                print("".join(log.readlines()[-20:]), end="", file=sys.stderr)
                return False
        # Written last: without it an installation that was killed is done again.
        stamp.write_text(wanted, encoding="utf-8")
        return True


def _check(name: str) -> Outcome:
    python = [sys.executable, "-m"]
    commands = {
        "lint": [[*python, "ruff", "format", "--check", "."], [*python, "ruff", "check", "."]],
        "types": [[*python, "mypy"]],
    }
    _announce(name)
    begun = time.monotonic()
    # All of them even if the first fails: both lists of findings are wanted at once.
    codes = [_run(command, _clean_environment()) for command in commands[name]]
    seconds = time.monotonic() - begun
    return Outcome(name, passed=int(not any(codes)), failed=int(any(codes)), seconds=seconds)


def _test(
    groups: Sequence[str],
    options: Sequence[str],
    *,
    provision: bool,
    expression: str,
    name: str = "",
) -> list[Outcome]:
    """Run the groups in one pytest process, with an engine if there is one and they need it.

    An engine that was asked for by its name and cannot be had is a failure.
    """
    in_ci = os.environ.get("CI") == "true"
    environment = _clean_environment()
    # Copies of this folder take along what is compiled here.
    _run([sys.executable, "-m", "compileall", "-q", "-j0", "quiesce"], environment)
    if {*groups} <= {*QUICK} and not (provision or in_ci):
        return _run_pytest(groups, options, environment, expression)
    outcomes = []
    _announce("engine")
    begun = time.monotonic()
    engine, reason = _find_engine(name, provision=provision or in_ci)
    entering: list[str] = []
    if engine is None:
        print(f"no engine: {reason}", flush=True)
        environment["QUIESCE_TEST_NO_ENGINE"] = reason
        if in_ci or name:
            outcomes.append(Outcome("engine", failed=1, seconds=time.monotonic() - begun))
    else:
        print(f"using {engine.docker_host}", flush=True)
        environment |= engine.variables
        entering = engine.entering
    try:
        return outcomes + _run_pytest(groups, options, environment, expression, entering)
    finally:
        if engine is not None and engine.started and (in_ci or entering):
            _stop_engine(name)


def _test_on_engines(groups: Sequence[str], *, long: bool, provision: bool) -> list[Outcome]:
    """Run what all engines have in common on each named one; unless `long`, a sample on one.

    Where such an engine cannot be had, that is one test skipped, with the reason.
    """
    outcomes = []
    for name in [name for name in NAMES if name != MACHINE] if long else [NEWEST]:
        _announce(name)
        outcome = Outcome(name)
        outcomes.append(outcome)
        begun = time.monotonic()
        engine, reason = _find_engine(name, provision=provision or os.environ.get("CI") == "true")
        if engine is None:
            print(f"no engine: {reason}", flush=True)
            outcome.skipped, outcome.skips = 1, [(name, reason)]
            continue
        options = ["-m", "engine", "--long"] if long else ["-m", "sample"]
        environment = _clean_environment() | engine.variables
        try:
            for part in _run_pytest(groups, options, environment, "", engine.entering):
                outcome.add(part)
        finally:
            if engine.started:
                _stop_engine(name)
        outcome.seconds = time.monotonic() - begun
    return outcomes


def _stop_engine(name: str) -> None:
    _run([sys.executable, "-m", "tests.engine", "down", *filter(None, [name])], os.environ)


def _run_pytest(
    groups: Sequence[str],
    options: Sequence[str],
    environment: Mapping[str, str],
    expression: str,
    entering: Sequence[str] = (),
) -> list[Outcome]:
    _announce(", ".join(groups))
    with tempfile.TemporaryDirectory(prefix="quiesce-test-") as folder:
        record = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", f"--junitxml={record}", "--durations=15"]
        command += ["-o", "junit_duration_report=total", *AGAIN, *options]
        parallel = PARALLEL_QUICK if {*groups} <= {*QUICK} else PARALLEL
        command += ["-k", expression] if expression else parallel
        # The last stages take longest, so they begin first and the others fill what is left.
        folders = [f"tests/{name}" for name in reversed(groups)]
        with measured_processors() as took:
            code = _run([*entering, *command, *folders], environment)
        files = count_files(record)
        print_spending(took, files)
        if os.environ.get(WRITE) == "write":
            write_costs({file.stage.removeprefix("tests/"): file.seconds for file in files})
        return count_tests(record, groups, pytest_code=code)


def _find_engine(name: str, *, provision: bool) -> tuple[Engine | None, str]:
    """Return the engine of this name, or by default the machine's; or None and a line why not."""
    command = [sys.executable, "-m", "tests.engine", "up", "--json", *filter(None, [name])]
    command += ["--provision"] * provision
    line = ""
    with tempfile.TemporaryFile("w+") as answer:
        process = _start(command, os.environ, stdout=answer, stderr=subprocess.PIPE, text=True)
        with _awaiting(process):
            for line in process.stderr or ():
                print(line, end="", file=sys.stderr, flush=True)
        if process.returncode == 0:
            answer.seek(0)
            report = json.load(answer)
            return Engine(**report), ""
    reason = line.strip() or f"tests.engine ended with {process.returncode}"
    return None, reason.removeprefix("engine unavailable: ")


def _run(command: Sequence[str], environment: Mapping[str, str], **streams: Any) -> int:
    process = _start(command, environment, **streams)
    with _awaiting(process):
        return process.wait()


def _start(
    command: Sequence[str], environment: Mapping[str, str], **streams: Any
) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, **streams)


@contextmanager
def _awaiting(process: subprocess.Popen[str]) -> Iterator[None]:
    """See the process to its end, also when this one is interrupted meanwhile."""
    try:
        yield
        process.wait()
    except BaseException as interruption:
        # Tests put back what they changed when they are interrupted, not when they are killed. A
        # terminal has sent its Ctrl-C to the child as well; a second one would cut that short.
        if not isinstance(interruption, KeyboardInterrupt):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _clean_environment() -> dict[str, str]:
    """Return the environment without what would change how Quiesce, Compose or psql behave."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(KEPT) or not name.startswith(FOREIGN)
    }


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    def end(signal_number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + signal_number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _announce(name: str) -> None:
    print(f"\n== {name} {'=' * max(0, 76 - len(name))}", flush=True)
