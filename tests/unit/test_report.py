"""The reporter under bad conditions: readers that leave, streams that fail, odd characters."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from quiesce.errors import CheckFailed, Interrupted, StepFailed
from quiesce.report import make_reporter
from quiesce.report.streams import Outlet
from tests.unit.report_samples import NOW, Room, Terminal, backup_set, plan, several_sets

ROOT = Path(__file__).parent.parent.parent

_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d)(?:;\d+)*m")

# A command that tells something of everything; `crowd` is how many sets it lists.
PROGRAM = """
import os, sys
sys.path.insert(0, {root!r})
from quiesce.errors import StepFailed
from quiesce.report import make_reporter
from tests.unit.report_samples import NOW, backup_set, plan
arguments = dict(stdout=sys.stdout, stderr=sys.stderr, environ=os.environ, stdin=sys.stdin)
with make_reporter(task="backup", json={json}, **arguments) as reporter:
    reporter.step_begins("/0", "stop backend", "it writes", 0)
    reporter.progress("stopping", 10)
    reporter.step_ends("/0", "stop backend", 1.2, "")
    reporter.warn("caf\\udce9 is no name")
    reporter.plan(plan())
    reporter.sets([backup_set()] * {crowd}, NOW)
    reporter.error(StepFailed("it failed", "try again"))
"""


def run_program(
    *,
    json: bool = False,
    crowd: int = 1,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command of its own that reports to these descriptors."""
    program = PROGRAM.format(root=str(ROOT), json=json, crowd=crowd)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environ or {})},
    )


def read_terminal(master: int) -> bytes:
    """Return everything written to the other side until it is closed."""
    content = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            return content
        if not part:
            return content
        content += part


# ------------------------------------------------------------------------------- who is reading


def test_no_code_reaches_a_stdout_that_is_no_terminal() -> None:
    """Although stderr is a terminal, as in `inv backups | less`."""
    master, terminal = pty.openpty()
    process = run_program(stderr=terminal)
    os.close(terminal)
    assert process.stdout is not None
    with process.stdout:
        out = process.stdout.read()
    err = read_terminal(master)
    os.close(master)
    assert process.wait() == 0
    assert b"\x1b" not in out
    assert b"\r" not in out
    assert b"HINT: try again" in err


