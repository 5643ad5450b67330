"""Reads an inspected container: its unit, service, restart policy, health and mounts. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from quiesce.observed import Address, Health, Mount, Unit, UnitState

LABEL_SERVICE = "com.docker.compose.service"
LABEL_PROJECT_NAME = "com.docker.compose.project"
LABEL_ONEOFF = "com.docker.compose.oneoff"
LABEL_NUMBER = "com.docker.compose.container-number"

NEVER = "0001-01-01T00:00:00Z"
#: The engine resets its restart count for a container that ran this long: the limit between a crash
#: and a crash loop.
LOOP_SECONDS = 10.0
#: Set on an inspected container that was found running between two crashes.
LOOPS = "quiesce.loops"

Inspected = Mapping[str, Any]


def unit_of(container: Inspected) -> Unit:
    """Return the unit of an inspected container."""
    state = container["State"]
    ended = state["Status"] in ("exited", "dead")
    own = container["Config"].get("StopTimeout")
    return Unit(
        service=service_of(container),
        id=container["Id"],
        name=container["Name"].removeprefix("/"),
        state="restarting" if container.get(LOOPS) else cast(UnitState, state["Status"]),
        health=_health_of(container),
        exit_code=int(state["ExitCode"]) if ended else None,
        stop_timeout=None if own is None else float(own),
        restart_policy=policy_of(container),
        started_at=None if ended else moment(str(state.get("StartedAt") or NEVER)),
        addresses=_addresses_of(container),
    )


def policy_of(container: Inspected) -> str:
    """Return the restart policy as Docker's command line writes it: `on-failure:3`."""
    policy = container["HostConfig"].get("RestartPolicy") or {}
    most = int(policy.get("MaximumRetryCount") or 0)
    name = str(policy.get("Name") or "no")
    return f"{name}:{most}" if most and name == "on-failure" else name


def was_restarted(container: Inspected) -> bool:
    """Whether it is running, and the engine has restarted it since it was last started."""
    return bool(container.get("RestartCount")) and container["State"]["Status"] == "running"


def runs_shortly(container: Inspected, now: datetime | None) -> bool:
    """Whether it has been running for less than the engine's limit for a crash loop."""
    begun = moment(str(container["State"].get("StartedAt") or NEVER))
    if begun is None or now is None or _health_of(container) == "healthy":
        return False
    return (now - begun).total_seconds() < LOOP_SECONDS


def _addresses_of(container: Inspected) -> tuple[Address, ...]:
    """Return the current addresses of a container; none if it is not running."""
    networks = container["NetworkSettings"].get("Networks") or {}
    return tuple(
        Address(name, str(networks[name]["IPAddress"]))
        for name in sorted(networks)
        if networks[name].get("IPAddress")
    )


def moment(text: str) -> datetime | None:
    """Parse a time of the engine (nanoseconds, UTC); None for "never"."""
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text)
    if found is None or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(found[0]).replace(tzinfo=UTC)


def labels_of(container: Inspected) -> Mapping[str, str]:
    """Return the labels of a container. Engines may leave out empty fields, or return null."""
    return container["Config"].get("Labels") or {}


def service_of(container: Inspected) -> str:
    """Return the name of the service a container belongs to."""
    return str(labels_of(container).get(LABEL_SERVICE, ""))


def has_health(container: Inspected) -> bool:
    """Whether the container has a health check, from the Compose file or its image."""
    return bool(health_command(container["Config"]))


def health_command(config: Inspected) -> list[str]:
    """Return the container's health command as the engine would run it, [] if it has none."""
    test = list((config.get("Healthcheck") or {}).get("Test") or [])
    if not test or test[0] == "NONE":
        return []
    if test[0] == "CMD-SHELL":
        return [*(config.get("Shell") or ["/bin/sh", "-c"]), *test[1:]]
    return test[1:]


def mounts_seen(container: Inspected, keys: Mapping[str, str]) -> tuple[Mount, ...]:
    """Return the volumes and folders that a container has mounted.

    `keys` maps the real name of a volume to its key. Other volumes have no key; their real name is
    the source.
    """
    return tuple(
        Mount(
            volume=keys.get(entry["Name"]) if entry["Type"] == "volume" else None,
            source=str(entry["Name"] if entry["Type"] == "volume" else entry["Source"]),
            target=str(entry["Destination"]),
            writable=bool(entry.get("RW", True)),
            mountpoint=_mountpoint(entry) if entry.get("Name") not in keys else "",
        )
        for entry in container.get("Mounts") or ()
        if entry["Type"] in ("volume", "bind")
    )


def _mountpoint(entry: Mapping[str, Any]) -> str:
    """Return the folder of a mounted volume on the engine's machine, "" if it has none."""
    return str(entry.get("Source") or "") if entry["Type"] == "volume" else ""


def _health_of(container: Inspected) -> Health:
    state = container["State"]
    if state["Status"] != "running" or not state.get("Health") or not has_health(container):
        return "none"
    return cast(Health, state["Health"]["Status"])
