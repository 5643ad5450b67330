"""Records which containers were started since a given time, including those that no longer exist.

The engine keeps only its last 256 events, and every health check creates three. So events are read
as a stream from the start; the engine's history is only used for the last few, which the stream may
not have delivered yet.

Podman reports no mounts. There, containers that were started are inspected, and one that no longer
exists counts as one that had every volume mounted.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from quiesce.adapters.compose.engine import (
    LABEL_HELPER,
    LABEL_PROJECT,
    EngineConnection,
    absent,
    translate_engine_errors,
)
from quiesce.adapters.compose.inspected import LABEL_ONEOFF, LABEL_PROJECT_NAME, LABEL_SERVICE
from quiesce.errors import QuiesceError

_WANTED = {"type": ["container", "volume"], "event": ["start", "mount"]}
_WHAT = "the engine's events cannot be read"

Event = Mapping[str, Any]

#: Used instead of a volume's name: any volume. No volume can have this name.
ANY = "*"


class StartsListener:
    """Records every container start from its creation until it is closed."""

    def __init__(self, connection: EngineConnection) -> None:
        self._api = cast(Any, connection.api)
        self._podman = False
        self._heard: list[Event] = []
        self._ended = False
        with translate_engine_errors(_WHAT):
            self._podman = connection.kind == "podman"
            # By the engine's clock, and before listening, so that no event in between is missed.
            self._since = _now(self._api)
            self._stream = self._api.events(since=self._since, filters=_WANTED, decode=True)
        threading.Thread(target=self._listen, name="engine events", daemon=True).start()

    def events(self) -> tuple[Event, ...]:
        """Return all starts and mounts until now. Raise QuiesceError if some may be missing."""
        with translate_engine_errors(_WHAT):
            remembered = self._api.events(
                since=self._since, until=_now(self._api), filters=_WANTED, decode=True
            )
            latest = list(remembered)
            mounts = mounts_of_started(self._api, (*self._heard, *latest)) if self._podman else ()
        if self._ended:
            raise QuiesceError(
                "the engine's event stream ended: containers may have started unnoticed",
                "check whether Docker was restarted, then run the backup again",
            )
        return (*self._heard, *latest, *mounts)

    def close(self) -> None:
        """Stop listening."""
        # Over some transports the stream cannot be closed; its thread ends with this process.
        with contextlib.suppress(Exception):
            self._stream.close()

    def _listen(self) -> None:
        # After any end of the stream, `close` included, events may be missing.
        with contextlib.suppress(Exception):
            for event in self._stream:
                self._heard.append(event)
        self._ended = True


def mounts_of_started(api: Any, events: Iterable[Event]) -> tuple[Event, ...]:
    """Return the events with which Docker reports the mounts of these starts."""
    found: list[Event] = []
    started = dict.fromkeys(e["Actor"]["ID"] for e in events if e["Type"] == "container")
    for container in started:
        try:
            mounts = api.inspect_container(container).get("Mounts") or ()
        except Exception as error:
            if not absent(error):
                raise
            mounts = ({"Type": "volume", "Name": ANY, "RW": True},)
        found += [
            {
                "Type": "volume",
                "Actor": {
                    "ID": mount["Name"],
                    "Attributes": {
                        "container": container,
                        "read/write": "true" if mount.get("RW") else "false",
                    },
                },
            }
            for mount in mounts
            if mount.get("Type") == "volume"
        ]
    return tuple(found)


def _now(api: Any) -> str:
    """Return the engine's time in the format of its events: seconds with a fraction."""
    told_time = datetime.fromisoformat(api.info()["SystemTime"])
    return f"{told_time.timestamp():.6f}"


def who_started(
    events: Iterable[Event], project: str, services: Collection[str], volumes: Collection[str]
) -> tuple[str, ...]:
    """Return which of these services of a project were started, and which other containers mounted
    one of these volumes (real names) writably: services by name, others by container name.
    Quiesce's own helpers are left out."""
    started: dict[str, Mapping[str, str]] = {}
    writers: set[str] = set()
    for event in events:
        actor = event["Actor"]
        about: Mapping[str, str] = actor.get("Attributes") or {}
        if event["Type"] == "container":
            started[actor["ID"]] = about
        elif about.get("read/write") == "true" and actor["ID"] in (*volumes, ANY):
            writers.add(about.get("container", ""))
    found: dict[str, None] = {}
    for container, about in started.items():
        helper = LABEL_HELPER in about and about.get(LABEL_PROJECT) == project
        ours = about.get(LABEL_PROJECT_NAME) == project and about.get(LABEL_ONEOFF) != "True"
        name = about.get(LABEL_SERVICE, "") if ours else about.get("name", container[:12])
        if not helper and (container in writers or (ours and name in services)):
            found[name] = None
    return tuple(found)
