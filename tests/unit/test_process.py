"""The runner of programs: statuses, ends of children, and what its errors may say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from quiesce.adapters.process import child as process_child
from quiesce.adapters.process import program as process
from quiesce.errors import QuiesceError, RequestError

ROOT = Path(__file__).parents[2]


def _wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Whether this process is there and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def test_output_and_exit_code_come_back():
    """A program's output is returned whole, its stderr as lines."""
    done = process.run(["sh", "-c", "printf 'a\\nb'; echo said >&2"])
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"a\nb", ("said",))


def test_bytes_are_fed_and_an_absent_input_is_empty():
    """`stdin` reaches the program; without it reading ends at once instead of asking a terminal."""
    content = os.urandom(300_000)
    assert process.run(["cat"], stdin=content).stdout == content
    assert process.run(["cat"]).stdout == b""


def test_output_goes_to_a_file(tmp_path: Path):
    """With `stdout_to` nothing is held in memory: the file has it all."""
    with (tmp_path / "out").open("wb") as out:
        done = process.run(["printf", "abc"], stdout_to=out)
    assert done.stdout == b""
    assert (tmp_path / "out").read_bytes() == b"abc"


def test_a_failure_tells_the_last_lines_and_neither_arguments_nor_environment():
    """The error holds the program, the code and the end of stderr; secrets are blotted out."""
    script = "echo first >&2; echo password is $PASSWORD >&2; exit 4 # hidden-argument"
    environment = {"PASSWORD": "hunter2", "PATH": os.environ["PATH"]}
    with pytest.raises(QuiesceError) as caught:
        process.run(["sh", "-c", script], environment=environment, secrets=["hunter2"], hint="look")
    assert caught.value.fact == "sh failed with exit code 4"
    assert caught.value.hint == "look"
    assert caught.value.details == ("first", "password is ***")
    told = str(caught.value.__dict__)
    assert "hunter2" not in told
    assert "hidden-argument" not in told


def test_an_accepted_exit_code_is_no_failure():
    """`accept` says which codes are good, and 0 is not among them unless it is named."""
    assert process.run(["sh", "-c", "exit 1"], accept=(0, 1)).exit_code == 1
    with pytest.raises(QuiesceError):
        process.run(["true"], accept=(1,))


def test_a_program_ended_by_a_signal_is_a_failure_that_names_it():
    """No exit code hides a kill."""
    with pytest.raises(QuiesceError, match="sh was terminated by SIGKILL"):
        process.run(["sh", "-c", "kill -9 $$"])


def test_a_missing_program_is_a_request_error_with_a_hint():
    """Nothing was started, and the hint says what to install."""
    with pytest.raises(RequestError, match="the program no-such-program is not on") as caught:
        process.run(["no-such-program", "secret"])
    assert caught.value.hint == "install no-such-program and make sure that it is on PATH"


@pytest.mark.thorough
def test_a_program_that_takes_too_long_is_ended_with_all_it_started():
    """After the timeout nothing of the group is left, grandchildren included."""
    # A length of its own: another run of these tests may be going on beside this one.
    seconds = f"987.{os.getpid()}"
    with pytest.raises(QuiesceError, match="sh did not end within 0 seconds"):
        process.run(["sh", "-c", f"sleep {seconds} & echo $!; wait"], timeout=0.3)
    assert _sleeping(seconds) == []


def _sleeping(seconds: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes().endswith(b"sleep\0" + seconds.encode() + b"\0"):
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return [pid for pid in found if _lives(pid)]


@pytest.mark.thorough
def test_an_exception_in_the_waiting_thread_ends_the_group():
    """What a signal handler raises while we wait leaves no child behind."""

    class Stopped(Exception):
        pass

    def handler(number, frame):
        raise Stopped

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Stopped):
            process.run(["sh", "-c", "sleep 986 & sleep 986"])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert _sleeping("986") == []


@pytest.mark.thorough
def test_a_child_that_ignores_term_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Patience ends with SIGKILL."""
    monkeypatch.setattr(process, "PATIENCE", 0.2)
    script = f"echo $$ >{tmp_path}/pid; trap '' TERM; while :; do sleep 0.05; done"
    with pytest.raises(QuiesceError, match="did not end"):
        process.run(["sh", "-c", script], timeout=0.5)
    assert not _lives(int((tmp_path / "pid").read_text()))


def test_children_die_with_a_killed_run():
    """`kill -9` of the run ends its children too, by the kernel."""
    seconds = f"984.{os.getpid()}"
    program = (
        "from quiesce.adapters.process import program as process\n"
        f"process.run(['sleep', '{seconds}'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as parent:
        _wait_until(lambda: _sleeping(seconds))
        parent.kill()
    _wait_until(lambda: not _sleeping(seconds))


def test_a_child_leads_a_session_of_its_own():
    """A Ctrl-C in the terminal does not reach it."""
    seen = process.run([sys.executable, "-c", "import os; print(os.getsid(0), os.getpid())"])
    session, pid = map(int, seen.stdout.split())
    assert session == pid != os.getsid(0)


@pytest.mark.thorough
def test_a_daemon_left_behind_does_not_hold_up_the_result():
    """Who keeps stderr open after the program ended is not waited for."""
    done = process.run(["sh", "-c", "sleep 983 >/dev/null & echo done"], timeout=30)
    assert done.stdout == b"done\n"
    for pid in _sleeping("983"):
        os.kill(pid, signal.SIGKILL)


def test_every_status_of_a_pipe_counts():
    """`false | gzip` exits 0 in a shell; here the first failure is raised by name."""
    with pytest.raises(QuiesceError, match="false failed with exit code 1"):
        process.pipe([["false"], ["cat"]])


def test_a_pipe_blames_the_program_that_failed_and_not_its_writer(tmp_path: Path):
    """The writer that loses its reader dies of SIGPIPE, which is not the cause."""
    reader = tmp_path / "reader"
    reader.write_text("#!/bin/sh\nread line\nexit 3\n")
    reader.chmod(0o755)
    with pytest.raises(QuiesceError, match="reader failed with exit code 3"):
        process.pipe([["yes"], [str(reader)]])


def test_a_pipe_carries_everything():
    """What went in comes out, through three programs."""
    content = os.urandom(500_000)
    results = process.pipe([["cat"], ["gzip", "-c"], ["gzip", "-dc"]], stdin=content)
    assert results[-1].stdout == content
    assert [result.exit_code for result in results] == [0, 0, 0]


def test_a_pipe_whose_second_program_is_missing_leaves_no_first():
    """The one that had begun is ended before the error leaves."""
    with pytest.raises(RequestError):
        process.pipe([["sleep", "982"], ["no-such-program"]])
    assert _sleeping("982") == []


def test_tails_are_bounded_and_printable():
    """However much a program says, errors stay short, and terminals are left alone."""
    content = (
        b"x" * 10 + b"\n" * 3 + b"".join(b"line %d\r\n" % i for i in range(500)) + b"\x1b[2J\n"
    )
    lines = process_child.tail(content)
    assert len(lines) == process_child.TAIL_LINES
    assert lines[-1] == " [2J"
    assert lines[-2] == "line 499"
