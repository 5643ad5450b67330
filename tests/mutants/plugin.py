"""Runs the tests of pytest's session once for each mutant, each time in a fork of this process.

All tests and all modules are imported once. A fork exchanges the code of the mutated functions and
runs the tests that came along its lines in a first run, the fastest first, until one fails: so a
mutant takes a few hundredths of a second. Nothing is written into any file of the code.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import functools
import gc
import importlib
import json
import os
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests.mutants.mutate import NOTE, Mutant, compiled, mutants, noting

#: A test that takes longer is no fast one.
SLOW = 5.0
SURVIVED, KILLED, UNTRIED = 0, 1, 2
_ENDS = {SURVIVED: "survived", UNTRIED: "untried"}

#: In place of the seconds of a test that fails without any mutant: it is not asked.
BROKEN = float("inf")

_Cached: Any = type(functools.cache(len))

failed = False
_functions: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
#: Functions that remember what they returned.
_cached: list[Any] = []


@pytest.hookimpl
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember whether anything failed in this fork."""
    global failed  # noqa: PLW0603  a fork runs one mutant
    failed = failed or report.failed


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Try the mutants that QUIESCE_TEST_MUTANTS asks for; write what came of them into a file."""
    asked = json.loads(os.environ["QUIESCE_TEST_MUTANTS"])
    root = Path(asked["root"])
    texts = {path: (root / path).read_text(encoding="utf-8") for path in asked["paths"]}
    _separate_folders(session, "first")
    lines, seconds = _first_run(session, root, texts)
    until = time.monotonic() + asked["seconds"] if asked["seconds"] else None
    # What is here now is never freed: a fork copies no page only because it was looked at.
    gc.collect()
    gc.freeze()
    _require_innocence(session, seconds, asked["patience"])
    every = [one for path, text in texts.items() for one in mutants(path, text)]
    chosen = [every[number] for number in asked["numbers"] if number < len(every)]
    results: dict[str, list[Any]] = {"killed": [], "survived": [], "untested": [], "left": []}
    results["untried"] = []
    waits = Counter(one.path for one in chosen)
    results["broken"] = [item.nodeid for item, took in zip(session.items, seconds, strict=True)
                         if took is BROKEN]  # fmt: skip

    def end(one: Mutant, what: str) -> None:
        results[what].append((one.path, one.name))
        waits[one.path] -= 1
        if what in ("survived", "untested"):
            _say(session, f"{one.path}: {what}: {one.name}")
        if not waits[one.path]:
            _say(session, f"{one.path}: all that were chosen are tried")

    def tests_of(one: Mutant) -> list[int]:
        found = {n for line in range(one.lines[0], one.lines[1] + 1) for n in lines[one.path, line]}
        return sorted((n for n in found if seconds[n] < SLOW), key=seconds.__getitem__)

    def begin(one: Mutant) -> int | None:
        numbers = tests_of(one)
        if not numbers:
            end(one, "untested")
            return None
        file = str(root / one.path)

        def attempt() -> int:
            _prepare(session)
            if not _exchange(compiled(one, texts[one.path], file), file):
                return UNTRIED
            return _outcome(session, numbers, seconds, asked["patience"])

        return _fork(attempt)

    waiting = iter(chosen)
    running: dict[int, tuple[Mutant, _Watch]] = {}
    while True:
        while len(running) < asked["processes"]:
            one = next(waiting, None)
            if one is None:
                break
            if until is not None and time.monotonic() > until:
                end(one, "left")
            elif (child := begin(one)) is not None:
                running[child] = (one, _Watch(child, asked["patience"]))
        if not running:
            break
        for child, what in _ended(running):
            end(running.pop(child)[0], what)
    Path(asked["results"]).write_text(json.dumps(results), encoding="utf-8")
    return True


def _say(session: pytest.Session, words: str) -> None:
    """Print a line at once: a run over everything takes long, and may be ended before."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line(words)
    reporter.flush()


def _require_innocence(session: pytest.Session, seconds: list[float], patience: float) -> None:
    """End with an error where tests fail in a fork although nothing is changed: there every mutant
    would seem to be noticed."""
    fastest = sorted(range(len(seconds)), key=seconds.__getitem__)[:200]

    def try_nothing() -> int:
        _prepare(session)
        fast = [n for n in fastest if seconds[n] < SLOW]
        return _outcome(session, fast, seconds, patience)

    _, status = os.waitpid(_fork(try_nothing), 0)
    if status != SURVIVED:
        pytest.exit("tests fail in a fork without any mutant", 1)


class _Watch:
    """Tells when a fork, with the programs that it started, waits for something that does not come:
    it has hardly computed for a while, and does not want to. On a busy machine the time that passes
    says nothing."""

    def __init__(self, child: int, patience: float) -> None:
        self._child, self._patience = child, patience
        self._since, self._before = time.monotonic(), 0.0

    def is_over(self) -> bool:
        if time.monotonic() < self._since + self._patience:
            return False
        family = [fields for pid, fields in _processes() if _descends(pid, self._child)]
        ticks = sum(sum(map(int, fields[11:15])) for fields in family)
        spent = ticks / os.sysconf("SC_CLK_TCK")
        # Less than before: a program ended that nobody waited for.
        idle = 0 <= spent - self._before < self._patience / 30
        self._since, self._before = time.monotonic(), spent
        return idle and all(fields[0] != "R" for fields in family)


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Yield each process with the fields of its `stat` after its name: the state comes first."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            yield int(stat.parent.name), text.rpartition(")")[2].split()


