"""What the end-to-end tests stand on: the example stack on the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout


@pytest.fixture(scope="module")
def core(
    engine: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Checkout]:
    """The example stack, up and migrated; one for all tests of a module.

    A module that says `SMALL_STACK = True` has no frontend and no proxy.
    """
    small = getattr(request.module, "SMALL_STACK", False)
    checkout = Checkout.make(tmp_path_factory.mktemp("stack") / "app", small=small)
    try:
        checkout.succeed("up", "--build")
        checkout.succeed("migrate")
        yield checkout
    finally:
        checkout.destroy()
