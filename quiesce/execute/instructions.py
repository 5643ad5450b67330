"""`RESTORE.md`: how to bring a set back with plain tools alone. Pure text from a manifest."""

from __future__ import annotations

import shlex

from quiesce.model import DatabaseRecord, Manifest, SetKind, VolumeRecord

_TAR = "--xattrs --xattrs-include='*' --acls --sparse --numeric-owner --same-permissions"


def restore_instructions(manifest: Manifest) -> str:
    """Return the page for a person who has this folder, and not Quiesce."""
    with_quiesce = (
        f"With Quiesce: `inv restore --file {manifest.name}`."
        if manifest.kind != "schema"
        else "Quiesce itself restores nothing from a schema."
    )
    parts = [
        f"# Restoring {manifest.name} by hand\n",
        f"Made by {manifest.tool} on {manifest.created_at:%Y-%m-%d %H:%M:%S %z} of instance "
        f"`{manifest.instance}` ({manifest.kind}, {manifest.mode}). {with_quiesce} "
        "Without it, in this folder:\n",
        "```sh\nsha256sum -c SHA256SUMS    # every line has to say OK\n```\n",
    ]
    if manifest.encryption:
        parts.append(_decrypting(manifest))
    parts += [_database(record, manifest.kind) for record in manifest.databases]
    parts += [_volume(record) for record in manifest.volumes]
    parts.append(
        "## What is not in here\n\nThe images, the values of the environment files (passwords "
        "too), and the stack's code. `stack/` holds what described the stack, without secrets. "
        "Roles are in `databases/globals*.sql`, without their passwords.\n"
    )
    return "\n".join(parts)


def _decrypting(manifest: Manifest) -> str:
    command = (
        "age --decrypt --identity KEY.txt --output"
        if manifest.encryption == "age"
        else "gpg --decrypt --output"
    )
    names = [(shlex.quote(m.plain.file), shlex.quote(m.file)) for m in manifest.members if m.plain]
    lines = "\n".join(f"{command} {plain} {file}" for plain, file in names)
    return (
        "The members are encrypted. Each of these needs the key of somebody they are for, and "
        f"leaves the member in the clear beside it, which the rest of this page goes by:\n\n"
        f"```sh\n{lines}\n```\n"
    )


def _database(record: DatabaseRecord, kind: SetKind) -> str:
    name = shlex.quote(record.name)
    dump = shlex.quote(f"databases/{record.key}.dump")
    revision = ", ".join(record.revision) or "none"
    about = (
        f"## Database {record.name}\n\n"
        f"PostgreSQL {record.server_version}, encoding {record.encoding}, revision {revision}. "
    )
    if kind == "data":
        # Without the version table: the target has its own row, two would stop all migrations.
        table = shlex.quote((record.version_table or "alembic_version").rpartition(".")[2])
        return (
            f"{about}Rows only. Make an empty database, bring its tables to exactly revision "
            f"{revision}, empty them (seed rows too), and load as a superuser:\n\n"
            f"```sh\npg_restore -l {dump} | grep -v ' TABLE DATA [^ ]* '{table}' ' > toc\n"
            f"pg_restore -U postgres --exit-on-error --single-transaction --disable-triggers "
            f"-L toc -d {name} {dump}\npsql -X -U postgres -d {name} -c ANALYZE\n```\n"
        )
    what = "Its schema, without rows. " if kind == "schema" else ""
    return (
        f"{about}{what}Into an empty database, with the clients of the same or a newer version:\n\n"
        f"```sh\ncreatedb -U postgres -T template0 -E {shlex.quote(record.encoding)} {name}\n"
        f"pg_restore -U postgres --exit-on-error -j 2 -d {name} {dump}\n"
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
