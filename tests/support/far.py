"""An engine on another machine, as far as one machine can play two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.engine import Unavailable
from tests.engine.second import SecondEngine, second_engine


@contextmanager
def far_engine(images: Sequence[str], *, only: bool = False) -> Iterator[SecondEngine]:
    """An engine far away with these images; skips where it cannot be had.

    With `only`, everything that is started meanwhile knows no other engine.
    """
    try:
        with second_engine(images) as engine, pytest.MonkeyPatch.context() as patch:
            if only:
                patch.setenv("DOCKER_HOST", engine.host)
            yield engine
    except Unavailable as reason:
        pytest.skip(str(reason))
