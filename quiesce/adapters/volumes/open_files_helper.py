"""Finds files that are open for writing on an engine whose process table cannot be read from here.

A helper joins the process namespace of each running container that may write to the volume, one
after the other, and inspects only its processes. A container that shares the machine's own
namespace is not inspected: the helper, which runs an image of the stack, could inspect every
process there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.engine import LABEL_HELPER
from quiesce.adapters.compose.exec_stream import Streams, run_streamed
from quiesce.adapters.compose.helper_container import HelperContainer, translate_helper_errors
from quiesce.adapters.volumes.helper import HelperEngine
from quiesce.adapters.volumes.location import ENVIRONMENT, last_lines
from quiesce.adapters.volumes.open_files import Writing
from quiesce.errors import QuiesceError
from quiesce.observed import VolumeState

# Prints a line for each file that a thread has open for writing, or mapped shared. `stat` follows
# the descriptor itself, whatever the mounts of the process are.
_LOOK = r"""
exec 3>&1
unseen() { if [ -d "$1" ]; then echo unseen >&3; fi; }
for task in /proc/[0-9]*/task/[0-9]*; do
    ls "$task/fdinfo" >/dev/null 2>&1 || { unseen "$task"; continue; }
    for about in "$task"/fdinfo/*; do
        flags=0
        while read -r name value; do
            case $name in
                flags:) flags=$value ;;
                UserFiles:) [ "$value" = 0 ] || unseen "$task" ;;
            esac
        done 2>/dev/null <"$about"
        case $flags in
            *[04]) ;;
            *) printf '%s\0' "$task/fd/${about##*/}" ;;
        esac
    done
    while read -r _ rights _ _ inode _; do
        case $rights in ???s) [ "$inode" = 0 ] || echo "file $inode regular" >&3 ;; esac
    done 2>/dev/null <"$task/maps"
done | xargs -0 -r -n 500 stat -L -c 'file %i %F' --
"""
#: xargs: a program failed, such as `stat` for a file that is closed by now.
_SOME_FAILED = 123


def seen_beside_writers(
    engine: HelperEngine, run: str, volume: VolumeState, staging: Path
) -> Writing:
    """Return the files that running containers which may write to this volume have open for
    writing."""
    api, found = engine.api(), Writing()
    try:
        with translate_helper_errors(f"looking for open files in volume {volume.name}"):
            for container in _writers(api, volume.name):
                _look(engine, run, api, container, staging, found)
    except QuiesceError as error:
        if error.lost_engine:
            raise
        found.unseen = str(error)
    return found


def _writers(api: Any, volume: str) -> Iterator[Mapping[str, Any]]:
    """Yield the running containers that mount the volume, or a folder that contains it,
    writable."""
    place = volume
    if not volume.startswith("/"):
        place = str(api.inspect_volume(volume).get("Mountpoint") or "")
    for container in api.containers():
        mounts = container.get("Mounts") or ()
        if LABEL_HELPER not in (container.get("Labels") or {}) and any(
            mount.get("RW") and (mount.get("Name") == volume or _holds(mount, place))
            for mount in mounts
        ):
            yield container


def _holds(mount: Mapping[str, Any], place: str) -> bool:
    source = str(mount.get("Source") or "").rstrip("/")
    if mount.get("Type") != "bind" or not place:
        return False
    return f"{place}/".startswith(f"{source}/") or source.startswith(f"{place}/")


def _look(
    engine: HelperEngine,
    run: str,
    api: Any,
    container: Mapping[str, Any],
    staging: Path,
    found: Writing,
) -> None:
    name = str((container.get("Names") or [container["Id"]])[0]).removeprefix("/")
    host = api.inspect_container(container["Id"])["HostConfig"]
    if str(host.get("PidMode") or "") == "host":
        found.unseen = f"container {name} shares the process namespace of the machine"
        return
    helper = HelperContainer(
        api, engine.image(run), run, engine.project, "", [], beside=container["Id"]
    )
    try:
        with tempfile.TemporaryDirectory(prefix=".writers-", dir=staging) as folder:
            output, errors = Path(folder, "output"), Path(folder, "errors")
            output.touch(0o600)
            errors.touch(0o600)
            command = ["sh", "-c", _LOOK]
            code = run_streamed(api, helper.id, command, ENVIRONMENT, Streams(output, errors))
            lines = output.read_text(errors="replace").splitlines()
            denied = [line for line in last_lines(errors) if "denied" in line]
    finally:
        helper.close()
    if code not in (0, _SOME_FAILED) or denied or "unseen" in lines:
        found.unseen = f"the processes of container {name} cannot be inspected"
    for line in lines:
        word, _, rest = line.partition(" ")
        inode, _, kind = rest.partition(" ")
        if word == "file" and kind.startswith("regular"):
            found.inodes.add(inode.encode())
