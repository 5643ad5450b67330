"""Which images a helper may use while no container of the project exists."""

from __future__ import annotations

from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound

from quiesce.adapters.compose.inventory import images_there
from quiesce.adapters.compose.model import ComposeModel, parse_model
from quiesce.errors import QuiesceError

MODEL = parse_model(
    {"services": {n: {"image": f"{n}:1"} for n in ("web", "db", "gone")}}, ("web",), ()
)


class Engine:
    """An engine with two images."""

    @property
    def api(self) -> Any:
        """The SDK's client."""
        return self

    def inspect_image(self, name: str) -> dict[str, str]:
        """What the SDK does."""
        if name.startswith("gone"):
            raise ImageNotFound("no such image")
        return {"Id": f"sha256:{name}"}


class Broken(Engine):
    """One that has trouble."""

    def inspect_image(self, name: str) -> dict[str, str]:
        """Fail."""
        raise APIError(f"{name}: disk full")


def there(engine: Engine, model: ComposeModel | None, *containers: str) -> tuple[str, ...]:
    """The images of these containers, or of the model's services."""
    made = [{"Image": image} for image in containers]
    return images_there(engine, made, lambda: model)  # type: ignore[arg-type]


def test_the_images_of_services_that_are_there() -> None:
    """A restore on an empty machine, and the copy of a verification, have no container yet."""
    assert there(Engine(), MODEL) == ("sha256:web:1", "sha256:db:1")
    assert there(Engine(), None) == ()


def test_containers_know_their_images_themselves() -> None:
    """Each once, and no service is asked about."""
    assert there(Broken(), MODEL, "sha256:b", "sha256:a", "sha256:b") == ("sha256:b", "sha256:a")


def test_an_engine_in_trouble_is_not_one_without_images() -> None:
    """Its error is reported."""
    with pytest.raises(QuiesceError, match="image web:1 cannot be inspected"):
        there(Broken(), MODEL)
