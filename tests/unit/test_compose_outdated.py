"""Which containers `up` would recreate, as far as Compose says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from quiesce.adapters.compose.outdated import (
    CONFIGURATION,
    IMAGE,
    UNKNOWN,
    outdated,
    read_dry_run,
    same_image,
)
from quiesce.errors import QuiesceError, RequestError

DRY_RUN = """
 DRY-RUN MODE -  Container core-db-1  Running
 DRY-RUN MODE -  Container core-web-1  Recreate
 DRY-RUN MODE -  Container core-new-1  Creating
 DRY-RUN MODE -  Container core-web-1  Recreated
 DRY-RUN MODE -  Container core-new-1  Created
 DRY-RUN MODE -  end of 'compose create' output, interactive run is enabled on following command
"""
INDEX, MANIFEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64


class Compose:
    """Answers the dry run and `config --hash` with what it was given."""

    def __init__(self, dry_run: str | QuiesceError, hashes: str) -> None:
        self.dry_run, self.hashes, self.calls = dry_run, hashes, list[tuple[str, ...]]()

    def run(self, *arguments: str, **_: object) -> SimpleNamespace:
        """Return the output, on stderr as Compose prints its progress."""
        self.calls.append(arguments)
        if arguments[0] == "config":
            return SimpleNamespace(stdout=self.hashes.encode(), stderr=())
        if isinstance(self.dry_run, QuiesceError):
            raise self.dry_run
        return SimpleNamespace(stdout=b"", stderr=tuple(self.dry_run.splitlines()))


def container(service: str, label: str = "as-up-made-it", status: str = "running") -> dict:
    """Return an inspected container of a service."""
    labels = {
        "com.docker.compose.service": service,
        "com.docker.compose.config-hash": label,
    }
    return {
        "Name": f"/core-{service}-1",
        "State": {"Status": status},
        "Image": "sha256:image",
        "Config": {"Image": "app", "Labels": labels},
    }


def asked(compose: Compose, *containers: dict, image: str = "sha256:image") -> dict[str, str]:
    """Return what is outdated among the services `db` and `web`."""
    api = SimpleNamespace(inspect_image=lambda _: {"Id": image})
    connection = cast(Any, SimpleNamespace(api=api))
    return outdated(connection, cast(Any, compose), containers, ["db", "web"])


def test_the_dry_run_is_read():
    """Its words for containers that are there; those that it would create are nobody's loss."""
    assert read_dry_run(DRY_RUN) == {"core-db-1": False, "core-web-1": True}


def test_what_compose_would_keep_is_not_outdated_whatever_its_hashes_are():
    """From 2.22 until 5.5 they differ for each service with `env_file`."""
    compose = Compose(DRY_RUN, "db another\nweb another\n")
    assert asked(compose, container("db"), container("web")) == {"web": CONFIGURATION}


def test_the_image_is_the_reason_where_it_differs():
    """As after a pull or a build."""
    compose = Compose(DRY_RUN, "web as-up-made-it\n")
    assert asked(compose, container("web"), image="sha256:later") == {"web": IMAGE}


@pytest.mark.parametrize("answer", [QuiesceError("docker compose --dry-run exited with 16"), "?"])
def test_where_compose_does_not_say_it_equal_hashes_prove_it_and_others_are_asked_about(answer):
    """A database container is never recreated without a question."""
    compose = Compose(answer, "db as-up-made-it\nweb another\n")
    assert asked(compose, container("db"), container("web")) == {"web": UNKNOWN}


def test_a_container_that_restarts_is_compared_by_its_hash():
    """The dry run says nothing about it."""
    compose = Compose(DRY_RUN, "db as-up-made-it\nweb as-up-made-it\n")
    restarting = container("db", status="restarting")
    assert asked(compose, restarting) == {}
    assert asked(Compose(DRY_RUN.replace("core-db-1", "core-x-1"), "db n\n"), restarting) == {
        "db": UNKNOWN
    }


def test_nothing_is_asked_about_what_does_not_run():
    """And a Compose file that cannot be used is reported."""
    compose = Compose(DRY_RUN, "")
    assert asked(compose, container("web", status="exited"), container("other")) == {}
    assert compose.calls == []
    with pytest.raises(RequestError):
        asked(Compose(RequestError("no plugin"), ""), container("db"))


@pytest.mark.parametrize(
    ("named", "descriptor", "same"),
    [
        (INDEX, None, True),
        (MANIFEST, None, True),
        ("sha256:gone", {"digest": MANIFEST}, True),
        ("sha256:gone", {"digest": "sha256:other"}, False),
        ("sha256:gone", None, False),
    ],
)
def test_an_image_of_the_containerd_store_has_several_ids(named, descriptor, same):
    """Its index, and the manifest of each platform."""
    image = {
        "Id": INDEX,
        "Descriptor": {"digest": INDEX},
        "Manifests": [{"ID": MANIFEST, "Descriptor": {"digest": MANIFEST}}],
    }
    made: dict[str, Any] = {"Image": named, "ImageManifestDescriptor": descriptor}
    assert same_image(made, image) is same
