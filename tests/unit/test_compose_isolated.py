"""A copy's model: nothing in it is the original's, and what cannot be kept apart is refused."""

from __future__ import annotations

import pytest

from quiesce.adapters.compose.sandbox_model import LABEL, isolate
from quiesce.errors import RequestError

MODEL = {
    "name": "app",
    "services": {
        "db": {
            "image": "postgres:17",
            "container_name": "the-db",
            "ports": [{"target": 5432, "published": "5432"}],
            "restart": "always",
            "hostname": "db.example.org",
            "labels": {"mine": "yes"},
            "networks": {"back": {"aliases": ["database"], "ipv4_address": "10.0.0.5"}},
            "volumes": [
                {"type": "volume", "source": "data", "target": "/data"},
                {"type": "bind", "source": "/srv/conf", "target": "/conf", "read_only": True},
                {"type": "bind", "source": "/srv/logs", "target": "/logs"},
            ],
        },
        "api": {"build": {"context": "/srv/api"}, "labels": ["a=b=c"], "networks": {"back": None}},
    },
    "volumes": {"data": {"name": "app-data", "driver_opts": {"o": "bind", "device": "/srv/data"}}},
    "networks": {"back": {"name": "shared", "external": True}},
}


def copy(**service: object) -> dict[str, object]:
    """The copy of a stack with one service like this."""
    model = {"name": "app", "services": {"web": {"image": "nginx", **service}}}
    return isolate(model, {}, "r1", copied=lambda source: f"/copy{source}")


def test_nothing_of_the_original_is_in_it() -> None:
    """Names, ports, addresses, drivers of volumes, networks that others use, builds."""
    made = isolate(MODEL, {"api": "app-api:latest"}, "r1", copied=lambda source: f"/copy{source}")
    text = repr(made)
    for word in ("the-db", "published", "app-data", "driver_opts", "shared", "external", "10.0.0",
                 "db.example.org", "'build'", "always"):  # fmt: skip
        assert word not in text, word
    assert made["volumes"] == {"data": {"labels": {LABEL: "r1"}}}
    assert made["networks"]["back"] == {"internal": True, "labels": {LABEL: "r1"}}
    db, api = made["services"]["db"], made["services"]["api"]
    assert db["labels"] == {"mine": "yes", LABEL: "r1"}
    assert api["labels"] == {"a": "b=c", LABEL: "r1"}
    assert db["networks"] == {"back": {"aliases": ["database"]}}
    assert (api["image"], api["pull_policy"], api["restart"]) == ("app-api:latest", "never", "no")


def test_what_a_service_may_write_to_is_copied_for_it() -> None:
    """What it may only read is shared."""
    made = isolate(MODEL, {}, "r1", copied=lambda source: f"/copy{source}")
    sources = [mount["source"] for mount in made["services"]["db"]["volumes"]]
    assert sources == ["data", "/srv/conf", "/copy/srv/logs"]
    assert made["services"]["api"]["image"] == "app-api"


def test_an_open_network_is_asked_for() -> None:
    """And only then has the copy a way out."""
    made = isolate(MODEL, {}, "r1", copied=str, network_open=True)
    assert made["networks"]["default"]["internal"] is False


@pytest.mark.parametrize(
    ("service", "fact"),
    [
        ({"network_mode": "host"}, "shares a network"),
        ({"network_mode": "container:other"}, "shares a network"),
        (
            {"volumes": [{"type": "bind", "source": "/var/run/docker.sock"}]},
            "mounts the engine's socket",
        ),
    ],
)
def test_what_cannot_be_kept_apart_is_refused(service: dict[str, object], fact: str) -> None:
    """Before anything is made."""
    with pytest.raises(RequestError, match=fact):
        copy(**service)
    assert copy(network_mode="service:db")["services"]


def test_of_services_that_will_not_run_what_cannot_be_kept_apart_is_removed() -> None:
    """They have no network and no socket, even if somebody started them. What runs, and what that
    depends on, is refused as ever."""
    socket = {"type": "bind", "source": "/var/run/docker.sock", "target": "/s"}
    data = {"type": "volume", "source": "data", "target": "/data"}
    model = {
        "services": {
            "db": {"image": "postgres", "depends_on": {"job": {}, "gone": {}}},
            "job": {"image": "job"},
            "web": {"image": "web", "network_mode": "host", "volumes": [socket, data]},
            "api": {"image": "api", "networks": {"back": None}},
        }
    }

    def made(running: list[str], **changes: object) -> dict[str, dict[str, object]]:
        services = {**model["services"], **changes}
        found = isolate({"services": services}, {}, "r1", copied=str, running=running)["services"]
        return dict(found)

    for running in ([], ["db"]):
        services = made(running)
        assert services["web"]["network_mode"] == services["api"]["network_mode"] == "none"
        assert services["web"]["volumes"] == [data]
        assert "networks" not in services["api"]
    assert "network_mode" not in services["db"]
    assert "network_mode" not in services["job"]
    for running in (["db"], ["job"]):
        with pytest.raises(RequestError, match="job shares a network"):
            made(running, job={"image": "job", "network_mode": "host"})
    with pytest.raises(RequestError, match="web shares a network"):
        made(["web"])
