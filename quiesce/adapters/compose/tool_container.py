"""Runs programs from a service's own image in a helper container beside it.

Not with `docker exec`: when its client is interrupted, it exits with 0 after half of the output,
and the program continues in the container. A helper has an exit code from the engine, and can be
removed by name.

A helper's environment is visible to anyone who can access the engine's socket. Such a user is root
on that machine and can read the service's own environment anyway.

If the engine cannot mount the folder, the files that argv names are sent and fetched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from quiesce.adapters.compose.copy_files import fetch_file, make_folder, send_file
from quiesce.adapters.compose.engine import (
    LABEL_HELPER,
    LABEL_RUN,
    EngineConnection,
    absent,
    helper_labels,
    translate_engine_errors,
)
from quiesce.adapters.files import make_empty
from quiesce.adapters.process.child import TAIL_BYTES, tail
from quiesce.adapters.redaction import is_secret
from quiesce.errors import QuiesceError
from quiesce.ports import DIRECTORY

if TYPE_CHECKING:
    from docker.api import APIClient

#: Where a helper sees the given folder. A fixed path, because the caller's own path may already
#: exist in an image.
MOUNT_POINT = "/quiesce"

#: Terminates the program when the helper's input closes, which happens when this process dies for
#: any reason. A background command of sh reads /dev/null by default, hence descriptor 3. Its output
#: is a backup, so only the owner may read it.
SCRIPT = """
umask 077
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
{ cat <&3 >/dev/null; kill -TERM "$program"; } 2>/dev/null &
wait "$program"
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program to run beside a container. `environment` contains secrets, so it is never
    printed."""

    service: str
    argv: tuple[str, ...]
    directory: Path
    writable: bool
    run: str
    project: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """Return the program's name, for messages."""
        return Path(self.argv[0]).name


def run_beside(connection: EngineConnection, container: str, image: str, tool: Tool) -> None:
    """Run a tool in the network of a running container and wait until it has exited with 0.

    Otherwise raise QuiesceError with the last lines of its stderr. The helper is removed in any
    case. If this process is killed, the program ends, and the label of the helper tells which run
    it belonged to.
    """
    shared = connection.is_local(image)
    with translate_engine_errors(f"{tool.name} cannot be run beside service {tool.service}"):
        helper = _create(connection.api, container, image, tool, shared=shared)
    try:
        with translate_engine_errors(
            f"{tool.name} beside service {tool.service} could not be monitored until it ended"
        ):
            before = _send(connection.api, helper, tool) if not shared else frozenset()
            code, said = _run(connection.api, helper, patiently=shared)
            if not shared and code == 0:
                _fetch(connection.api, helper, tool, before)
    except BaseException:
        # Report the first error; a helper that cannot be removed now is removed later as an orphan.
        with (
            contextlib.suppress(QuiesceError),
            translate_engine_errors("a helper container cannot be removed"),
        ):
            remove_helper(connection.api, helper)
        raise
    with translate_engine_errors("a helper container cannot be removed"):
        remove_helper(connection.api, helper)
    if code != 0:
        hidden = [value for name, value in tool.environment.items() if is_secret(name, value)]
        raise QuiesceError(
            f"{tool.name} beside service {tool.service} failed with exit code {code}",
            f"see its last lines, and 'inv logs --service {tool.service}'",
            details=tail(said, hidden),
        )


def remove_orphan_helpers(connection: EngineConnection, run: str) -> tuple[str, ...]:
    """Remove the helpers of one run, by their labels, and return their names."""
    wanted = [f"{LABEL_HELPER}=1", f"{LABEL_RUN}={run}"]
    with translate_engine_errors("helper containers cannot be listed"):
        found = connection.api.containers(all=True, filters={"label": wanted})
    names = []
    for entry in found:
        with translate_engine_errors("a helper container cannot be removed"):
            remove_helper(connection.api, entry["Id"])
        names.append(str((entry.get("Names") or [entry["Id"]])[0]).removeprefix("/"))
    return tuple(sorted(names))


def remove_helper(api: APIClient, helper: str) -> None:
    """Remove the helper, and the anonymous volumes of its image."""
    try:
        api.remove_container(helper, v=True, force=True)
    except Exception as error:
        # 409: another process is removing it at this moment.
        if not absent(error) and getattr(error, "status_code", None) != 409:
            raise


