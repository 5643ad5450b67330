"""A second engine that is far away: own network, own files, and a link that can be cut.

It runs in its own network and mount namespaces on this machine, reached over a veth pair. As on
another host, its ID is its own, its data is not at the path it names, and the folders people work
in are not there. The kernel and its boot id stay the same. Both namespaces end with the daemon;
only the folder of its data has to be removed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .daemon import end_process, engine_answers, last_complaint
from .machine import (
    ProcessMark,
    Unavailable,
    alone,
    cache_directory,
    find_program,
    mark_process,
    run,
    say,
    with_system_paths,
)

_PROJECT = Path(__file__).parents[2]
_SCRIPTS = Path(__file__).parent / "scripts"
_FOLDERS_OF_PEOPLE = tuple(Path(name) for name in ("/home", "/root", "/tmp", "/srv", "/mnt"))
_LINK = "eth0"
_PORT = 2375
_PREFIX = "second-"
_OWNER = "owner.json"
#: Lies in the daemon's data when it is to begin anew.
_RESTART = "restart"

# $1 is the folder of the data, $2 the address to listen on, $3 the root of a named engine if the
# tests run on one, so that both are alike; folders to hide follow.
_BECOME_DAEMON = f"""
set -eu
data=$1 address=$2 root=$3
shift 3
tries=200
until ip link show {_LINK} >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" = 0 ]; then echo "the link did not come" >&2; exit 1; fi
    sleep 0.05
done
ip address add "$address/30" dev {_LINK}
ip link set {_LINK} up
ip link set lo up
mkdir -p "$root/var/lib/docker" "$root/etc/docker"
if [ -n "$root" ]; then
    . {_SCRIPTS}/enter.sh
    prepare "$root"
fi
mount --bind "$data" "$root/var/lib/docker"
if [ -n "$root" ]; then
    enter "$root"
    # Nothing of this machine is in there.
    set --
    PATH=/usr/sbin:/usr/bin:/sbin:/bin
fi
mount -t tmpfs -o mode=0755 none /run
# The engine's ID comes from a key in there; with the first one's it would pass for the first.
mount -t tmpfs -o mode=0755 none /etc/docker
cd /
for folder in "$@"; do mount -t tmpfs none "$folder"; done
trap 'kill -TERM "$daemon"; wait "$daemon"; exit' TERM
while :; do
    dockerd --tls=false --host "tcp://$address:{_PORT}" --host unix:///var/run/docker.sock &
    daemon=$!
    wait "$daemon" || true
    rm -f /var/run/docker.pid
    rm /var/lib/docker/{_RESTART}
