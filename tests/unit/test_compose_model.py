"""What is read out of `docker compose config --format json`."""

from __future__ import annotations

from pathlib import Path

import pytest

from quiesce.adapters.compose.model import (
    ComposeModel,
    declaration_order,
    dependencies_of,
    mounts_of,
    parse_model,
)
from quiesce.errors import RequestError
from quiesce.observed import Dependency, Mount


def model(services: dict, volumes: dict | None = None, order=(), profiles=()) -> ComposeModel:
    """Return the model of these services and volumes."""
    config = {"name": "app", "services": services, "volumes": volumes or {}}
    return parse_model(config, order, profiles)


def test_conditions_become_ours():
    """The three conditions of Compose; one it may add later counts as started."""
    service = {
        "depends_on": {
            "a": {"condition": "service_started"},
            "b": {"condition": "service_healthy"},
            "c": {"condition": "service_completed_successfully"},
            "d": {"condition": "service_enchanted"},
        }
    }
    assert dependencies_of(service) == (
        Dependency("a", "started"),
        Dependency("b", "healthy"),
        Dependency("c", "completed"),
        Dependency("d", "started"),
    )


@pytest.mark.parametrize(
    "service",
    [
        {"network_mode": "service:vpn"},
        {"ipc": "service:vpn"},
        {"pid": "service:vpn"},
        {"links": ["vpn:gateway"]},
        {"links": ["vpn"]},
        {"volumes_from": ["vpn:ro"]},
    ],
    ids=["network", "ipc", "pid", "link with alias", "link", "volumes"],
)
def test_sharing_anothers_parts_is_a_dependency(service: dict):
    """Started before its owner, a sharer holds on to what is gone."""
    assert dependencies_of(service) == (Dependency("vpn", "started"),)


def test_a_declared_condition_is_not_weakened_by_sharing():
    """`depends_on: healthy` stays, although the network is shared too."""
    service = {
        "network_mode": "service:vpn",
        "depends_on": {"vpn": {"condition": "service_healthy"}},
    }
    assert dependencies_of(service) == (Dependency("vpn", "healthy"),)


def test_host_network_and_foreign_containers_are_no_dependency():
    """Only services are ordered."""
    service = {"network_mode": "host", "pid": "host", "volumes_from": ["container:old:ro"]}
    assert dependencies_of(service) == ()


def test_volumes_folders_and_anonymous_volumes_are_mounts():
    """A tmpfs holds nothing to keep, so it is none."""
    services = {
        "web": {
            "volumes": [
                {"type": "volume", "source": "data", "target": "/data"},
                {"type": "bind", "source": "/srv/conf", "target": "/conf", "read_only": True},
                {"type": "volume", "target": "/anonymous"},
                {"type": "tmpfs", "target": "/tmp"},
            ]
        }
    }
    assert mounts_of("web", services) == (
        Mount("data", "data", "/data", True),
        Mount(None, "/srv/conf", "/conf", False),
        Mount(None, "", "/anonymous", True),
    )


def test_volumes_taken_over_from_another_service_are_mounts_too():
    """Also through a third one, never more writable than any hand they went through."""
    services = {
        "a": {"volumes": [{"type": "volume", "source": "data", "target": "/data"}]},
        "b": {"volumes_from": ["a:ro"]},
        "c": {"volumes_from": ["b"]},
    }
    assert mounts_of("c", services) == (Mount("data", "data", "/data", False),)


def test_services_that_take_each_others_volumes_do_not_loop():
    """Compose refuses this; reading it must still end."""
    services = {"a": {"volumes_from": ["b"]}, "b": {"volumes_from": ["a"]}}
    assert mounts_of("a", services) == ()


def test_services_follow_their_declaration_and_then_their_names():
    """One that came in by `include` is not in the files looked at."""
    found = model({"zeta": {}, "included": {}, "alpha": {}, "beta": {}}, order=("zeta", "alpha"))
    assert [service.name for service in found.services] == ["zeta", "alpha", "beta", "included"]


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (None, False),
        ({"test": ["CMD", "true"]}, True),
        ({"test": ["NONE"]}, False),
        ({"test": ["CMD", "true"], "disable": True}, False),
        ({"interval": "5s"}, False),
    ],
)
def test_a_health_check_is_one_that_tests_something(check, expected: bool):
    """`NONE` and `disable` switch off what the image has."""
    assert model({"web": {"healthcheck": check}}).services[0].has_health is expected