def _ended(running: Mapping[int, tuple[Mutant, _Watch]]) -> Iterator[tuple[int, str]]:
    for child, (_, watch) in list(running.items()):
        done, status = os.waitpid(child, os.WNOHANG)
        if not done and watch.is_over():
            os.killpg(child, signal.SIGKILL)
            done, status = os.waitpid(child, 0)
        if done:
            yield child, _ENDS.get(os.waitstatus_to_exitcode(status), "killed")
    time.sleep(0.005)


def _fork(work: Callable[[], int]) -> int:
    child = os.fork()
    if child:
        return child
    code = UNTRIED
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        code = work()
    finally:
        os._exit(code)


def _prepare(session: pytest.Session) -> None:
    """Make this fork quiet, and keep it to itself."""
    session.config.pluginmanager.unregister(name="terminalreporter")
    _signal_only_own()
    _separate_folders(session, str(os.getpid()))


def _outcome(
    session: pytest.Session, numbers: list[int], seconds: list[float], patience: float
) -> int:
    for number in numbers:
        # One that computes for so much longer than it used to goes in circles: the signal ends it.
        signal.setitimer(signal.ITIMER_PROF, patience / 5 + 10 * seconds[number])
        try:
            _run(session, number)
        except BaseException:  # noqa: BLE001  even pytest was ended
            return KILLED
        if failed:
            return KILLED
    return SURVIVED


def _signal_only_own() -> None:
    """A mutant may take a wrong process for its own: it must not reach any outside of this fork."""
    fork = os.getpid()

    def refusing(send: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def checked(pid: int, number: int) -> None:
            if number and (pid <= 0 or not _descends(pid, fork)):
                raise ProcessLookupError(errno.ESRCH, "not of this fork", str(pid))
            send(pid, number)

        return checked

    os.kill, os.killpg = refusing(os.kill), refusing(os.killpg)


def _descends(pid: int, ancestor: int) -> bool:
    try:
        while pid > 1 and pid != ancestor:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            pid = int(text.rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return False
    return pid == ancestor


def _run(session: pytest.Session, number: int) -> None:
    item = session.items[number]
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


def _separate_folders(session: pytest.Session, name: str) -> None:
    """Forks must not share the folders that tests are given."""
    factory: Any = session.config._tmp_path_factory  # type: ignore[attr-defined]
    # Not the name alone: that of a fork is its number, which comes again after an hour.
    factory._basetemp = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=factory.getbasetemp()))


def _exchange(module: CodeType, file: str) -> int:
    """Give every function of the file the code that it has in `module`; return how many differ.

    What functions remember is forgotten: it was worked out by the code before.
    """
    codes: dict[tuple[str, int], CodeType] = {}
    waiting = [module]
    while waiting:
        for constant in waiting.pop().co_consts:
            if isinstance(constant, CodeType):
                codes[constant.co_qualname, constant.co_firstlineno] = constant
                waiting.append(constant)
    count = 0
    for (name, line), code in codes.items():
        for function in _functions.get((file, name, line), ()):
            if code != function.__code__:
                function.__code__ = code
                count += 1
    for cached in _cached:
        cached.cache_clear()
    return count


def _spent() -> float:
    """Return the processor seconds of this process and of the programs that it waited for: those
    that pass depend on what else the machine does."""
    return sum(os.times()[:4])


def _collect_functions(files: Collection[str]) -> None:
    _functions.clear()
    _cached.clear()
    for thing in gc.get_objects():
        if isinstance(thing, _Cached) and str(thing.__module__).startswith("quiesce."):
            _cached.append(thing)
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
            code = thing.__code__
            _functions[code.co_filename, code.co_qualname, code.co_firstlineno].append(thing)


def _first_run(
    session: pytest.Session, root: Path, texts: Mapping[str, str]
) -> tuple[Mapping[tuple[str, int], set[int]], list[float]]:
    """Run every test once as it is; return which came along each line, and the processor seconds of
    each.

    The functions note their lines themselves: to trace a process takes several times as long.
    """
    global failed  # noqa: PLW0603  of the next one nothing has failed yet
    lines: dict[tuple[str, int], set[int]] = defaultdict(set)
    seconds: list[float] = []

    def note(path: str, first: int, last: int) -> None:
        for line in range(first, last + 1):
            lines[path, line].add(len(seconds))

    setattr(builtins, NOTE, note)
    files = {str(root / path): path for path in texts}
    for path in texts:
        # Only functions that are there can be exchanged.
        name = path.removesuffix(".py").removesuffix("/__init__")
        importlib.import_module(name.replace("/", "."))
    _collect_functions(files)
    for file, path in files.items():
        _exchange(noting(path, texts[path], file), file)
    for number in range(len(session.items)):
        begun = _spent()
        _run(session, number)
        seconds.append(BROKEN if failed else _spent() - begun)
        failed = False
    _collect_functions(files)
    for file, path in files.items():
        _exchange(compile(texts[path], file, "exec"), file)
    return lines, seconds
