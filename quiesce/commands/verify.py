"""The verb `verify`: checks sets at a level and records the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.app import run_reports, set_ref
from quiesce.app.session import Session
from quiesce.commands.drill import NeedsMore, try_restore
from quiesce.errors import CheckFailed, QuiesceError, RequestError
from quiesce.execute.unpacking import most_unpacked
from quiesce.plan import sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet, DatabaseRecord, Level, VolumeRecord
    from quiesce.plan.set_ref import SetRef
    from quiesce.ports import BackupStore, Clock, EventSink

#: Messages of pg_restore for an archive that it cannot read because it is too old.


@dataclass(slots=True)
class ReadResult:
    """The result of reading one set: problems, and members that could not be decoded."""

    wrong: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def run_verify(
    session: Session, file: str, *, everything: bool, deep: bool, restore: bool = False
) -> None:
    """Read sets completely and compare them with their manifests.

    `deep` also decodes every archive and dump, the latter with pg_restore beside a running
    server. `restore` restores each into a throwaway copy of its servers and compares it there.
    Raise CheckFailed naming each damaged member.
    """
    store = session.store
    sets = store.sets()
    ref = set_ref.parse(session.stack, file)
    _require_readable(store, ref)
    chosen = sets if everything else (set_ref.resolve(session.stack, sets, ref),)
    run = session.new_run_id()
    with run_reports.reported(
        session.stack, run, "verify", session.clock, session.reporter
    ) as account:
        account.facts |= {"verified": [s.name for s in chosen], "deep": deep or restore}
        account.facts["restore"] = restore
        with _decoder(session, deep=deep) as decode:
            wrong = verify_sets(store, chosen, session.reporter, session.clock, decode)
        untried: list[NeedsMore] = []
        failed: list[str] = []
        deviations: list[str] = []
        if restore:
            failed, deviations = _try_all(session, store, chosen, wrong, untried)
        wrong += [f"{name}: {reason}" for name, reason in store.unreadable() if everything]
        if wrong:
            damaged = len({line.partition("/")[0] for line in wrong})
            raise CheckFailed(
                f"{damaged} of {len(chosen)} sets are damaged"
                if everything
                else f"{chosen[0].name} is damaged",
                "do not rely on it; make another backup with 'inv backup'",
                details=[*wrong, *failed, *deviations],
            )
        if untried:
            first = untried[0]
            raise CheckFailed(
                f"{first.fact}; the restore was not tested, and no damage was found",
                first.hint,
                details=[
                    *first.details,
                    *(error.fact for error in untried[1:]),
                    *failed,
                    *deviations,
                ],
            )
        _require_restorable(failed, deviations)
    session.reporter.done("verified", {"sets": [s.name for s in chosen]})


def _try_all(
    session: Session,
    store: BackupStore,
    sets: Sequence[BackupSet],
    wrong: Sequence[str],
    untried: list[NeedsMore],
) -> tuple[list[str], list[str]]:
    """Restore each set that is good so far, and record the result.

    Return why restores failed, and what needs a flag. Add to `untried` why a set could not be
    tested: a role, an extension, a locale or the right server version is missing.
    """
    damaged = {line.partition("/")[0] for line in wrong}
    found: list[str] = []
    deviations: list[str] = []
    for backup in sets:
        if backup.name in damaged:
            continue
        if backup.manifest.kind == "schema":
            session.reporter.warn(
                f"{backup.name}: only checksums were verified, because a schema-only set cannot "
                "be restored"
            )
            continue
        try:
            tried = try_restore(session, backup)
        except NeedsMore as error:
            untried.append(error)
            continue
        state = store.read(backup.path).state
        store.remember(
            backup.name, state.checked("restore", session.clock.now(), good=not tried.problems)
        )
        found += [f"{backup.name}: {problem}" for problem in tried.problems]
        deviations += [f"{backup.name}: {line}" for line in tried.deviations]
    return found, deviations


@contextmanager
def _decoder(session: Session, *, deep: bool) -> Iterator[Callable[[BackupSet], ReadResult] | None]:
    if not deep:
        yield None
        return
    with session.connected() as (ports, run):
        yield Decoder(ports, run, session.identity())


def verify_sets(
    store: BackupStore,
    sets: Sequence[BackupSet],
    sink: EventSink,
    clock: Clock,
    decode: Callable[[BackupSet], ReadResult] | None = None,
) -> list[str]:
    """Verify each set, record the result, and return the problems, each with the set's name.

    With `decode`, sets whose sums are good are also decoded.
    """
    found: list[str] = []
    for backup in sets:
        wrong = list(store.verify(backup, sink.progress))
        level: Level = "sums"
        if decode is not None and not wrong:
            reading = decode(backup)
            wrong = reading.wrong
            level = "sums" if reading.unread and not wrong else "deep"
            for reason in reading.unread:
                sink.warn(f"{backup.name}: only checksums were verified of {reason}")
        # Read again: the set may have been pinned meanwhile.
        state = store.read(backup.path).state
        store.remember(backup.name, state.checked(level, clock.now(), good=not wrong))
        found += [f"{backup.name}/{problem}" for problem in wrong]
    return found


class Decoder:
    """Decodes members: archives locally, dumps with pg_restore beside a server."""

    def __init__(self, ports: Ports, run: str, identity: Path | None) -> None:
        self._ports = ports
        self._run = run
        self._identity = identity
        self._running: set[str] | None = None

    def __call__(self, backup: BackupSet) -> ReadResult:
        reading = ReadResult()
        if backup.manifest.encryption:
            if backup.manifest.encryption == "age" and self._identity is None:
                reading.unread.append("encrypted members; give your key file with --identity")
                return reading
            try:
                backup = self._ports.store.decrypted(
                    self._run, backup, self._identity, self._ports.sink.progress
                )
            except RequestError:
                # Without the right key, the set cannot be judged.
                raise
            except QuiesceError as error:
                reading.wrong.append(str(error))
                return reading
        try:
            self._decode(backup, reading)
        finally:
            # One set at a time, to save disk space.
            self._ports.store.discard(self._run)
        return reading

    def _decode(self, backup: BackupSet, reading: ReadResult) -> None:
        for volume in backup.manifest.volumes:
            self._volume(backup, volume, reading)
        dumps = {m.source: m.file for m in backup.manifest.members if m.kind == "database"}
        for record in backup.manifest.databases:
            if record.key in dumps:
                self._dump(backup, record, dumps[record.key], reading)

    def _volume(self, backup: BackupSet, record: VolumeRecord, reading: ReadResult) -> None:
        levels = record.levels
        self._ports.sink.progress(f"decoding {', '.join(levels)}", 0)
        try:
            refused = self._ports.volumes.check(
                [backup.path / level for level in levels], most_unpacked(record)
            )
        except QuiesceError as error:
            reading.wrong.append(f"{levels[0]}: {error}")
            return
        reading.wrong += [f"{levels[0]}: {reason}" for reason in refused]
        if record.sqlite and not refused:
            archives = [backup.path / level for level in levels]
            gone = backup.path / record.gone if record.gone else None
            found = self._ports.volumes.sqlite(archives, gone, self._ports.sink.progress)
            reading.wrong += [
                f"{levels[0]}: {fact}" for fact in sqlite.new_problems(record.sqlite, found)
            ]

    def _dump(
        self, backup: BackupSet, record: DatabaseRecord, file: str, reading: ReadResult
    ) -> None:
        self._ports.sink.progress(f"decoding {file}", 0)
        running = record.service in self._services()
        found = self._ports.databases.read_dump(record, backup.path, file, running=running)
        if found.wrong:
            reading.wrong.append(f"{file}: {found.wrong}")
        elif found.unread:
            reading.unread.append(f"{file}, {found.unread}")

    def _services(self) -> set[str]:
        """The services that run now; empty if no engine answers."""
        if self._running is None:
            try:
                services = self._ports.runtime.services()
            except QuiesceError as error:
                self._ports.sink.warn(str(error))
                services = ()
            self._running = {service.name for service in services if service.running}
        return self._running


def _require_restorable(failed: Sequence[str], deviations: Sequence[str]) -> None:
    """Raise CheckFailed if sets are intact but cannot be restored unchanged."""
    if failed:
        raise CheckFailed(
            f"the members are intact, but restoring them into a copy failed: {failed[0]}",
            "correct the cause in the live database, and back up again",
            details=[*failed[1:], *deviations],
        )
    if deviations:
        skipped = [": left out: " in line for line in deviations]
        flags = " ".join(
            [*(["--not-valid"] if not all(skipped) else []), *(["--skip-broken"] * any(skipped))]
        )
        raise CheckFailed(
            f"the set is intact, but cannot be restored unchanged: {deviations[0]}",
            f"restoring it needs {flags}; this was tested and restored every row; correct the "
            "cause in the live database, and back up again",
            details=deviations[1:],
        )


def _require_readable(store: BackupStore, ref: SetRef) -> None:
    """Raise CheckFailed if the named set exists but cannot be read."""
    name = ref.last_part
    for damaged, reason in store.unreadable():
        if damaged == name:
            raise CheckFailed(
                f"{name} is damaged: {reason.removeprefix(name + ': ')}",
                "do not rely on it; make another backup with 'inv backup'",
            )
