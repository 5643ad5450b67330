"""Steps of volumes: archive, stage, exchange."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from quiesce.errors import QuiesceError
from quiesce.execute.draft import Draft
from quiesce.execute.handlers.registry import handles
from quiesce.execute.handlers.safety import require_kept
from quiesce.execute.run import Run
from quiesce.execute.unpacking import most_unpacked
from quiesce.model import ImportedVolume, SqliteRecord, VolumeRecord
from quiesce.plan import sqlite
from quiesce.plan import steps as s
from quiesce.ports import VolumeSize


@handles(s.ArchiveVolume)
def archive(step: s.ArchiveVolume, run: Run) -> str:
    """Archive one level. What level 0 prepared is kept until level 1 is done or the run ends."""
    draft = run.drafts[step.set]
    state = run.observed.volume(step.volume)
    if step.level == 0 and not step.copy:
        run.ports.volumes.begin(state)
    record = run.ports.volumes.archive(
        state,
        step.level,
        draft.directory,
        step.file,
        run.stack.volume(step.volume).exclude,
        run.ports.sink.progress,
        copy=step.copy,
    )
    for remark in run.ports.volumes.remarks(state):
        run.ports.sink.warn(f"{step.noun} {step.volume}: {remark}")
    draft.volumes[step.volume] = record
    return f"{record.files} files"


@handles(s.CopySqlite)
def copy_sqlite(step: s.CopySqlite, run: Run) -> str:
    """Add the copies to the set, and warn of each database that stays as it was archived."""
    draft = run.drafts[step.set]
    for key in step.volumes:
        volume, record = run.stack.volume(key), draft.volumes[key]
        copies = run.ports.volumes.copy_sqlite(
            run.observed.volume(key),
            record,
            draft.directory,
            volume.stem,
            volume.exclude,
            run.ports.sink.progress,
        )
        draft.volumes[key], draft.copies[key] = copies.record, copies
    return f"{sum(len(one.copied) for one in draft.copies.values())} copied"


@handles(s.CheckSqlite)
def check_sqlite(step: s.CheckSqlite, run: Run) -> str:
    """Check copies from the archives, and warn of each that is damaged or cannot be checked."""
    draft, volumes = run.drafts[step.set], run.ports.volumes
    every: list[SqliteRecord] = []
    for key in step.volumes:
        record = draft.volumes[key]
        archives = [draft.directory / file for file in record.levels]
        gone = draft.directory / record.gone if record.gone else None
        found = volumes.sqlite(archives, gone, run.ports.sink.progress)
        copied = draft.copies[key].copied if key in draft.copies else ()
        plain = tuple(one for one in found if one.file not in copied)
        plain = sqlite.without_excluded_parts(plain, run.stack.volume(key).exclude)
        if draft.opened.mode == "live":
            _warn_of_plain(run, key, draft, plain)
            plain = tuple(map(_copied_while_written, plain))
        judged = {one.file: one for one in plain}
        found = tuple(judged.get(one.file, one) for one in found)
        for one in found:
            for fact in (*one.problems[:1], *filter(None, [one.unchecked])):
                run.ports.sink.warn(
                    f"{run.stack.volume(key).noun} {key}: SQLite {one.file}: {fact}"
                )
        draft.volumes[key] = replace(record, sqlite=found)
        every += found
    return sqlite.summary(every)


def _warn_of_plain(run: Run, key: str, draft: Draft, plain: Iterable[SqliteRecord]) -> None:
    reasons = draft.copies[key].as_they_were if key in draft.copies else dict[str, str]()
    for one in plain:
        why = f" ({reasons[one.file]})" if one.file in reasons else ""
        run.ports.sink.warn(
            f"{run.stack.volume(key).noun} {key}: SQLite {one.file} was copied as a file while "
            f"services ran, not through SQLite{why}; Quiesce only checks the archived copy"
        )


def _copied_while_written(found: SqliteRecord) -> SqliteRecord:
    """A copy of a database that is written to may be damaged although the database is not."""
    if not found.problems:
        return found
    said = f"copied while services ran: {found.problems[0]}"
    return replace(found, problems=(), unchecked=said)


@handles(s.CreateVolume)
def create(step: s.CreateVolume, run: Run) -> str:
    run.ports.volumes.create(run.observed.volume(step.volume))
    run.observed = run.observed.with_volumes(run.ports.runtime.volumes(run.stack.volumes))
    return ""


@handles(s.StageVolume)
def stage(step: s.StageVolume, run: Run) -> str:
    source = run.sources[step.set]
    record = source.volume(step.volume)
    if isinstance(record, ImportedVolume):
        archives, gone = [source.path / record.file], None
    else:
        archives = [source.path / file for file in record.levels]
        gone = source.path / record.gone if record.gone else None
    most = most_unpacked(record, run.observed.free_bytes if run.observed.engine.local else None)
    _refuse_unsafe(step.noun, step.volume, run.ports.volumes.check(archives, most))
    if isinstance(record, VolumeRecord) and record.sqlite:
        found = run.ports.volumes.sqlite(archives, gone, run.ports.sink.progress)
        _refuse_new_problems(step, sqlite.new_problems(record.sqlite, found))
    state = run.observed.volume(step.volume)
    size = run.ports.volumes.stage(state, run.id, archives, gone, most)
    if isinstance(record, VolumeRecord) and size != VolumeSize(record.files, record.bytes):
        raise QuiesceError(
            f"{step.noun} {step.volume} unpacked to {size.files} entries with {size.bytes} bytes, "
            f"but the set recorded {record.files} with {record.bytes}",
            f"run 'inv verify --file {step.set}', or restore an older set",
        )
    if step.path:
        size = run.ports.volumes.pick(run.observed.volume(step.volume), run.id, step.path)
    run.staged[step.volume] = (size.files, size.bytes)
    return f"{size.files} files"


def _refuse_unsafe(noun: str, volume: str, unsafe: tuple[str, ...]) -> None:
    if unsafe:
        raise QuiesceError(
            f"the archive of {noun} {volume} has members that must not be unpacked",
            "restore another set; this one was changed, or not made by Quiesce",
            details=unsafe[:20],
        )


def _refuse_new_problems(step: s.StageVolume, wrong: tuple[str, ...]) -> None:
    if wrong:
        raise QuiesceError(
            f"an SQLite database of {step.noun} {step.volume} is damaged in {step.set}: {wrong[0]}",
            f"run 'inv verify --file {step.set} --deep', or restore an older set",
            details=wrong[1:],
        )


def refuse_foreign_writers(key: str, run: Run) -> None:
    """Raise QuiesceError if a container outside of the project now has write access there."""
    for state in run.ports.runtime.volumes(run.stack.volumes):
        if state.key == key and state.outside_writers:
            raise QuiesceError(
                f"container {state.outside_writers[0]}, outside of the project, now writes to "
                f"{state.noun} {key}",
                f"stop {state.outside_writers[0]} first, then try again",
            )


@handles(s.SwapVolume)
def swap(step: s.SwapVolume, run: Run) -> str:
    refuse_foreign_writers(step.volume, run)
    run.exchange_begins()
    run.ports.volumes.swap(run.observed.volume(step.volume), step.run or run.id, step.path)
    return ""


@handles(s.PutBackVolume)
def put_back(step: s.PutBackVolume, run: Run) -> str:
    run.exchange_begins()
    run.ports.volumes.put_back(run.observed.volume(step.volume), step.run or run.id, step.path)
    return ""


@handles(s.FinishSwap)
def finish_swap(step: s.FinishSwap, run: Run) -> str:
    require_kept(step.kept_in, run)
    state = run.observed.volume(step.volume)
    if state.exists:
        run.ports.volumes.finish_swap(state, step.run or run.id)
    return ""
