"""Shapes that engines answer with, recorded from Docker 20.10, 28.5 and Podman 5.8, and Docker 29's
as its release notes describe them."""

from __future__ import annotations

from typing import Any

import docker
import pytest

from quiesce.adapters.compose.events import mounts_of_started, who_started
from quiesce.adapters.compose.inspected import has_health, service_of, unit_of

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"


def start(container: str, **attributes: str) -> dict[str, Any]:
    """Return the event of a start; API 1.52 has no `status`, `id` and `from` in it."""
    return {
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": container, "Attributes": {"image": "tiny", **attributes}},
        "scope": "local",
        "time": 1795981068,
        "timeNano": 1795981068410864053,
    }


def mount(container: str, volume: str, writable: str) -> dict[str, Any]:
    """Return Docker's event of a mount."""
    about = {"container": container, "driver": "local", "read/write": writable}
    return {"Type": "volume", "Action": "mount", "Actor": {"ID": volume, "Attributes": about}}


def old(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event as engines before 29 report it."""
    return {**event, "status": event["Action"], "id": event["Actor"]["ID"], "from": "tiny"}


EVENTS = [
    start("1", name="visitor"),
    mount("1", "data", "true"),
    start("2", name="reader"),
    mount("2", "data", "false"),
    start("3", **{PROJECT: "core", SERVICE: "web", "name": "core-web-1"}),
]


@pytest.mark.parametrize("shape", [dict, old], ids=["29", "before"])
def test_who_was_started_is_read_from_the_fields_that_all_engines_have(shape):
    """The actor and its attributes."""
    found = who_started([shape(event) for event in EVENTS], "core", ["web"], ["data"])
    assert found == ("visitor", "web")


class Podman:
    """Inspects the containers that are still there."""

    def inspect_container(self, name: str) -> dict[str, Any]:
        """Return the mounts of a container. Raise NotFound for one that is gone."""
        mounts = {
            "writer": [{"Type": "volume", "Name": "data", "RW": True}],
            "reader": [{"Type": "volume", "Name": "data", "RW": False}],
            "folder": [{"Type": "bind", "Source": "/data", "RW": True}],
            "bare": None,
        }
        if name not in mounts:
            raise docker.errors.NotFound("no such container")
        return {"Mounts": mounts[name]}


def test_podman_reports_no_mounts_so_containers_are_inspected():
    """One that is gone may have written anything."""
    names = ["writer", "reader", "folder", "bare", "gone"]
    events = [start(name, name=name, podId="") for name in names]
    every = (*events, *mounts_of_started(Podman(), events))
    assert who_started(every, "core", ["web"], ["data"]) == ("writer", "gone")


def test_podmans_helpers_of_this_project_are_nobody():
    """They are gone, too."""
    helper = start("gone", **{"quiesce.helper": "1", "quiesce.project": "core", "name": "h"})
    every = (helper, *mounts_of_started(Podman(), [helper]))
    assert who_started(every, "core", ["web"], ["data"]) == ()
    assert who_started(every, "another", ["web"], ["data"]) == ("h",)


#: `NetworkSettings` of API 1.52: the old fields for the default bridge are gone.
NEW = {"Ports": {}, "Networks": {"core_default": {"IPAddress": "172.18.0.2", "NetworkID": "1"}}}
OLD = {**NEW, "IPAddress": "172.18.0.2", "Bridge": "", "MacAddress": "", "GlobalIPv6Address": ""}


@pytest.mark.parametrize("settings", [NEW, OLD], ids=["29", "before"])
@pytest.mark.parametrize(
    "config",
    [{}, {"Labels": None, "Healthcheck": None}, {"Labels": {}, "Healthcheck": {"Test": None}}],
    ids=["left out", "null", "empty"],
)
def test_a_container_is_read_whether_empty_fields_are_there_or_not(settings, config):
    """Docker 29 leaves out of an image's configuration what is empty."""
    container = {
        "Id": "1",
        "Name": "/core-web-1",
        "State": {"Status": "running", "StartedAt": "2026-11-29T19:00:00.123456789Z"},
        "HostConfig": {},
        "NetworkSettings": settings,
        "Config": config,
    }
    unit = unit_of(container)
    assert [(one.network, one.ip) for one in unit.addresses] == [("core_default", "172.18.0.2")]
    assert (unit.service, service_of(container), unit.stop_timeout) == ("", "", None)
    assert has_health(container) is False
