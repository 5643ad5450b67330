"""Counts what `exclude:` leaves out of volumes before planning, and reports it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quiesce.exclusion import LeftOut
from quiesce.execute.run import Ports
from quiesce.model import Volume
from quiesce.observed import Observed
from quiesce.report import words


def left_out_of_backup(
    ports: Ports, observed: Observed, volumes: Iterable[Volume]
) -> Mapping[str, tuple[LeftOut, ...]]:
    """Return what the patterns of these volumes leave out, by key; warn of patterns that match
    nothing or everything."""
    found = {}
    for volume in _with_patterns(observed, volumes):
        survey = ports.volumes.survey(observed.volume(volume.key), volume.exclude)
        found[volume.key] = tuple(part for part in survey.left_out if part.files)
        for pattern in survey.unmatched:
            anywhere = "" if "/" in pattern else f"; '**/{pattern}' would match in every folder"
            ports.sink.warn(
                f"{volume.noun} {volume.key}: exclude '{pattern}' matches nothing, relative to the "
                f"{volume.noun}'s root{anywhere}"
            )
        if found[volume.key] and not survey.kept.files:
            ports.sink.warn(
                f"{volume.noun} {volume.key}: exclude matches everything that the {volume.noun} "
                "contains now"
            )
    return found


def lost_by_restore(
    ports: Ports, observed: Observed, volumes: Iterable[Volume], path: str
) -> Mapping[str, tuple[LeftOut, ...]]:
    """Return, by key, the content of these volumes (or of `path` in them) that is in no set because
    of `exclude:`. Warn that a restore removes it."""
    found = {}
    for volume in _with_patterns(observed, volumes):
        survey = ports.volumes.survey(observed.volume(volume.key), volume.exclude, path)
        lost = tuple(part for part in survey.left_out if part.files)
        if not lost:
            continue
        found[volume.key] = lost
        parts = ", ".join(
            f"{part.pattern} ({words.counted(part.files, 'entry', 'entries')}, "
            f"{words.size(part.bytes)})"
            for part in lost
        )
        ports.sink.warn(
            f"{volume.noun} {volume.key}: the restore removes what exclude leaves out, and no set "
            f"contains it: {parts}; copy what you need first"
        )
    return found


def _with_patterns(observed: Observed, volumes: Iterable[Volume]) -> Iterable[Volume]:
    return (v for v in volumes if v.exclude and observed.volume(v.key).exists)
