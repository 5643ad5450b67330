"""What a restore refuses before anything is touched."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest

from quiesce import menu
from quiesce.commands.restore_preparation import check_request
from quiesce.errors import RequestError
from quiesce.model import ImportedDatabase, ImportSource, RestoreSource
from quiesce.observed import Observed
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest, choose, rows_alone
from tests.support.builders import RUN, a_cold_set, a_set, a_stack, a_world

A_FILE = ImportSource("x.sql", Path("/run/files"), (ImportedDatabase("rulesdb", "x.sql"),))


def _shared(key: str) -> Observed:
    world = a_world()
    volumes = (
        replace(state, outside=("stranger",)) if state.key == key else state
        for state in world.volumes
    )
    return replace(world, volumes=tuple(volumes))


def test_a_volume_that_a_stranger_uses_is_not_exchanged() -> None:
    """It would work on half of the old and half of the new; other volumes may come back."""
    world = _shared("backend-media")
    with pytest.raises(RequestError, match="used by stranger") as failure:
        plan_restore(a_stack(), world, a_set(), RestoreRequest(), RestoreInputs(), RUN, "safety")
    assert "--only" in failure.value.hint
    others = RestoreRequest(only=("redis-data",))
    assert plan_restore(a_stack(), world, a_set(), others, RestoreInputs(), RUN, "safety").nodes


def test_a_new_name_is_for_one_database_and_is_free() -> None:
    """`--as` replaces nothing."""
    for request, taken in (
        (RestoreRequest(beside="then"), ()),
        (RestoreRequest(only=("rulesdb",), beside="rulesdb"), ()),
        (RestoreRequest(only=("rulesdb",), beside="then"), ("then",)),
        (RestoreRequest(only=("rulesdb",), beside="x" * 64), ()),
        (RestoreRequest(only=("rulesdb",), beside=" then"), ()),
    ):
        inputs = RestoreInputs(taken=taken)
        with pytest.raises(RequestError):
            plan_restore(a_stack(), a_world(), a_set(), request, inputs, RUN, "safety")


@pytest.mark.parametrize(
    ("request_", "fact"),
    [
        (RestoreRequest(path="a"), "needs exactly one volume"),
        (
            RestoreRequest(only=("backend-media", "redis-data"), path="a"),
            "needs exactly one volume",
        ),
        (
            RestoreRequest(only=("rulesdb", "backend-media"), path="a"),
            "needs exactly one volume",
        ),
        (RestoreRequest(only=("backend-media",), path="../a"), "is not a valid path in a volume"),
        (RestoreRequest(only=("backend-media",), path="/etc"), "is not a valid path in a volume"),
        (RestoreRequest(only=("backend-media",), path="a//b"), "is not a valid path in a volume"),
        (RestoreRequest(only=("backend-media",), path="a\nb"), "is not a valid path in a volume"),
        (
            RestoreRequest(only=("backend-media",), path=".quiesce-20260101000000-0001/old"),
            "is not a valid path in a volume",
        ),
    ],
)
def test_a_piece_is_of_one_volume_and_inside_of_it(request_: RestoreRequest, fact: str) -> None:
    """A path from a command line leads nowhere else."""
    with pytest.raises(RequestError, match=fact):
        plan_restore(a_stack(), a_world(), a_set(), request_, RestoreInputs(), RUN, "safety")


def test_a_piece_needs_a_volume_that_is_there_and_no_server_s() -> None:
    """Half of a data directory is worse than none."""
    request = RestoreRequest(only=("backend-media",), path="a")
    gone = a_world(missing_volumes=("backend-media",))
    with pytest.raises(RequestError, match="does not exist"):
        plan_restore(a_stack(), gone, a_set(), request, RestoreInputs(), RUN, "safety")
    cold = a_cold_set()
    (cluster,) = cold.manifest.clusters
    request = RestoreRequest(only=(cluster.volume,), path="base")
    with pytest.raises(RequestError, match="only be restored as a whole"):
        plan_restore(a_stack(), a_world(), cold, request, RestoreInputs(), RUN, "safety")


def test_a_request_holds_what_a_person_asks_and_nothing_else() -> None:
    """What the command finds out for the planner is in RestoreInputs."""
    tree = ast.parse(Path(menu.__file__).with_name("restore.py").read_text())
    asked: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "RestoreRequest":
            asked |= {keyword.arg or "" for keyword in node.keywords}
            asked |= {field.name for field in fields(RestoreRequest)[: len(node.args)]}
    assert {field.name for field in fields(RestoreRequest)} == asked


def test_a_source_of_rows_alone_is_restored_as_such_without_being_asked() -> None:
    """The request stays as it was asked: the source says the rest."""
    data = a_set(kind="data")
    assert rows_alone(data, RestoreRequest())
    assert not rows_alone(a_set(), RestoreRequest())
    assert rows_alone(a_set(), RestoreRequest(data_only=True))
    assert choose(a_stack(), data, RestoreRequest()).volumes == ()


@pytest.mark.parametrize(
    ("source", "request_", "fact"),
    [
        (a_set(kind="schema"), RestoreRequest(), "contains no rows"),
        (a_set(), RestoreRequest(in_place=True), "--in-place applies only when rows"),
        (a_set(), RestoreRequest(assume_revision="a"), "--assume-revision applies only when rows"),
        (a_set(kind="data"), RestoreRequest(beside="then"), "--as restores whole databases"),
        (a_set(databases=()), RestoreRequest(data_only=True), "contains no database"),
        (A_FILE, RestoreRequest(in_place=True), "--in-place applies only when rows"),
        (replace(A_FILE, rows_only=True), RestoreRequest(beside="x"), "--as restores whole"),
    ],
)
def test_options_that_do_not_fit_the_source_are_refused(
    source: RestoreSource, request_: RestoreRequest, fact: str
) -> None:
    """Before anything is planned."""
    with pytest.raises(RequestError, match=fact) as failure:
        check_request(source, request_)
    assert failure.value.hint


@pytest.mark.parametrize(
    ("source", "request_"),
    [
        (a_set(kind="data"), RestoreRequest(in_place=True, accept_lossy=True)),
        (A_FILE, RestoreRequest(assume_revision="a", beside="then")),
        (replace(A_FILE, rows_only=True), RestoreRequest(in_place=True, assume_revision="a")),
    ],
)
def test_options_that_fit_the_source_are_not(
    source: RestoreSource, request_: RestoreRequest
) -> None:
    """Rows alone need no --data-only where the source has nothing else."""
    check_request(source, request_)
