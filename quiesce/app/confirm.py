"""Asks before data is lost: a yes, or a phrase that must be typed exactly.

`--yes` answers questions but never replaces a phrase; `--confirm` gives the phrase, and so does
standard input, terminal or pipe. The end of input means no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from quiesce.errors import Refused
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.model import BackupSet, Stack
    from quiesce.observed import Observed
    from quiesce.report import Reporter
    from quiesce.report.values import Sizes


def require_yes(reporter: Reporter, question: str, banner: Sequence[str], *, yes: bool) -> None:
    """Return if the answer is yes, or was given with `--yes`. Raise Refused otherwise."""
    if yes:
        return
    answer = reporter.ask(f"{question} [yes/no]", banner)
    if answer is None or answer.strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed", "answer yes, or use --yes")


def require_phrase(
    reporter: Reporter, phrase: str, banner: Sequence[str], given: str | None
) -> None:
    """Return if exactly this phrase was `given`, or is typed. Raise Refused otherwise.

    The banner is shown in any case: with a phrase from the command line, it is in the log.
    """
    if given is None:
        answer = reporter.ask(f"Type {phrase} to continue:", banner)
    else:
        for line in banner:
            reporter.warn(line)
        answer = given
    if answer == phrase:
        return
    fact = "not confirmed: no phrase was given" if answer is None else "not confirmed"
    how = "on the terminal, through a pipe, or with --confirm"
    raise Refused(fact, f'give exactly "{phrase}" {how}')


def from_other_instance(source: BackupSet, stack: Stack) -> tuple[str, list[str]]:
    """Return the phrase and the warning for a set of another instance."""
    here, there = stack.instance.name, source.manifest.instance
    lines = [
        f"{source.name} is a set of instance {there} and replaces the data of {here}",
        f"addresses, keys and accounts that {there} stores in its data are restored too",
    ]
    return f"RESTORE {source.name} INTO {here}", lines


@dataclass(frozen=True, slots=True)
class Loss:
    """Data that is about to be lost: what it is, and the sources under which a set contains it.

    A set must contain all of `sources` to restore it; if there are none, no set ever contains it.
    `bytes` is None if unknown.
    """

    what: str
    files: int | None
    bytes: int | None
    sources: tuple[str, ...]


def losses(stack: Stack, observed: Observed, keys: Sequence[str], sizes: Sizes) -> tuple[Loss, ...]:
    """Return what is lost by emptying or removing these volumes. Missing volumes lose nothing. Keys
    that `stack.yaml` does not declare are in no set."""
    found = []
    for state in observed.volumes:
        if state.key not in keys or not state.exists:
            continue
        declared = next((v for v in stack.volumes if v.key == state.key), None)
        about = [part for part in (declared.purpose, declared.priority) if part] if declared else []
        sources: tuple[str, ...] = ()
        if declared is not None and declared.backup == "files":
            sources = (state.key,)
        elif declared is not None and declared.backup == "by-dump":
            sources = databases_in(stack, observed, state.key)
        files, size = sizes.get(state.key) or (None, None)
        what = f"{state.noun} {state.key}" + (f" ({', '.join(about)})" if about else "")
        found.append(Loss(what, files, size, sources))
    return tuple(found)


def databases_in(stack: Stack, observed: Observed, key: str) -> tuple[str, ...]:
    """Return the declared databases whose server keeps its data in this volume."""
    servers = {
        service.name
        for service in observed.services
        if any(mount.volume == key for mount in service.mounts)
    }
    return tuple(d.key for d in stack.databases if d.service in servers)


def loss_lines(lost: Sequence[Loss], sets: Sequence[BackupSet], now: datetime) -> list[str]:
    """Return a line for each loss: its size, and the age of the newest verified backup."""
    return [f"  {loss.what}: {_how_much(loss)}; {_backup(loss, sets, now)}" for loss in lost]


def _how_much(loss: Loss) -> str:
    if loss.bytes is None:
        return "size unknown"
    files = f", {words.counted(loss.files, 'file')}" if loss.files is not None else ""
    return f"{words.size(loss.bytes)}{files}"


def _backup(loss: Loss, sets: Sequence[BackupSet], now: datetime) -> str:
    if not loss.sources:
        return "is never backed up"
    found = newest_verified(sets, loss.sources)
    if found is None:
        return "NO verified backup"
    return f"newest verified backup {words.age(found.manifest.created_at, now)} ({found.name})"


def newest_verified(sets: Sequence[BackupSet], sources: Sequence[str]) -> BackupSet | None:
    """Return the newest successfully verified set that contains the data of all these sources."""
    good = [
        backup
        for backup in sets
        if backup.state.verified_good is True
        and backup.manifest.kind != "schema"
        and set(sources) <= _contents(backup)
    ]
    return max(good, key=lambda backup: backup.manifest.created_at, default=None)


def _contents(backup: BackupSet) -> set[str]:
    databases, volumes = backup.manifest.databases, backup.manifest.volumes
    return {record.key for record in databases} | {record.key for record in volumes}


def suggestion(stack: Stack, only: Sequence[str] = ()) -> str:
    """Return the exact command for a backup."""
    named = f" --only {','.join(only)}" if only else ""
    return f"make a backup first: inv backup --instance {stack.instance.name}{named}"
