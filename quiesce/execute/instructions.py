"""`RESTORE.md`: how to bring a set back with plain tools alone. Pure text from a manifest."""

from __future__ import annotations

import shlex

from quiesce.model import DatabaseRecord, Manifest, VolumeRecord

_TAR = "--xattrs --xattrs-include='*' --acls --sparse --numeric-owner --same-permissions"


def restore_instructions(manifest: Manifest) -> str:
    """Return the page for a person who has this folder, and not Quiesce."""
    parts = [
        f"# Restoring {manifest.name} by hand\n",
        (
            f"Made by {manifest.tool} on {manifest.created_at:%Y-%m-%d %H:%M:%S %z} of instance "
            f"`{manifest.instance}` ({manifest.kind}, {manifest.mode}). With Quiesce: "
            f"`inv restore --file {manifest.name}`. Without it, in this folder:\n"
        ),
        "```sh\nsha256sum -c SHA256SUMS    # every line has to say OK\n```\n",
    ]
    parts += [_database(record) for record in manifest.databases]
    parts += [_volume(record) for record in manifest.volumes]
    parts.append(
        "## What is not in here\n\nThe images, the values of the environment files (passwords "
        "too), and the stack's code. `stack/` holds what described the stack, without secrets. "
        "Roles are in `databases/globals*.sql`, without their passwords.\n"
    )
    return "\n".join(parts)


def _database(record: DatabaseRecord) -> str:
    name = shlex.quote(record.name)
    return (
        f"## Database {record.name}\n\n"
        f"PostgreSQL {record.server_version}, encoding {record.encoding}, "
        f"revision {', '.join(record.revision) or 'none'}. Into an empty database, with the "
        "clients of the same or a newer version:\n\n"
        f"```sh\ncreatedb -U postgres -T template0 -E {shlex.quote(record.encoding)} {name}\n"
        f"pg_restore -U postgres --exit-on-error -j 2 -d {name} "
        f"{shlex.quote(f'databases/{record.key}.dump')}\n"
        f"psql -X -U postgres -d {name} -c ANALYZE\n```\n"
    )


def _volume(record: VolumeRecord) -> str:
    lines = [f"tar -x {_TAR} -C DIRECTORY -I zstd -f {shlex.quote(record.levels[0])}"]
    if record.gone:
        gone = shlex.quote(record.gone)
        lines.append(f'set=$PWD; (cd DIRECTORY && xargs -0 -r rm -rf -- < "$set"/{gone})')
    lines += [
        f"tar -x {_TAR} -C DIRECTORY -I zstd -f {shlex.quote(level)}" for level in record.levels[1:]
    ]
    commands = "\n".join(lines)
    return (
        f"## Volume {record.key}\n\n"
        f"{record.files} entries, {record.bytes} bytes; the volume's name was `{record.name}`. "
        "As root, with GNU tar, into the empty folder DIRECTORY (a volume's mountpoint):\n\n"
        f"```sh\n{commands}\n```\n"
    )
