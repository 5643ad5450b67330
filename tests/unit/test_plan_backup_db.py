"""Single files of databases: which, under which names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from quiesce.errors import RequestError
from quiesce.model import Recipients, Stack
from quiesce.plan import steps as s
from quiesce.plan.backup_db import BackupDbRequest, plan_backup_db
from tests.support.builders import RUN, a_stack, a_world

NOW = datetime(2026, 11, 21, 2, 3, 4, tzinfo=UTC)


def plan_of(
    request: BackupDbRequest, stack: Stack | None = None, taken: Collection[str] = ()
) -> s.Plan:
    """The plan of the example stack's only instance."""
    return plan_backup_db(stack or a_stack(), a_world(), request, RUN, NOW, taken)


def files(plan: s.Plan) -> list[str]:
    """The files that are written, in order."""
    return [step.file for _, step in s.steps_of(plan.nodes) if isinstance(step, s.WriteScript)]


def test_every_snapshot_is_held_before_the_first_file_and_released_whatever_happens() -> None:
    """So the files of all databases show nearly the same moment."""
    (bracket,) = plan_of(BackupDbRequest()).nodes
    kinds = [type(step).__name__ for step in bracket.body]
    assert kinds == ["ExportSnapshot"] * 2 + ["WriteScript"] * 2
    ends = [type(step).__name__ for step in bracket.always]
    assert ends == ["ReleaseSnapshot"] * 2 + ["DiscardStaging"]
    assert [step.database for step in bracket.always[:2]] == ["rulesdb", "memorydb"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "memorydb-20261121-020304.sql"),
        ({"kind": "data"}, "memorydb-data-20261121-020304.sql"),
        ({"kind": "schema", "compress": True}, "memorydb-schema-20261121-020304.sql.zst"),
    ],
)
def test_a_name_says_what_is_in_the_file(fields: dict[str, object], name: str) -> None:
    """And a second one of the same second has a number."""
    stack = a_stack()
    other = replace(stack, is_default=False)
    request = BackupDbRequest(("memorydb",), **fields)  # type: ignore[arg-type]
    assert files(plan_of(request, stack)) == [name]
    assert files(plan_of(request, other)) == [f"core-{name}"]
    stem, _, ending = name.partition(".")
    taken = {name, f"{stem}-2.{ending}"}
    assert files(plan_of(request, stack, taken)) == [f"{stem}-3.{ending}"]


def test_an_encrypted_file_says_how() -> None:
    """Its ending is what age and gpg expect."""
    stack = replace(a_stack(), recipients=Recipients(age=("age1x",)))
    (name,) = files(plan_of(BackupDbRequest(("rulesdb",), compress=True), stack))
    assert name == "rulesdb-20261121-020304.sql.zst.age"


def test_a_database_that_is_not_there_is_refused() -> None:
    """Before anything is held."""
    with pytest.raises(RequestError, match="no database rules"):
        plan_of(BackupDbRequest(("memorydb", "rules")), a_stack())
    with pytest.raises(RequestError, match="no database to back up"):
        plan_of(BackupDbRequest(), replace(a_stack(), databases=()))
