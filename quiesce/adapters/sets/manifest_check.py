"""Checks the file names in a manifest before they are used. Pure.

A set that others could write to may name any file of this machine. Wherever a manifest names a
file, it may only name a member of its set, of the required kind and source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from quiesce.model import Manifest, MemberKind, VolumeRecord


def wrong_references(manifest: Manifest) -> tuple[str, ...]:
    """Describe every file that a manifest names and must not name."""
    return tuple(_wrong(manifest))


def _wrong(manifest: Manifest) -> Iterator[str]:
    members: dict[str, tuple[MemberKind, str]] = {}
    for member in manifest.members:
        # A record names the unencrypted member.
        for file in {member.file, (member.plain or member).file}:
            if not is_plain(file):
                yield f"names the member {file!r}, which is not a path in the set"
            elif file in members:
                yield f"names the member {file!r} twice"
            members[file] = (member.kind, member.source)
    for what, records in (("volume", manifest.volumes), ("database", manifest.databases)):
        for key, count in Counter(record.key for record in records).items():
            if count > 1:
                yield f"describes {what} {key!r} {count} times"
    for volume in manifest.volumes:
        yield from _of_volume(volume, members)
    dumps = Counter(member.source for member in manifest.members if member.kind == "database")
    for database in manifest.databases:
        if dumps[database.key] != 1:
            yield f"names {dumps[database.key]} dumps of database {database.key!r}"
    keys = {database.key for database in manifest.databases}
    settings = Counter(member.source for member in manifest.members if member.kind == "settings")
    for key, count in settings.items():
        if key not in keys or count > 1:
            yield f"names {count} members with settings of database {key!r}"
    yield from _of_clusters(manifest)


def _of_clusters(manifest: Manifest) -> Iterator[str]:
    for cluster in manifest.clusters:
        if cluster.volume not in {record.key for record in manifest.volumes}:
            yield f"describes a data directory of volume {cluster.volume!r}, which it lacks"
        if cluster.directory != "." and not is_plain(cluster.directory):
            yield f"describes the data directory {cluster.directory!r}, which is not a path"


def _of_volume(
    volume: VolumeRecord, members: Mapping[str, tuple[MemberKind, str]]
) -> Iterator[str]:
    if not volume.levels:
        yield f"names no archive for volume {volume.key!r}"
    if len(set(volume.levels)) < len(volume.levels):
        yield f"names an archive of volume {volume.key!r} twice"
    for file in volume.levels:
        if members.get(file) != ("volume", volume.key):
            yield f"names {file!r} as an archive of volume {volume.key!r}, which it is not"
    if volume.gone is not None and members.get(volume.gone) != ("gone", volume.key):
        yield f"names {volume.gone!r} as the list of volume {volume.key!r}, which it is not"


def is_plain(file: str) -> bool:
    """Whether this is a relative path in normal form that does not leave its folder."""
    parts = file.split("/")
    return "\0" not in file and all(part not in ("", ".", "..") for part in parts)
