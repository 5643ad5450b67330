"""A file that is no set: the handlers take what it says, and compare nothing it does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quiesce.errors import QuiesceError
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.run import Ports, Run
from quiesce.model import (
    ImportedDatabase,
    ImportedVolume,
    ImportSource,
    RestoreSource,
    RowsRecord,
    SequenceRecord,
    rows_record,
)
from quiesce.plan import steps as s
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.rows import RowsTarget
from quiesce.ports import DatabaseContents, Drift, LoadedRows, VolumeSize
from tests.support.builders import RUN, a_database_record, a_set, a_stack, a_world

COUNTER = SequenceRecord("public", "rules_id_seq", "7", is_called=True)
A_FILE = ImportSource(
    "old.tar.gz",
    Path("/run/files"),
    (ImportedDatabase("rulesdb", "rulesdb.sql", ("abc",), (COUNTER,)),),
    (ImportedVolume("backend-media", "media.tgz"),),
)

TARGET = RowsTarget("rulesdb", ("abc",), "head", ())


def a_run(source: RestoreSource, **ports: Any) -> Run:
    """A run that restores this source."""
    sink = SimpleNamespace(warn=lambda _: None)
    given = cast("Ports", SimpleNamespace(sink=sink, **ports))
    return Run(RUN, a_stack(), a_world(), given, {source.name: source})


class Volumes:
    """Unpacks to `size`, and remembers what it was asked to unpack."""

    def __init__(self, size: VolumeSize) -> None:
        self.size = size
        self.asked: list[object] = []

    def check(self, archives: list[Path], most: VolumeSize | None) -> tuple[str, ...]:
        self.asked.append((archives, most))
        return ()

    def stage(self, *asked: object) -> VolumeSize:
        self.asked.append(asked[2:])
        return self.size


def test_a_volume_of_a_file_is_bound_by_the_room_and_compared_with_nothing() -> None:
    """A set's volume has to be what the set recorded."""
    volumes = Volumes(VolumeSize(9, 900))
    run = a_run(A_FILE, volumes=volumes)
    step = s.StageVolume(A_FILE.name, "backend-media", "")
    assert HANDLERS[s.StageVolume](step, run) == "9 files"
    archives, most = [Path("/run/files/media.tgz")], VolumeSize(1 << 62, run.observed.free_bytes)
    assert volumes.asked == [(archives, most), (archives, None, most)]
    backup = a_set()
    with pytest.raises(QuiesceError, match="the set recorded 3 with 400"):
        HANDLERS[s.StageVolume](
            s.StageVolume(backup.name, "backend-media", ""), a_run(backup, volumes=volumes)
        )


def _rows_loaded(source: RestoreSource, contents: DatabaseContents) -> tuple[Run, RowsRecord]:
    given: list[RowsRecord] = []

    def replace_rows(
        database: object,
        name: str,
        record: RowsRecord,
        folder: Path,
        file: str,
        check: Callable[[DatabaseContents], None],
        **_: object,
    ) -> LoadedRows:
        given.append(record)
        assert folder / file == source.path / source.dump_of("rulesdb")
        check(contents)
        return LoadedRows(2, 30)

    databases = SimpleNamespace(drift=lambda *_: Drift(()), replace_rows=replace_rows)
    run = a_run(source, databases=databases)
    file = source.dump_of("rulesdb")
    step = s.ReplaceRows(source.name, "rulesdb", "rulesdb", file, (), force=False, why="")
    HANDLERS[s.ReplaceRows](step, run)
    return run, given[0]


def test_rows_of_a_file_are_counted_and_those_of_a_set_compared() -> None:
    """The counters and the revision that a script sets are compared: it says them."""
    there = DatabaseContents((), (COUNTER,), ("abc",))
    run, record = _rows_loaded(A_FILE, there)
    assert record == RowsRecord("rulesdb", ("abc",), (COUNTER,))
    assert (run.loaded, run.compared) == ({"rulesdb": (2, 30)}, {})
    with pytest.raises(QuiesceError) as failure:
        _rows_loaded(A_FILE, DatabaseContents((), (), ("abc",)))
    assert failure.value.details == ("sequence public.rules_id_seq is missing",)
    recorded = a_database_record("rulesdb")
    same = DatabaseContents(recorded.tables, recorded.sequences, recorded.revision)
    run, record = _rows_loaded(a_set(), same)
    assert record.tables == recorded.tables
    assert (run.loaded, set(run.compared)) == ({}, {"rulesdb"})


def test_a_step_that_goes_by_records_refuses_a_file() -> None:
    """Nothing is made up in their place."""
    step = s.CheckDatabase(A_FILE.name, "rulesdb", "side", "")
    with pytest.raises(QuiesceError, match=r"old\.tar\.gz is not a set and has no records"):
        HANDLERS[s.CheckDatabase](step, a_run(A_FILE))


def test_a_set_says_of_rows_all_that_it_recorded() -> None:
    """No field of the record is forgotten when it is asked for its rows alone."""
    backup = a_set()
    (first, *_) = backup.manifest.databases
    record = rows_record(backup, first.key)
    assert {f.name: getattr(record, f.name) for f in fields(RowsRecord)} == {
        f.name: getattr(first, f.name) for f in fields(RowsRecord)
    }


@pytest.mark.parametrize(
    ("request_", "inputs", "rows_only"),
    [
        (RestoreRequest(), RestoreInputs(), False),
        (RestoreRequest(beside="then"), RestoreInputs(), False),
        (RestoreRequest(), RestoreInputs(rows=(TARGET,)), True),
        (RestoreRequest(in_place=True), RestoreInputs(rows=(TARGET,)), True),
    ],
)
def test_no_step_for_a_file_goes_by_the_records_of_a_set(
    request_: RestoreRequest, inputs: RestoreInputs, rows_only: bool
) -> None:
    """Databases are made like the live ones: a file does not say how its own was made."""
    source = replace(A_FILE, volumes=(), rows_only=rows_only)
    plan = plan_restore(a_stack(), a_world(), source, request_, inputs, RUN, "safety")
    steps = [step for _, step in s.steps_of(plan.nodes)]
    named = {type(step) for step in steps if getattr(step, "set", "") == source.name}
    assert named == {s.ReplaceRows if rows_only else s.LoadScript}