done
"""


@dataclass(frozen=True, slots=True)
class SecondEngine:
    """An engine behind a link; ports its containers publish are reached at `address`."""

    host: str
    address: str
    process: ProcessMark
    data: Path

    def cut(self) -> None:
        """Lose the link: packets vanish, and no end of a connection is told."""
        self._set_link("down")

    def mend(self) -> None:
        """Bring the link back; connections that outlived the cut go on."""
        self._set_link("up")

    def restart(self) -> None:
        """End the daemon as a machine that is shut down does, and return when it is back.

        Containers end with it; those that may are started again by the new one.
        """
        (self.data / _RESTART).touch()
        before = run(["pgrep", "--parent", str(self.process.pid), "dockerd"]).strip()
        os.kill(int(before), signal.SIGTERM)
        deadline = time.monotonic() + 90
        while (self.data / _RESTART).exists() or not engine_answers(self.host):
            if time.monotonic() > deadline:
                raise Unavailable("the second dockerd did not come back")
            time.sleep(0.1)

    def _set_link(self, state: str) -> None:
        namespace = f"/proc/{self.process.pid}/ns/net"
        run(["nsenter", f"--net={namespace}", "ip", "link", "set", _LINK, state])


@contextmanager
def second_engine(
    images: Sequence[str], *, hide: Sequence[Path] = (_PROJECT, *_FOLDERS_OF_PEOPLE)
) -> Iterator[SecondEngine]:
    """Start a second engine with the first one's `images`, and end it with all it holds.

    The engine does not see the folders in `hide`. It also ends when the thread that called this
    does. Raise `Unavailable` with the reason where it cannot be had.
    """
    programs = ("docker", "dockerd", "unshare", "setpriv", "nsenter", "ip")
    if os.geteuid() != 0 or not all(find_program(name) for name in programs):
        raise Unavailable("a second engine needs root, dockerd, util-linux and iproute2")
    root = os.environ.get("QUIESCE_TEST_ENGINE_ROOT", "")
    if root and not Path(root, "usr/sbin/dockerd").exists():
        raise Unavailable(f"{os.environ.get('QUIESCE_TEST_ENGINE_NAME')} cannot be a second engine")
    with alone():
        _remove_leftovers()
        network = _free_network()
        say(f"starting a second dockerd on {network}.2")
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=cache_directory()))
        process = _start(folder, f"{network}.2", root, hide)
        mark = mark_process(process.pid)
        if mark is None:
            raise Unavailable("the second dockerd ended at once")
        (folder / _OWNER).write_text(json.dumps(asdict(mark)))
    try:
        _lay_link(process.pid, network)
        data = folder / "data"
        engine = SecondEngine(f"tcp://{network}.2:{_PORT}", f"{network}.2", mark, data)
        _wait_for_answer(engine, process, folder / "dockerd.log")
        if images:
            _copy_images(images, engine.host)
        yield engine
    finally:
        end_process(mark, patience=60)
        process.wait()
        shutil.rmtree(folder)


def _start(folder: Path, address: str, root: str, hide: Sequence[Path]) -> subprocess.Popen[bytes]:
    (folder / "data").mkdir(mode=0o711)
    hidden = [str(path) for path in hide if path.is_dir()]
    become = ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--net"]
    script = ["sh", "-c", _BECOME_DAEMON, "sh", f"{folder}/data", address, root, *hidden]
    with (folder / "dockerd.log").open("wb") as log:
        return subprocess.Popen(
            [*become, *script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=with_system_paths(os.environ),
            start_new_session=True,
            cwd="/",
        )


def _lay_link(pid: int, network: str) -> None:
    """Lay a veth pair from here into the process's network, once it has one of its own."""
    ours = os.readlink("/proc/self/ns/net")
    deadline = time.monotonic() + 10
    while os.readlink(f"/proc/{pid}/ns/net") == ours:
        if time.monotonic() > deadline:
            raise Unavailable("the second dockerd got no network of its own")
        time.sleep(0.02)
    near = f"qe{pid}"
    run(["ip", "link", "add", near, "type", "veth", "peer", "name", _LINK, "netns", str(pid)])
    run(["ip", "address", "add", f"{network}.1/30", "dev", near])
    run(["ip", "link", "set", near, "up"])


def _free_network() -> str:
    """Return the first three numbers of a network nobody uses, of those meant for trials."""
    routes = run(["ip", "-4", "route", "show", "table", "all"])
    for number in range(1, 255):
        network = f"198.18.{number}"
        if f"{network}." not in routes:
            return network
    raise Unavailable("no free network for a second engine")


def _wait_for_answer(engine: SecondEngine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not engine_answers(engine.host):
        if process.poll() is not None:
            raise Unavailable(f"the second dockerd ended: {last_complaint(log)}")
        if time.monotonic() > deadline:
            raise Unavailable("the second dockerd did not answer within 60 s")
        time.sleep(0.2)


def _copy_images(names: Sequence[str], host: str) -> None:
    say(f"copying {' '.join(names)}")
    pipe = 'host=$1; shift; docker save "$@" | docker -H "$host" load --quiet'
    run(["sh", "-c", pipe, "sh", host, *names], timeout=300)


def _remove_leftovers() -> None:
    """Remove the folders of second engines that have ended; the caller holds the lock."""
    for folder in cache_directory().glob(f"{_PREFIX}*"):
        try:
            mark = ProcessMark(**json.loads((folder / _OWNER).read_text()))
        except (OSError, ValueError, TypeError):
            mark = None
        if mark is None or mark_process(mark.pid) != mark:
            shutil.rmtree(folder)
