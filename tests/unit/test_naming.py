"""Names of runs, sets and side databases."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quiesce.errors import RequestError
from quiesce.plan import naming

BERLIN = ZoneInfo("Europe/Berlin")
RUN = "20261121020000-abc123"


def test_two_sets_in_one_second_get_different_names() -> None:
    """Nothing is ever overwritten by a name."""
    now = datetime(2026, 11, 21, 2, 0, tzinfo=BERLIN)
    first = naming.set_name("core", now, ())
    second = naming.set_name("core", now, {first})
    third = naming.set_name("core", now, {first, second})
    assert (first, second, third) == (
        "core-20261121-020000",
        "core-20261121-020000-2",
        "core-20261121-020000-3",
    )
    assert naming.set_name("core", now, {first}, "safety") == "core-20261121-020000-safety"


def test_the_repeated_hour_of_a_clock_change_loses_nothing() -> None:
    """02:30 comes twice on 25 October 2026 in Berlin."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=0)
    again = (first.astimezone(ZoneInfo("UTC")) + timedelta(hours=1)).astimezone(BERLIN)
    name = naming.set_name("core", first, ())
    assert naming.set_name("core", again, {name}) == f"{name}-2"


@example("x" * 51 + "__new_abc123")
@given(st.text(min_size=1, max_size=80).filter(lambda text: len(text.encode()) <= 63))
def test_a_side_name_fits_in_63_bytes_and_never_is_the_live_one(live: str) -> None:
    """PostgreSQL would cut a longer one silently, down to the live name."""
    name = naming.staging_database(live, RUN, "new", ())
    assert len(name.encode()) <= 63
    assert name != live
    assert name.endswith("__new_abc123")


def test_a_side_name_that_is_taken_is_refused() -> None:
    """Somebody else's database is not ours to fill."""
    with pytest.raises(RequestError, match="exists already"):
        naming.staging_database("rulesdb", RUN, "new", {"rulesdb__new_abc123"})


def test_names_that_are_alike_as_far_as_they_are_kept_get_names_of_their_own() -> None:
    """Two databases of one run, exchanged together."""
    live = "n" * 62
    first = naming.staging_database(f"{live}1", RUN, "new", ())
    second = naming.staging_database(f"{live}2", RUN, "new", {first})
    third = naming.staging_database("ü" * 31, RUN, "new", ())
    assert first != second
    assert second == naming.staging_database(f"{live}2", RUN, "new", {first})
    for name in (first, second, third):
        assert len(name.encode()) <= 63
        assert name.endswith("__new_abc123")


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("ProdDB", "ProdDB"),
        ("shop.prod", "shop.prod"),
        ("-U", "dbname='-U'"),
        ("a=b", "dbname='a=b'"),
        ("postgresql://x/y", "dbname='postgresql://x/y'"),
        ("it's \\ 100%", "dbname='it\\'s \\\\ 100%'"),
    ],
)
def test_a_name_is_never_read_as_a_connection_string(name: str, argument: str) -> None:
    """Psql takes what has an equals sign for one, and connects elsewhere."""
    assert naming.connection_name(name) == argument