@pytest.mark.parametrize(
    ("wanted", "chosen", "expected"),
    [
        ([], [], True),
        (["debug"], [], False),
        (["debug"], ["debug"], True),
        (["debug"], ["*"], True),
        (["a", "b"], ["b", "c"], True),
    ],
)
def test_profiles_decide_what_is_active(wanted, chosen, expected: bool):
    """As Compose decides it, `*` included."""
    assert model({"web": {"profiles": wanted}}, profiles=chosen).services[0].active is expected


def test_volumes_have_real_names_drivers_and_options():
    """What Compose leaves out is what it would take itself."""
    found = model(
        {},
        {
            "data": {"name": "core-data"},
            "memory": {"driver_opts": {"type": "tmpfs", "size": 5}},
            "other": {"name": "shared", "external": True, "driver": "nfs"},
            "bare": None,
        },
    ).volumes
    assert (found["data"].name, found["data"].driver, found["data"].external) == (
        "core-data",
        "local",
        False,
    )
    assert found["memory"].options == {"type": "tmpfs", "size": "5"}
    assert (found["other"].external, found["other"].driver) == (True, "nfs")
    assert found["bare"].name == "app_bare"


def test_a_mistyped_volume_is_answered_with_the_nearest():
    """The hint can be followed."""
    with pytest.raises(RequestError, match="no volume backend-medai") as caught:
        model({}, {"backend-media": {}, "redis": {}}).volume("backend-medai")
    assert caught.value.hint == "did you mean 'backend-media'?"


def test_a_volume_unlike_any_is_answered_with_all():
    """And with how to declare one where there is none."""
    with pytest.raises(RequestError) as caught:
        model({}, {"a": {}, "b": {}}).volume("postgres")
    assert caught.value.hint == "known: a, b"


def test_completing_services_are_those_whose_end_others_wait_for():
    """Only for them is ending with 0 as good as running."""
    wants = {"depends_on": {"job": {"condition": "service_completed_successfully"}}}
    assert model({"web": wants, "job": {}}).completing == {"job"}


def test_a_selection_is_closed_when_it_holds_all_it_needs():
    """Otherwise Compose takes the missing needs out of the configuration."""
    found = model({"web": {"depends_on": {"db": {}}}, "db": {}, "other": {}})
    assert found.is_closed(["web", "db"])
    assert found.is_closed(["other"])
    assert not found.is_closed(["web"])


@pytest.mark.parametrize(
    ("required", "replicas", "closed"), [(True, 0, False), (False, 0, True), (False, 1, False)]
)
def test_an_optional_dependency_without_containers_is_not_needed(required, replicas, closed):
    """Compose leaves it out; without `--no-deps`, its hash of the container stays the same."""
    need = {"idle": {"condition": "service_started", "required": required}}
    found = model({"idle": {"deploy": {"replicas": replicas}}, "web": {"depends_on": need}})
    assert found.is_closed(["web"]) is closed


def test_declaration_order_reads_keys_only(tmp_path: Path):
    """Interpolation, tags and later files do not matter; a file that is none adds nothing."""
    first, second = tmp_path / "a.yml", tmp_path / "b.yml"
    first.write_text("services:\n  zeta: !reset null\n  alpha:\n    image: ${NO:?such}\n")
    second.write_text("services: {alpha: {}, beta: {}}\nvolumes: {x: {}}\n")
    (tmp_path / "broken.yml").write_text("services: [")
    files = [first, tmp_path / "broken.yml", second, tmp_path / "missing.yml"]
    assert declaration_order(files) == ("zeta", "alpha", "beta")


@pytest.mark.parametrize("none", [{"deploy": {"replicas": 0}}, {"scale": 0}])
def test_a_service_without_replicas_is_not_active(none: dict):
    """Compose makes no container of it, so nothing waits for one."""
    found = model({"idle": none, "web": {"deploy": {"replicas": 2}, "scale": 2}})
    assert [service.active for service in found.services] == [False, True]