def test_a_terminal_gets_colour_and_never_loses_its_cursor() -> None:
    """The cursor is not hidden, so that a killed run leaves a usable terminal."""
    master, terminal = pty.openpty()
    process = run_program(stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = read_terminal(master).decode()
    os.close(master)
    assert process.wait() == 0
    assert "✔" in shown
    assert _COLOUR.search(shown)
    assert "\x1b[?25l" not in shown


def test_no_color_is_honoured_on_a_terminal() -> None:
    """NO_COLOR=1 leaves no colour code anywhere."""
    master, terminal = pty.openpty()
    process = run_program(stdout=terminal, stderr=terminal, environ={"NO_COLOR": "1"})
    os.close(terminal)
    shown = read_terminal(master).decode()
    os.close(master)
    assert process.wait() == 0
    assert "stop backend" in shown
    assert not _COLOUR.search(shown)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_can_do_nothing_gets_plain_lines(term: str) -> None:
    """TERM=dumb, as in an editor's shell."""
    room = Room(renderer="terminal", environ={"TERM": term})
    room.reporter.step_begins("/0", "stop backend", "it writes", 0)
    room.reporter.step_ends("/0", "stop backend", 1.2, "")
    assert room.stdout == "2026-11-21T05:00:00+01:00 stop backend — it writes (1.2 s)\n"


@pytest.mark.parametrize("renderer", ["terminal", "plain", "json"])
def test_an_ascii_stream_gets_ascii_only(renderer: str) -> None:
    """Marks, dashes and file names alike; nothing fails to encode."""
    room = Room(renderer=renderer, encoding="ascii")
    room.reporter.plan(plan())
    room.reporter.note("café ✔ 漢字")
    room.reporter.sets(several_sets(), NOW)
    room.reporter.close()
    assert (room.stdout + room.stderr).isascii()
    assert "could not" not in room.stderr
    if renderer == "json":
        assert "—" in json.loads(room.stdout)["plan_text"]


def test_the_locale_c_is_no_obstacle() -> None:
    """A cron job often has no locale at all."""
    process = run_program(environ={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    out, err = process.communicate()
    assert process.returncode == 0
    assert b"stop backend" in out
    assert b"caf? is no name" in err


# ---------------------------------------------------------------------- readers that are not there


@pytest.mark.thorough
def test_a_reader_that_leaves_ends_nothing() -> None:
    """`inv backups | head -1`: no traceback, and the exit code is the command's own."""
    reading, writing = os.pipe()
    os.close(reading)
    process = run_program(crowd=2000, stdout=writing)
    os.close(writing)
    _, err = process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in err
    assert b"Broken pipe" not in err
    assert b"HINT: try again" in err


def test_a_result_that_finds_a_full_disk_says_so() -> None:
    """/dev/full: the document is lost, and that is not silent."""
    with Path("/dev/full").open("w") as full:
        process = run_program(json=True, stdout=full.fileno())
        _, err = process.communicate()
    assert process.returncode == 0
    assert b"cannot write to stdout: [Errno 28]" in err


@pytest.mark.parametrize("renderer", ["terminal", "plain", "json"])
def test_closed_streams_are_no_error(renderer: str) -> None:
    """A daemon's stdout and stderr may be gone altogether."""
    room = Room(renderer=renderer)
    room.out.close()
    room.err.close()
    room.reporter.step_begins("/0", "a", "b", 0)
    room.reporter.step_ends("/0", "a", 1.0, "")
    room.reporter.warn("x")
    room.reporter.done("done")
    room.reporter.close()


def test_absent_streams_are_no_error() -> None:
    """Python gives None for a descriptor that was closed before it started."""
    reporter = make_reporter(task="t", json=False, stdout=None, stderr=None, environ={})
    with reporter:
        reporter.note("x")
        reporter.done("y")
        assert reporter.ask("sure?") is None


def test_a_run_does_not_wait_for_a_reader_that_sleeps() -> None:
    """Thousands of steps go by while nobody reads the pipe; later all of it arrives, in order."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stdout:
        reporter = make_reporter(
            task="t", json=False, stdout=stdout, stderr=io.StringIO(), environ={}
        )
        for number in range(5000):
            reporter.step_begins(f"/{number}", f"step {number}", "it must", 0)
            reporter.step_ends(f"/{number}", f"step {number}", 0.1, "")
        closing = threading.Thread(target=lambda: (reporter.close(), stdout.close()))
        closing.start()
        with os.fdopen(reading) as reader:
            lines = reader.read().splitlines()
        closing.join()
    assert [line.split()[2] for line in lines] == [str(number) for number in range(5000)]


# ------------------------------------------------------------------------------ a run never suffers


def test_an_error_while_showing_is_told_at_the_end_and_never_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run goes on; a result that was not shown is not passed over in silence."""
    room = Room()

    def fail(*_arguments: object) -> None:
        raise TypeError("no such tone")

    monkeypatch.setattr("quiesce.report.plain.PlainRenderer.begins", fail)
    monkeypatch.setattr("quiesce.report.plain.PlainRenderer.show", fail)
    room.reporter.step_begins("/0", "a", "b", 0)
    room.reporter.done("x")
    room.reporter.close()
    assert "some output could not be shown: TypeError('no such tone')" in room.stderr


def test_a_signal_is_never_swallowed() -> None:
    """The handler raises wherever the program happens to be, also in here."""

    class Interrupting(Terminal):
        def write(self, _text: str) -> int:
            raise Interrupted(15)

    reporter = make_reporter(
        task="t",
        json=False,
        stdout=Interrupting(terminal=False),
        stderr=None,
        environ={},
        background=False,
    )
    with pytest.raises(Interrupted):
        reporter.note("x")


def test_progress_goes_to_the_step_of_the_thread_that_tells_it() -> None:
    """Two dumps at once, each with its own bytes."""
    room = Room(renderer="terminal")

    both_begun = threading.Barrier(2)

    def dump(name: str, turn: threading.Lock, done: int) -> None:
        with turn:
            room.reporter.step_begins(f"/{name}", f"dump {name}", "", 0)
        both_begun.wait(30)
        with turn:
            room.reporter.progress(f"{name}.dump", done)

    turn = threading.Lock()
    dumps = [
        threading.Thread(target=dump, args=(name, turn, done))
        for name, done in (("first", 1024), ("second", 2048))
    ]
    for worker in dumps:
        worker.start()
    for worker in dumps:
        worker.join()
    room.watch.advance(5)
    room.reporter.note("look")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", room.stdout)
    assert "dump first  5 s  1.0 KiB  first.dump" in shown
    assert "dump second  5 s  2.0 KiB  second.dump" in shown


def test_what_was_only_live_is_gone_when_the_command_ends() -> None:
    """An interrupted step leaves no half line behind the prompt."""
    room = Room(renderer="terminal")
    room.reporter.step_begins("/0", "dump rulesdb", "", 0)
    room.watch.advance(5)
    room.reporter.progress("rulesdb.dump", 1)
    assert "rulesdb.dump" in room.stdout
    room.reporter.close()
    assert room.stdout.endswith("\r\x1b[2K")


def test_importing_the_report_brings_in_nothing_heavy() -> None:
    """`inv --list` stays instant: no Rich, no model, no plans, no drivers."""
    program = "import sys, quiesce.report; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    heavy = {
        "rich",
        "docker",
        "psycopg2",
        "quiesce.model",
        "quiesce.plan.steps",
        "quiesce.report.views",
    }
    assert "quiesce.report.reporter" in modules
    assert not heavy & modules


# ------------------------------------------------------------------------------- one JSON document


def test_several_results_are_one_document_and_an_error_makes_it_not_ok() -> None:
    """A set that is published while its downtime was too long: both are said."""
    room = Room(renderer="json")
    room.reporter.backup_done(backup_set())
    room.reporter.error(CheckFailed("down for too long", "see max_downtime", details=["4.2 s"]))
    room.reporter.close()
    room.reporter.close()
    document = json.loads(room.stdout)
    assert document["ok"] is False
    assert document["set"]["name"] == "core-20261121-020000"
    assert document["error"] == {
        "fact": "down for too long",
        "hint": "see max_downtime",
        "exit_code": 7,
        "details": ["4.2 s"],
    }


def test_lines_that_services_logged_go_to_stderr_only() -> None:
    """A failed step brings the service's last lines, which may hold anything."""
    room = Room(renderer="json")
    room.reporter.error(StepFailed("backend is not healthy", details=["password=hunter2"]))
    room.reporter.close()
    assert "hunter2" not in room.stdout
    assert "password=hunter2" in room.stderr


def test_facts_are_keys_of_the_document() -> None:
    """`demo --json` promises them at the top; a fact cannot stand for ok, task or error."""
    room = Room(renderer="json")
    room.reporter.done("identical", {"identical": True, "tables": 3, "backup_seconds": 1.5})
    with pytest.raises(ValueError, match="ok cannot be the name of a fact"):
        room.reporter.done("x", {"ok": False})
    room.reporter.close()
    document = json.loads(room.stdout)
    assert document["identical"] is True
    assert document["backup_seconds"] == 1.5


def test_a_name_that_is_no_text_makes_a_valid_document() -> None:
    """Bytes of a file name that are no UTF-8 are replaced."""
    process_out = Terminal(terminal=False)
    reporter = make_reporter(
        task="t", json=True, stdout=process_out, stderr=None, environ={}, background=False
    )
    reporter.done("caf\udce9 \ud800", {"file": "a\x1b"})
    reporter.close()
    document = json.loads(process_out.getvalue().encode("utf-8"))
    assert document["file"] == "a\x1b"
    assert document["message"].startswith("caf\ufffd")


# ---------------------------------------------------------------------------------------- asking


@pytest.mark.parametrize("renderer", ["terminal", "plain", "json"])
def test_asking_reads_one_line_and_leaves_the_rest(renderer: str) -> None:
    """Two questions can be answered by one pipe; the question is on stderr."""
    room = Room(renderer=renderer, stdin=io.StringIO("DELETE EVERYTHING\r\nno\n"))
    assert room.reporter.ask("Type the phrase:", ["This removes", "  everything."]) == (
        "DELETE EVERYTHING"
    )
    assert room.reporter.ask("sure?") == "no"
    assert room.reporter.ask("really?") is None
    plain = re.sub(r"\x1b\[[0-9;]*m", "", room.stderr)
    assert plain.startswith("This removes\n  everything.\nType the phrase: ")
    assert "Type" not in room.stdout


def test_an_answer_that_is_no_text_is_an_answer_all_the_same() -> None:
    """It is wrong, not missing."""
    stdin = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8")
    reporter = make_reporter(
        task="t", json=False, stdout=None, stderr=None, environ={}, stdin=stdin, background=False
    )
    assert reporter.ask("sure?") == ""


def test_a_question_about_a_result_shows_it_although_stdout_holds_json() -> None:
    """`restore --json` without --file: the list that is asked about is on stderr."""
    room = Room(renderer="json", stdin=io.StringIO("latest\n"))
    room.reporter.sets(several_sets(), NOW)
    assert "core-20261121-025959" not in room.stderr
    room.reporter.ask("which set should be restored?")
    assert "core-20261121-025959" in room.stderr


def test_a_trace_is_shown_only_when_debugging() -> None:
    """--debug adds it above the error; otherwise nobody sees one."""
    raised = StepFailed("it failed", "try again")
    with pytest.raises(StepFailed):
        raise raised
    for debug in (False, True):
        room = Room()
        room.reporter.error(raised, debug=debug)
        assert ("Traceback" in room.stderr) is debug
        assert room.stderr.endswith("error: it failed\nHINT: try again\n")


def test_a_command_that_tells_no_result_writes_a_document_too() -> None:
    """Whoever parses stdout always finds one; leaving with an exception is not ok."""
    quiet, failing = Room(renderer="json"), Room(renderer="json")
    with quiet.reporter:
        quiet.reporter.note("nothing to do")
    with pytest.raises(RuntimeError), failing.reporter:
        raise RuntimeError
    assert json.loads(quiet.stdout) == {"ok": True, "task": "backup"}
    assert json.loads(failing.stdout) == {"ok": False, "task": "backup"}


@pytest.mark.parametrize("_", range(100))
def test_first_words_of_several_threads_at_once_are_written_by_one(_: int) -> None:
    """With two that write, closing waited for ever for the one that never heard of the end."""
    outlet = Outlet(lambda: None, lambda: False, seconds=0.1, background=True)
    written: list[int] = []
    earlier = set(threading.enumerate())  # a test that shares the process may have left its writer
    together = threading.Barrier(8)

    def tell(number: int) -> None:
        together.wait()
        outlet.post(lambda: written.append(number))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writers = [new for new in threading.enumerate() if new not in earlier and new.name == "report"]
    assert len(writers) == 1
    outlet.close()
    assert sorted(written) == list(range(8))
