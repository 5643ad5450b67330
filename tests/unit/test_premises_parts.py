"""Who hears a signal, what a crontab runs, and where a terminal is handed over."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from quiesce.adapters.compose.engine import helper_labels
from quiesce.adapters.compose.project import ignores_stop_signal
from quiesce.adapters.process.signals import signal_number
from quiesce.adapters.process.terminal import become
from quiesce.adapters.schedule.cron import backup_lines, works_from_bare_environment
from quiesce.errors import RequestError
from quiesce.ports import CommandLine


def status(*, caught: int = 0, blocked: int = 0) -> str:
    """The lines of /proc/1/status that tell what becomes of signals."""
    return f"Name:\tsh\nSigBlk:\t{blocked:016x}\nSigIgn:\t0\nSigCgt:\t{caught:016x}\n"


TERM, INT = 1 << 14, 1 << 1


@pytest.mark.parametrize(
    ("text", "number", "deaf"),
    [
        (status(), 15, True),
        (status(caught=INT), 15, True),
        (status(caught=TERM), 15, False),
        (status(caught=TERM), 2, True),
        (status(caught=INT), 2, False),
        (status(blocked=TERM), 15, False),
        ("", 15, False),
        ("no such file", 15, False),
    ],
)
def test_a_first_process_is_deaf_when_it_neither_handles_nor_waits(
    text: str, number: int, deaf: bool
) -> None:
    """An init blocks its signals and waits for them; what cannot be read accuses nobody."""
    assert ignores_stop_signal(text, number) is deaf


def test_a_running_process_is_read_as_the_kernel_shows_it() -> None:
    """A signal with a handler is heard, one without is not."""
    # Not SIGINT: whoever starts the tests in the background has it ignored.
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        text = Path("/proc/self/status").read_text()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert not ignores_stop_signal(text, signal_number("USR2"))
    assert ignores_stop_signal(text, signal_number("USR1"))


@pytest.mark.parametrize(
    ("name", "number"), [("SIGTERM", 15), ("INT", 2), ("9", 9), ("SIGRTMIN+3", 37), ("odd", 15)]
)
def test_stop_signals_are_read_as_docker_writes_them(name: str, number: int) -> None:
    """With or without SIG, as a number, real-time ones; an unknown name is the default."""
    assert signal_number(name) == number


def crontab(folder: Path, *lines: str) -> dict[str, str]:
    """An environment whose `crontab -l` prints these lines."""
    program = folder / "crontab"
    text = "\n".join(lines)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    program.chmod(0o755)
    return {"PATH": str(folder)}


def test_only_live_lines_of_this_stack_that_back_up_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a comment, not another folder's, not another task's."""
    good = "cd /srv/app && ./inv backup --wait 60 >>/srv/app/log 2>&1"
    environ = crontab(
        tmp_path,
        "MAILTO=me",
        f"# 0 1 * * * {good}",
        f"0 2 * * * {good}",
        "@daily cd /srv/other && ./inv backup",
        "0 3 * * * cd /srv/app && ./inv status",
        "@reboot cd /srv/app && ./inv recover",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert backup_lines(Path("/srv/app"), environ) == (good,)
    assert backup_lines(Path("/srv/app"), {"PATH": "/nowhere"}) is None


def test_a_line_is_tried_in_the_environment_that_cron_gives(tmp_path: Path) -> None:
    """What only works with more than that is told with its last words."""
    program = tmp_path / "inv"
    program.write_text('#!/bin/sh\n[ -z "$DOCKER_HOST$PYTHONPATH" ] && [ "$1" = status ]\n')
    program.chmod(0o755)
    line = f"cd {tmp_path} && ./inv backup"
    assert works_from_bare_environment(line, tmp_path, "core") == ""
    program.write_text('#!/bin/sh\necho "there is no $MISSING python" >&2; exit 1\n')
    assert "there is no  python" in works_from_bare_environment(line, tmp_path, "core")
    assert "cron does not find inv" in works_from_bare_environment("inv backup", tmp_path, "core")


def test_a_program_that_is_missing_is_told_before_anything_is_given_up() -> None:
    """This process is still itself, so the message can be shown."""
    command = CommandLine(("no-such-program",), {"PATH": "/usr/bin"}, Path("/"))
    with pytest.raises(RequestError, match="no-such-program"):
        become(command)
    assert sys.executable


def test_a_helper_is_no_container_of_the_service_whose_image_it_uses() -> None:
    """An image that Compose built hands its labels down: they are overwritten."""
    labels = helper_labels("r", "core")
    assert labels["com.docker.compose.project"] == labels["com.docker.compose.service"] == ""
    assert labels["quiesce.project"] == "core"
