"""What is thought of a backup that was made: downtime, rest, clean shutdown."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from quiesce.adapters.volumes.pg_control import read_control
from quiesce.errors import QuiesceError
from quiesce.model import BackupSet, ClusterRecord, Downtime
from quiesce.observed import (
    Activity,
    Address,
    ExternalSession,
    Mount,
    Service,
    Unit,
    VolumeState,
    WrittenBetween,
)
from quiesce.plan import outcome
from quiesce.plan.steps import CheckAddresses, CheckStopped
from tests.support.builders import a_set

PSQL = ExternalSession(7, "rulesdb", "alice", "psql")
QUIET = Activity((), (), maintenance=False)
CLUSTER = ClusterRecord("postgres-data", ".", "17", "shut down", False, "1", "0/1")


def _took(seconds: float, **fields: object) -> BackupSet:
    return a_set(downtime_seconds=Downtime(seconds, {"backend": seconds}), **fields)


def test_only_sets_for_which_services_stopped_tell_what_the_next_will_need() -> None:
    """Live, cold, data and idle ones are no measure; the last three of the others are."""
    past = [
        _took(9.0),
        _took(1.0),
        _took(8.0, mode="cold"),
        _took(2.0),
        _took(7.0, kind="data"),
        _took(3.0),
        _took(0.0, services_stopped=()),
    ]
    assert outcome.recent_downtime(past) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("limit", "recent", "warned"),
    [(None, (5.0,), False), (2.0, (), False), (2.0, (1.0, 2.0), False), (2.0, (3.0, 1.0), True)],
)
def test_a_warning_comes_only_where_one_of_the_last_was_over(
    limit: float | None, recent: tuple[float, ...], *, warned: bool
) -> None:
    """And it has both figures."""
    words = outcome.downtime_warning(limit, recent)
    assert bool(words) == warned
    if warned:
        assert "3.0 s" in words
        assert "2 s" in words


WROTE = WrittenBetween(2, ("public.t",))
RESTS = [
    (WrittenBetween(), QUIET, (), ""),
    (WrittenBetween(), replace(QUIET, external_sessions=(PSQL,)), (), ""),
    (WrittenBetween(3), replace(QUIET, external_sessions=(PSQL,)), (), ""),
    (WROTE, QUIET, (), "by a client that has disconnected"),
    (WROTE, None, (), ""),
    (WROTE, replace(QUIET, external_sessions=(PSQL,)), (), "psql (user alice, pid 7)"),
    (WROTE, Activity((PSQL,), ("rulesdb",), maintenance=True), (), "public.t of rulesdb"),
    (WROTE, replace(QUIET, external_sessions=(replace(PSQL, idle=True),)), (), "has disconnected"),
    (WROTE, replace(QUIET, external_sessions=(PSQL,)), ("psql",), ""),
    (WROTE, replace(QUIET, external_sessions=(PSQL,)), ("alice",), ""),
    (WROTE, replace(QUIET, external_sessions=(PSQL,)), ("bob",), "psql"),
]


@pytest.mark.parametrize(("seen", "rest", "ignored", "words"), RESTS)
def test_a_set_shows_one_instant_unless_somebody_unknown_wrote(
    seen: WrittenBetween, rest: Activity | None, ignored: tuple[str, ...], words: str
) -> None:
    """Being connected is no crime, and housekeeping changes no content."""
    found = outcome.inconsistency("rulesdb", seen, rest, ignored)
    assert words in found
    assert bool(found) == bool(words)


def test_what_cannot_be_told_is_said() -> None:
    """Transactions that left no row may have deleted some, or may be the server's own."""
    assert outcome.doubt("rulesdb", WrittenBetween()) == ""
    assert outcome.doubt("rulesdb", WROTE) == ""
    assert "3 transactions" in outcome.doubt("rulesdb", WrittenBetween(3))
    assert "public.t" in outcome.doubt("rulesdb", WrittenBetween(3, (), ("public.t",)))


STEP = CheckStopped("s", ("worker",), ("media",), ("proxy", "known"), "why")
RUNNING = Unit("x", "1", "x-1", "running", "none")


def _service(name: str, *, runs: bool = True, volume: str = "", writable: bool = True) -> Service:
    unit = RUNNING if runs else replace(RUNNING, state="exited")
    mounts = (Mount(volume, "v", "/x", writable=writable),) if volume else ()
    return Service(name, (), mounts, (unit,), "image", has_health=False)


