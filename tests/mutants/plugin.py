"""Runs the tests of pytest's session once for each mutant, each time in a fork of this process.

All tests and all modules are imported once. A fork exchanges the code of the mutated functions and
runs the tests that came along its lines in a first run, the fastest first, until one fails: so a
mutant takes a few hundredths of a second. Nothing is written into any file of the code.
"""

from __future__ import annotations

import builtins
import errno
import gc
import importlib
import json
import os
import signal
import tempfile
import time
from collections import defaultdict
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

failed = False
_functions: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)


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
    _require_innocence(session, seconds)
    every = [one for path, text in texts.items() for one in mutants(path, text)]
    chosen = [every[number] for number in asked["numbers"] if number < len(every)]
    results: dict[str, list[Any]] = {"killed": [], "survived": [], "untested": [], "left": []}
    results["untried"] = []
    results["broken"] = [item.nodeid for item, took in zip(session.items, seconds, strict=True)
                         if took is BROKEN]  # fmt: skip

    def tests_of(one: Mutant) -> list[int]:
        found = {n for line in range(one.lines[0], one.lines[1] + 1) for n in lines[one.path, line]}
        return sorted((n for n in found if seconds[n] < SLOW), key=seconds.__getitem__)

    def begin(one: Mutant) -> int | None:
        numbers = tests_of(one)
        if not numbers:
            results["untested"].append((one.path, one.name))
            return None
        return _fork(lambda: _try(session, one, texts[one.path], root / one.path, numbers))

    waiting = iter(chosen)
    running: dict[int, tuple[Mutant, _Watch]] = {}
    while True:
        while len(running) < asked["processes"]:
            one = next(waiting, None)
            if one is None:
                break
            if until is not None and time.monotonic() > until:
                results["left"].append((one.path, one.name))
            elif (child := begin(one)) is not None:
                running[child] = (one, _Watch(child, asked["patience"]))
        if not running:
            break
        for child, end in _ended(running):
            one, _ = running.pop(child)
            results[end].append((one.path, one.name))
    Path(asked["results"]).write_text(json.dumps(results), encoding="utf-8")
    return True


def _require_innocence(session: pytest.Session, seconds: list[float]) -> None:
    """End with an error where tests fail in a fork although nothing is changed: there every mutant
    would seem to be noticed."""
    fastest = sorted(range(len(seconds)), key=seconds.__getitem__)[:200]

    def try_nothing() -> int:
        _prepare(session)
        return _outcome(session, [n for n in fastest if seconds[n] < SLOW])

    _, status = os.waitpid(_fork(try_nothing), 0)
    if status != SURVIVED:
        pytest.exit("tests fail in a fork without any mutant", 1)


class _Watch:
    """Tells when a fork has computed for too long, or done hardly anything for as long: on a busy
    machine the time that passes says nothing."""

    def __init__(self, child: int, patience: float) -> None:
        self._child, self._patience = child, patience
        self._since, self._before = time.monotonic(), 0.0

    def is_over(self) -> bool:
        if time.monotonic() < self._since + self._patience:
            return False
        text = Path(f"/proc/{self._child}/stat").read_text(encoding="utf-8", errors="replace")
        ticks = sum(map(int, text.rpartition(")")[2].split()[11:15]))
        spent = ticks / os.sysconf("SC_CLK_TCK")
        idle = spent < self._before + self._patience / 30
        self._since, self._before = time.monotonic(), spent
        return idle or spent > self._patience


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


def _try(session: pytest.Session, one: Mutant, text: str, file: Path, numbers: list[int]) -> int:
    _prepare(session)
    if not _exchange(compiled(one, text, str(file)), str(file)):
        return UNTRIED
    return _outcome(session, numbers)


def _prepare(session: pytest.Session) -> None:
    """Make this fork quiet, and keep it to itself."""
    session.config.pluginmanager.unregister(name="terminalreporter")
    _signal_only_own()
    _separate_folders(session, str(os.getpid()))


def _outcome(session: pytest.Session, numbers: list[int]) -> int:
    for number in numbers:
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
    """Give every function of the file the code that it has in `module`; return how many differ."""
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
    return count


def _collect_functions(files: Collection[str]) -> None:
    _functions.clear()
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
            code = thing.__code__
            _functions[code.co_filename, code.co_qualname, code.co_firstlineno].append(thing)


def _first_run(
    session: pytest.Session, root: Path, texts: Mapping[str, str]
) -> tuple[Mapping[tuple[str, int], set[int]], list[float]]:
    """Run every test once as it is; return which came along each line, and the seconds of each.

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
        begun = time.monotonic()
        _run(session, number)
        seconds.append(BROKEN if failed else time.monotonic() - begun)
        failed = False
    _collect_functions(files)
    for file, path in files.items():
        _exchange(compile(texts[path], file, "exec"), file)
    return lines, seconds