def _files(tool: Tool) -> Iterator[str]:
    """Yield the files that a tool's arguments name, by their names in its folder."""
    for part in tool.argv:
        _, found, name = part.partition(f"{DIRECTORY}/")
        if found:
            yield name


def _send(api: APIClient, helper: str, tool: Tool) -> frozenset[str]:
    """Send the files that a tool may read to the helper, and return their names.

    For an engine that cannot mount the local folder. The helper has an anonymous volume instead,
    because programs of PostgreSQL seek in their files.
    """
    sent = set()
    for folder in sorted({str(Path(name).parent) for name in _files(tool)} - {"."}):
        make_folder(api, helper, MOUNT_POINT, folder)
    for name in _files(tool):
        if (path := tool.directory / name).is_file():
            send_file(api, helper, path, str(Path(MOUNT_POINT, name).parent))
            sent.add(name)
    return frozenset(sent)


def _fetch(api: APIClient, helper: str, tool: Tool, before: frozenset[str]) -> None:
    """Fetch the files that a tool has written, readable by the owner only."""
    if not tool.writable:
        return
    for name in _files(tool):
        if name not in before:
            fetch_file(api, helper, f"{MOUNT_POINT}/{name}", make_empty(tool.directory / name))


def _create(api: APIClient, container: str, image: str, tool: Tool, *, shared: bool) -> str:
    import docker

    # A mount (unlike a bind) fails if the engine does not see the folder; a bind would create an
    # empty one on the engine's machine.
    mount = (
        docker.types.Mount(
            MOUNT_POINT, str(tool.directory), type="bind", read_only=not tool.writable
        )
        if shared
        else docker.types.Mount(MOUNT_POINT, None, type="volume")
    )
    # Anonymous volumes belong to root.
    user = f"{os.geteuid()}:{os.getegid()}" if shared else "0:0"
    host = api.create_host_config(
        mounts=[mount],
        network_mode=f"container:{container}",
        log_config=docker.types.LogConfig(type="none"),
        security_opt=["no-new-privileges"],
        restart_policy={"Name": "no"},
    )
    argv = [part.replace(DIRECTORY, MOUNT_POINT) for part in tool.argv]
    made = api.create_container(
        image,
        name=f"quiesce-{tool.run}-{tool.service}-{secrets.token_hex(4)}",
        entrypoint=["sh", "-c", SCRIPT, "quiesce"],
        command=argv,
        stdin_open=True,
        environment={"HOME": "/tmp", **tool.environment},  # noqa: S108  there is no home folder
        user=user,
        working_dir="/",
        labels=helper_labels(tool.run, tool.project),
        healthcheck={"test": ["NONE"]},
        host_config=host,
    )
    return str(made["Id"])


def _run(api: APIClient, helper: str, *, patiently: bool) -> tuple[int, bytes]:
    """Run a created helper to its end; return its exit code and the end of its stderr.

    Unless `patiently`, poll it: a connection to another machine may die silently, and waiting on it
    would never end.
    """
    with _attached(api, helper) as said:
        api.start(helper)
        if not patiently:
            _watch(api, helper)
        result = dict(api.wait(helper, timeout=None, condition="not-running"))
    error = result.get("Error")
    if isinstance(error, dict) and error.get("Message"):
        return int(str(result["StatusCode"])) or 1, str(error["Message"]).encode()
    return int(str(result["StatusCode"])), bytes(said)


def _watch(api: APIClient, helper: str) -> None:
    pause = 0.01
    while api.inspect_container(helper)["State"]["Running"]:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


@contextlib.contextmanager
def _attached(api: APIClient, helper: str) -> Iterator[bytearray]:
    """Hold a helper's input open and collect the end of its stderr, of which no log is kept.

    Attach before the start, so that no output is lost.
    """
    from docker.utils import socket as frames

    said = bytearray()
    wanted = {"stdin": 1, "stdout": 0, "stderr": 1, "stream": 1, "logs": 0}
    connection = api.attach_socket(helper, params=wanted)

    def listen() -> None:
        with contextlib.suppress(OSError, ValueError):  # closed
            for _, chunk in cast(Any, frames).frames_iter(connection, tty=False):
                said.extend(chunk)
                del said[:-TAIL_BYTES]

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield said
        thread.join(5)
    finally:
        # The SDK would leave the underlying socket to the garbage collector.
        response = getattr(connection, "_response", None)
        below = getattr(getattr(response, "raw", None), "_connection", None)
        for part in filter(None, (below, connection)):
            part.close()
