"""A helper container that lives as long as a connection of this process, and runs programs by exec.

Its main process is `cat` on an input that this process holds open, so the container ends with this
process, however that ends; orphans that remain are removed by their label. It has no network unless
requested, no log, no writable root, and only the capabilities that copying files needs. Exit codes
come from the engine (`exec inspect`), never from a client.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from quiesce.adapters.compose.engine import helper_labels
from quiesce.errors import LostEngine, QuiesceError, translate_errors

if TYPE_CHECKING:
    pass

#: Label on every helper: the real name of its volume.
VOLUME_LABEL = "quiesce.volume"

_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
_GONE_SECONDS = 10.0
_DYING_SECONDS = 2.0
_KILLED = 128 + 9


class HelperContainer:
    """One running helper. It ends with this process, whose connection is its input."""

    def __init__(
        self,
        api: Any,
        image: str,
        run: str,
        project: str,
        volume: str,
        mounts: Sequence[Mapping[str, Any]],
        network: str = "none",
        *,
        beside: str = "",
    ) -> None:
        """`beside` is a container whose processes the helper can see and inspect."""
        from docker.types import LogConfig

        self._api = api
        self._input: Any = None
        host = api.create_host_config(
            mounts=list(mounts),
            network_mode=network,
            log_config=LogConfig(type="none"),
            auto_remove=True,
            read_only=True,
            cap_drop=["ALL"],
            cap_add=[*_CAPABILITIES, *(["SYS_PTRACE"] if beside else [])],
            pid_mode=f"container:{beside}" if beside else None,
            # SELinux labels would block access to local folders; without effect elsewhere.
            security_opt=["label=disable", "no-new-privileges"],
        )
        created = api.create_container(
            image,
            entrypoint=["cat"],
            command=[],
            user="0:0",
            stdin_open=True,
            labels={**helper_labels(run, project), VOLUME_LABEL: volume},
            healthcheck={"test": ["NONE"]},
            host_config=host,
        )
        self.id: str = created["Id"]
        try:
            self._input = api.attach_socket(self.id, params={"stdin": 1, "stream": 1})
            api.start(self.id)
        except BaseException:
            self.close()
            raise

    def execute(self, argv: Sequence[str], environment: Mapping[str, str]) -> int | None:
        """Run a program and return its exit code; None if the container ended meanwhile."""
        from docker.errors import APIError, NotFound

        try:
            made = self._api.exec_create(
                self.id, list(argv), stdout=False, stderr=False, environment=dict(environment)
            )
            self._api.exec_start(made["Id"], detach=True)
            pause = 0.005
            while (state := self._api.exec_inspect(made["Id"]))["Running"]:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.1)
        except NotFound:
            return None
        except APIError as error:
            if error.status_code == 409:  # it is no longer running
                return None
            raise
        except BaseException:
            # Do not leave the program running without this process.
            self.close()
            raise
        code: int | None = state["ExitCode"]
        return None if code is None or self.ends(code) else code

    def ends(self, code: int) -> bool:
        """Whether the container ended, and not only the program.

        When a container is killed, its programs die shortly before the engine reports its end, so
        after a killed program this waits a moment.
        """
        deadline = time.monotonic() + (_DYING_SECONDS if code == _KILLED else 0.0)
        while self._runs():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def _runs(self) -> bool:
        from docker.errors import NotFound

        try:
            return bool(self._api.inspect_container(self.id)["State"]["Running"])
        except NotFound:
            return False

    def close(self) -> None:
        connection, self._input = self._input, None
        if connection is not None:
            # The SDK returns a reader on the socket; the socket closes only when both are closed.
            # Its response reads the rest, which some versions of Python report as an error.
            for part in (connection, getattr(connection, "_sock", None), _response_of(connection)):
                with contextlib.suppress(OSError, ValueError):
                    if part is not None:
                        part.close()
        remove_container(self._api, self.id)


def _response_of(connection: Any) -> Any:
    return getattr(connection, "_response", None)


def remove_container(api: Any, container: str) -> None:
    """Remove the container, even if it is being removed (auto_remove) at the same time."""
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + _GONE_SECONDS
    while True:
        try:
            # With its anonymous volumes, the scratch space of helpers on remote engines.
            api.remove_container(container, v=True, force=True)
            return
        except NotFound:
            return
        except APIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def translate_helper_errors(what: str) -> AbstractContextManager[None]:
    """Turn the SDK's exceptions into a QuiesceError that says `what` failed.

    An OSError is not translated: it concerns a file on this machine, not the engine.
    """
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    def translation(error: Exception) -> QuiesceError | None:
        if isinstance(error, APIError):
            reason = str(error.explanation or error).strip()
            return QuiesceError(f"{what} failed: {reason}", "see 'docker info' and 'inv doctor'")
        if isinstance(error, DockerException | RequestException):
            fact = f"{what} failed: the engine does not answer"
            return LostEngine(fact, "see 'docker info', then try again")
        return None

    return translate_errors(translation)
