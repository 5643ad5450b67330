"""What a container has mounted, besides what its service declares."""

from __future__ import annotations

from typing import Any

from quiesce.adapters.compose.inventory import services_of
from quiesce.adapters.compose.model import parse_model
from quiesce.observed import Mount

MODEL = parse_model(
    {
        "name": "app",
        "services": {
            "web": {
                "image": "web:1",
                "volumes": [
                    {"type": "volume", "source": "data", "target": "/data"},
                    {"type": "volume", "target": "/state"},
                ],
            }
        },
        "volumes": {"data": {"name": "app_data"}},
    },
    ("web",),
    (),
)


def a_container(*mounts: tuple[str, str]) -> Any:
    """An inspected container of `web` with these volumes (name and path)."""
    return {
        "Id": "1",
        "Name": "/app-web-1",
        "Image": "sha256:1",
        "Config": {"Labels": {"com.docker.compose.service": "web"}},
        "HostConfig": {},
        "NetworkSettings": {},
        "State": {"Status": "created", "ExitCode": 0},
        "Mounts": [
            {"Type": "volume", "Name": name, "Destination": target, "Source": f"/volumes/{name}"}
            for name, target in mounts
        ],
    }


def test_an_anonymous_volume_has_the_name_that_its_container_gave_it() -> None:
    """Whether the Compose file declares it or the image does; with its folder on the engine."""
    mounted = ("app_data", "/data"), ("aaa", "/state"), ("bbb", "/of-the-image")
    (web,) = services_of(MODEL, [a_container(*mounted)])
    assert web.mounts == (
        Mount("data", "data", "/data", writable=True),
        Mount(None, "aaa", "/state", writable=True, mountpoint="/volumes/aaa"),
        Mount(None, "bbb", "/of-the-image", writable=True, mountpoint="/volumes/bbb"),
    )


def test_without_a_container_it_has_no_name() -> None:
    """Then there is no volume either."""
    (web,) = services_of(MODEL, [])
    assert web.mounts[1] == Mount(None, "", "/state", writable=True)
