"""Servers whose data files a backup copies while they run. Pure.

A server may not start on such a copy, or may start and lack data. The files of a stopped server are
complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quiesce.findings import Finding
from quiesce.model import Mode, Stack
from quiesce.observed import Service
from quiesce.plan.known_images import server_of


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A server that writes to a kept volume or path, and does not stop for a backup."""

    data: str
    service: str
    software: str


def live_servers(
    stack: Stack, services: Sequence[Service], mode: Mode = "consistent", only: Sequence[str] = ()
) -> tuple[LiveServer, ...]:
    """Return the servers that write to files of a backup in this mode and keep running.

    In a consistent backup these are those in `restart.keep_running`, in a live one all that run, in
    a cold one none. A server is recognized by the name of its image, its data by the mount path.
    """
    if mode == "cold":
        return ()
    kept = {
        volume.key
        for volume in stack.volumes
        if volume.backup == "files" and (not only or volume.key in only)
    }
    return tuple(
        LiveServer(mount.volume, service.name, software)
        for service in services
        if mode == "live" or service.name in stack.restart.keep_running
        if service.running or mode == "consistent"
        for mount in service.mounts
        if mount.writable and mount.volume in kept
        if (software := server_of(service.image, mount.target))
    )


def live_server_findings(stack: Stack, services: Sequence[Service]) -> tuple[Finding, ...]:
    """Return a warning for each server whose files every backup copies while it runs."""
    return tuple(
        Finding(
            "warning",
            one.data,
            f"contains the files of a {one.software} server, and restart.keep_running keeps its "
            f"service {one.service} running while they are copied: the copy may be unusable",
            f"remove {one.service} from restart.keep_running in {stack.file.name}; see "
            "docs/other-servers.md",
        )
        for one in live_servers(stack, services)
    )


def live_backup_warnings(
    stack: Stack, services: Sequence[Service], mode: Mode, only: Sequence[str]
) -> tuple[str, ...]:
    """Return the warnings of a backup in this mode about such servers, a sentence for each."""
    return tuple(
        f"{one.data} contains the files of a {one.software} server, and service {one.service} runs "
        "while they are copied: the copy may be unusable"
        for one in live_servers(stack, services, mode, only)
    )
