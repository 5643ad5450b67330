"""`inv bench --stores`: a set sent to an S3 server and brought back, beside `rclone copy`."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import machine
from benchmarks.contestants import peak_kilobytes
from benchmarks.machine import output, seconds, start_inv

SMALL = 500_000_000
FULL = 10_000_000_000
_BUCKET = "bench"
_REMOTE = f"away:{_BUCKET}/copied"
_KEY, _SECRET = "benchkey", "benchsecret"
_STACK = """\
version: 1
timezone: UTC
instances:
  bench: {{runtime: host, retention: few, stores: [away]}}
services:
  writer: {{command: [sleep, '100000'], cwd: ., volumes: {{files: FILES}}}}
volumes:
  files: {{purpose: noise, priority: critical}}
retention:
  few: {{keep_last: 1}}
stores:
  away: {{url: "s3://{bucket}/sets", endpoint: "{endpoint}", region: us-east-1,
          credentials_file: s3.env}}
"""


def measure(folder: Path, *, full: bool, rounds: int, tell: Callable[[str], None]) -> Mapping[
    str, object
]:  # fmt: skip
    """Return megabytes a second of both, the ratios, and the most memory ours ever had."""
    size = FULL if full else SMALL
    facts: dict[str, object] = {"machine": machine.describe(folder), "bytes": size}
    with _server(folder) as endpoint:
        stores = _Stores(folder, endpoint)
        try:
            tell(f"making a set of {size / 1e6:.0f} MB")
            stores.begin(size)
            turns: dict[str, Callable[[], float]] = {
                "rclone copy to the server": stores.rclone_up,
                "push, read back": stores.push,
                "rclone copy from the server, synced": stores.rclone_down,
                "pull, compared": stores.pull,
            }
            times: dict[str, list[float]] = {name: [] for name in turns}
            for number in range(rounds):
                for name, turn in turns.items():
                    os.sync()
                    times[name].append(turn())
                    tell(f"round {number + 1}: {name}: {times[name][-1]:.1f} s")
        finally:
            stores.end()
    found = {name: statistics.median(taken) for name, taken in times.items()}
    facts["megabytes a second"] = {name: round(size / 1e6 / t, 1) for name, t in found.items()}
    pushed, pulled = found["push, read back"], found["pull, compared"]
    there_and_back = (
        found["rclone copy to the server"] + found["rclone copy from the server, synced"]
    )
    facts["throughput of ours"] = {
        "push to rclone copy": round(found["rclone copy to the server"] / pushed, 2),
        # Ours reads back all that it sent, as if it brought the set back at once.
        "push to rclone copy there and back": round(there_and_back / pushed, 2),
        "pull to rclone copy": round(found["rclone copy from the server, synced"] / pulled, 2),
    }
    facts["resident megabytes"] = round(stores.most / 1024)
    facts["load_at_the_end"] = f"{os.getloadavg()[0]:.1f}"
    return facts


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    (folder / "served" / _BUCKET).mkdir(parents=True)
    argv = [_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    argv += ["--auth-key", f"{_KEY},{_SECRET}", str(folder / "served")]
    nowhere = subprocess.DEVNULL
    running = subprocess.Popen(argv, stdout=nowhere, stderr=nowhere)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if time.monotonic() > deadline:
                raise RuntimeError("rclone's S3 server did not begin")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def _rclone() -> str:
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise RuntimeError("rclone is missing; './inv test --only lint' brings it")
    return found


class _Stores:
    """One set on this machine, and the two ways to the server and back."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder / "stack"
        self.most = 0
        self._folder = folder
        settings = {"TYPE": "s3", "PROVIDER": "Rclone", "ENDPOINT": endpoint}
        settings |= {"ACCESS_KEY_ID": _KEY, "SECRET_ACCESS_KEY": _SECRET}
        self._environment = {f"RCLONE_CONFIG_AWAY_{name}": v for name, v in settings.items()}
        self._environment["RCLONE_CONFIG"] = os.devnull
        self.folder.mkdir()
        stack = _STACK.format(bucket=_BUCKET, endpoint=endpoint)
        (self.folder / "stack.yaml").write_text(stack)
        keys = self.folder / "s3.env"
        keys.touch(mode=0o600)
        keys.write_text(f"AWS_ACCESS_KEY_ID={_KEY}\nAWS_SECRET_ACCESS_KEY={_SECRET}\n")

    def begin(self, size: int) -> None:
        """A set of about so many bytes, which nothing compresses."""
        self._inv("up")
        files = self.folder / ".quiesce" / "bench" / "volumes" / "files"
        with (files / "noise").open("wb") as target:
            for _ in range(size // 10_000_000):
                target.write(os.urandom(10_000_000))
        self._inv("backup")
        (files / "noise").unlink()
        (self._set,) = (path.parent for path in self.folder.glob("backups/*/manifest.json"))

    def end(self) -> None:
        """Nothing of it runs any more."""
        self._inv("down")

    def push(self) -> float:
        """Seconds to send it and to read it back."""
        # Through the server, which remembers what its folders held.
        self._by_rclone("purge", f"away:{_BUCKET}/sets")
        shutil.rmtree(self.folder / "backups" / ".state")
        self._inv("verify", "--all")
        return seconds(lambda: self._inv("push", "--store", "away"))

    def pull(self) -> float:
        """Seconds to bring it back to a machine that has no sets."""
        held = self._set.rename(self._folder / "held")
        took = seconds(lambda: self._inv("pull", "--store", "away", "--file", self._set.name))
        shutil.rmtree(self._set)
        held.rename(self._set)
        return took

    def rclone_up(self) -> float:
        """Seconds for the same files by rclone."""
        self._by_rclone("delete", _REMOTE)
        return self._by_rclone("copy", str(self._set), _REMOTE)

    def rclone_down(self) -> float:
        """Seconds to bring it back."""
        there = self._folder / "fetched"
        # Ours is on the disk before it is called there.
        took = self._by_rclone("copy", _REMOTE, str(there)) + seconds(os.sync)
        shutil.rmtree(there)
        return took

    def _by_rclone(self, *arguments: str) -> float:
        return seconds(lambda: output(_rclone(), *arguments, **self._environment))

    def _inv(self, *arguments: str) -> None:
        running = start_inv(self.folder, *arguments)
        while running.poll() is None:
            self.most = max(self.most, peak_kilobytes(running.pid))
            time.sleep(0.02)
        if running.returncode:
            raise RuntimeError(f"inv {' '.join(arguments)} ended with {running.returncode}")
