"""Plans and manifests as JSON, and back."""

from __future__ import annotations

import json

import pytest

from quiesce.codec import NotDecodable, decode, encode
from quiesce.model import Manifest
from quiesce.plan import steps
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.steps import Plan
from tests.support.builders import RUN, a_set, a_stack, a_world


@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_a_plan_survives_json_unchanged(verb: str) -> None:
    """What the journal holds is what a recovery works with."""
    plan = (
        plan_backup(a_stack(), a_world(), BackupRequest(), RUN, "core-1")
        if verb == "backup"
        else plan_restore(
            a_stack(), a_world(), a_set(), RestoreRequest(), RestoreInputs(), RUN, "core-1-safety"
        )
    )
    assert decode(Plan, json.loads(json.dumps(encode(plan)))) == plan


def test_a_manifest_survives_json_unchanged() -> None:
    """And so does a set."""
    manifest = a_set().manifest
    assert decode(Manifest, json.loads(json.dumps(encode(manifest)))) == manifest


def test_no_plan_ever_holds_a_secret() -> None:
    """Plans are printed and journalled; the password of the example is nowhere in one."""
    plan = plan_backup(a_stack(), a_world(), BackupRequest(), RUN, "core-1")
    assert "s3cret" not in json.dumps(encode(plan))
    assert "s3cret" not in repr(a_stack())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "1"}, "/format: expected int"),
        ({"mode": "hot"}, "/mode: 'hot' is not one of"),
        ({"created_at": "yesterday"}, "/created_at: "),
        ({"members": {}}, "/members: expected list"),
        ({"pinned": 1}, "/pinned: expected bool"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(change: dict[str, object], message: str) -> None:
    """A damaged manifest is an error a person can read, not a traceback."""
    raw = {**encode(a_set().manifest), **change}
    with pytest.raises(NotDecodable) as caught:
        decode(Manifest, raw)
    assert str(caught.value).startswith(message)


def test_unknown_keys_are_ignored_and_missing_ones_are_not() -> None:
    """A newer program may add, an older set may not lack."""
    raw = encode(a_set().manifest)
    assert decode(Manifest, {**raw, "new": 1}) == a_set().manifest
    del raw["kind"]
    with pytest.raises(NotDecodable, match="kind is missing"):
        decode(Manifest, raw)


def test_an_unknown_step_is_refused() -> None:
    """A journal of another version is not half understood."""
    with pytest.raises(NotDecodable, match="unknown step 'Explode'"):
        decode(steps.Node, {"step": "Explode"})