AWAKE = [
    (_service("worker"), ("worker",)),
    (_service("worker", runs=False), ()),
    (_service("new", volume="media"), ("new",)),
    (_service("new", volume="media", runs=False), ()),
    (_service("new", volume="other"), ()),
    (_service("reader", volume="media", writable=False), ()),
    (_service("proxy", volume="media"), ()),
]


@pytest.mark.parametrize(("service", "expected"), AWAKE)
def test_who_runs_in_the_window_counts_when_it_may_write(
    service: Service, expected: tuple[str, ...]
) -> None:
    """What was derived before the window, and whoever came since."""
    assert outcome.running_writers((service,), (), (), STEP) == expected
    assert bool(outcome.writers_words(expected)) == bool(expected)


def test_a_container_of_somebody_else_counts_when_it_runs_and_may_write() -> None:
    """Unless `writers.ignore` names it; using another volume is nothing to us."""
    state = VolumeState("media", "m", True, "local", {}, None, ("a", "known", "reader"))
    mine = replace(state, outside_writers=("a", "known"))
    assert outcome.running_writers((), (mine, replace(mine, key="other")), (), STEP) == ("a",)
    assert outcome.running_writers((), (replace(mine, key="other"),), (), STEP) == ()


def test_who_came_and_went_counts_once_and_unless_it_is_ignored() -> None:
    """Known from the engine; a service that still runs is not named twice."""
    assert outcome.running_writers((), (), ("gone", "known"), STEP) == ("gone",)
    assert outcome.running_writers((_service("worker"),), (), ("worker", "gone"), STEP) == (
        "worker",
        "gone",
    )


SHUTDOWNS = [
    (0, (CLUSTER,), ""),
    (None, (CLUSTER,), ""),
    (137, (CLUSTER,), "had to be killed"),
    (1, (CLUSTER,), "did not exit cleanly"),
    (0, (), "no PostgreSQL data directory"),
    (0, (replace(CLUSTER, state="in production"),), "in production"),
    (0, (replace(CLUSTER, state="shut down in recovery"),), "shut down in recovery"),
    (0, (replace(CLUSTER, open=True),), "postmaster.pid"),
    (0, (CLUSTER, replace(CLUSTER, state="in production")), "in production"),
]


@pytest.mark.parametrize(("code", "clusters", "words"), SHUTDOWNS)
def test_only_a_server_that_ended_by_itself_is_copied(
    code: int | None, clusters: tuple[ClusterRecord, ...], words: str
) -> None:
    """Exit code and control file both have to say so."""
    found = outcome.unclean_shutdown("db", code, clusters)
    assert words in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8192,
        b"x" * 8192,
        struct.pack("=QIIi4xqQ", 1, 1700, 1, 7, 0, 0),
        struct.pack("=QIIi4xqQ", 1, 1700, 1, -1, 0, 0),
    ],
)
def test_what_is_no_control_file_is_refused(content: bytes) -> None:
    """Rather no cold set than one whose state was guessed."""
    with pytest.raises(QuiesceError, match="is not a PostgreSQL control file"):
        read_control(content, "global/pg_control")


def _at(service: str, ip: str, *, started: int = 0) -> Unit:
    begun = datetime(2026, 11, 27, 3, started, tzinfo=UTC)
    where = (Address("app_default", ip),)
    return Unit(
        service, f"id-{started}", service, "running", "none", started_at=begun, addresses=where
    )


def _seen(*units: Unit) -> list[Service]:
    return [Service(u.service, (), (), (u,), "image", has_health=False) for u in units]


def test_an_address_that_changed_is_told_with_who_may_keep_it() -> None:
    """Who was started since has asked anew, and an address that stayed is no news."""
    step = CheckAddresses((_at("backend", "172.18.0.3"),), (_at("front", "172.18.0.2"),), "")
    back, ran_on = _at("backend", "172.18.0.4", started=1), _at("front", "172.18.0.2")
    (told,) = outcome.moved_addresses(step, _seen(back, ran_on))
    assert "changed from 172.18.0.3 to 172.18.0.4" in told
    assert "inv restart --service front" in told
    assert outcome.moved_addresses(step, _seen(back, _at("front", "172.18.0.5", started=2))) == ()
    assert (
        outcome.moved_addresses(step, _seen(_at("backend", "172.18.0.3", started=1), ran_on)) == ()
    )
    assert outcome.moved_addresses(step, _seen(ran_on)) == ()
