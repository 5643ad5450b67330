"""`RESTORE.md`: how to restore a set with standard tools only. Pure text from a manifest."""

from __future__ import annotations

import shlex

from quiesce.execute.by_hand import by_hand
from quiesce.model import DEFAULT_ENGINE, DatabaseRecord, Manifest, VolumeRecord
from quiesce.plan.coverage import what_it_covers

_TAR = "--xattrs --xattrs-include='*' --acls --sparse --numeric-owner --same-permissions"


def restore_instructions(manifest: Manifest) -> str:
    """Return the page for a person who has this folder, but not Quiesce."""
    with_quiesce = (
        f"With Quiesce: `inv restore --file {manifest.name}`."
        if manifest.kind != "schema"
        else "Quiesce itself does not restore from a schema-only set."
    )
    parts = [
        f"# Restoring {manifest.name} by hand\n",
        f"Made by {manifest.tool} on {manifest.created_at:%Y-%m-%d %H:%M:%S %z} of instance "
        f"`{manifest.instance}` ({manifest.kind}, {manifest.mode}). {with_quiesce} "
        "Without it, in this folder:\n",
        "```sh\nsha256sum -c SHA256SUMS    # every line must end with OK\n```\n",
    ]
    if manifest.encryption:
        parts.append(_decrypting(manifest))
    servers = dict.fromkeys(record.service for record in manifest.databases)
    for service in servers:
        parts += _server(manifest, service, several=len(servers) > 1)
        for record in manifest.databases:
            if record.service == service:
                settings = _settings_of(manifest, record)
                parts.append(by_hand(record.engine).database(record, manifest.kind, settings))
    parts += [_volume(record) for record in manifest.volumes]
    missing = "".join(
        f"- {one.words}: stack.yaml did not mention it when the set was made\n"
        for one in manifest.undeclared
    )
    if missing:
        parts.append(f"## What is MISSING in this set\n\n{missing}")
    if manifest.safety:
        parts.append(
            "## What this set shows\n\nThe data that a restore replaced, as of the moment of the "
            f"exchange ({manifest.created_at:%Y-%m-%d %H:%M:%S %z}), when services were stopped.\n"
        )
    if len(manifest.sources) > 1 and manifest.consistent:
        doubt = f" This is not proven: {manifest.doubt}." if manifest.doubt else ""
        parts.append(
            f"## Consistency\n\nThe set shows {what_it_covers(manifest)} as of one moment.{doubt}\n"
        )
    parts.append(
        "## What is not in this set\n\nImages, the values of the environment files (including "
        "passwords), and the stack's code. `stack/` contains the description of the stack, "
        "without secrets. `databases/globals*.sql` contains the roles, without passwords unless "
        f"`roles: with-passwords` was set; set a password with {_passwords(manifest)}.\n"
        f"{_definition(manifest)}"
    )
    return "\n".join(parts)


def _passwords(manifest: Manifest) -> str:
    engines = [record.engine for record in manifest.databases] or [DEFAULT_ENGINE]
    return " or ".join(dict.fromkeys(by_hand(engine).password for engine in engines))


def _definition(manifest: Manifest) -> str:
    """Return which files of the stack's definition the set contains, and which are missing or
    changed."""
    lines = "".join(
        f"- `{entry.file.replace('`', ' ')}`: {entry.reason}\n" for entry in manifest.stack_left_out
    )
    if not lines:
        return ""
    return (
        "\n`stack/files/` contains the files that define the stack, relative to its folder. These "
        f"are missing there, or were changed:\n\n{lines}"
    )


def _settings_of(manifest: Manifest, record: DatabaseRecord) -> str:
    """Return the name of the decrypted member with the database's settings."""
    for member in manifest.members:
        if member.kind == "settings" and member.source == record.key:
            return (member.plain or member).file
    return ""


def _decrypting(manifest: Manifest) -> str:
    command = (
        "age --decrypt --identity KEY.txt --output"
        if manifest.encryption == "age"
        else "gpg --decrypt --output"
    )
    names = [(shlex.quote(m.plain.file), shlex.quote(m.file)) for m in manifest.members if m.plain]
    lines = "\n".join(f"{command} {plain} {file}" for plain, file in names)
    return (
        "The members are encrypted. Decrypt them first, with the private key of one of the "
        "recipients. The commands write each decrypted file next to the encrypted one; the rest "
        f"of this page uses the decrypted files:\n\n```sh\n{lines}\n```\n"
    )


def _server(manifest: Manifest, service: str, *, several: bool) -> list[str]:
    """Return how to prepare a server for its databases: connection and roles."""
    files = [
        shlex.quote(m.plain.file if m.plain else m.file)
        for m in manifest.members
        if m.kind == "globals" and m.source == service
    ]
    engines = dict.fromkeys(one.engine for one in manifest.databases if one.service == service)
    where = f" of service {service}" if several else ""
    return [by_hand(engine).server(where, files) for engine in engines]


def _volume(record: VolumeRecord) -> str:
    folder = record.noun == "path"
    place = "folder" if folder else "mountpoint of the volume"
    lines = [
        f"into={shlex.quote('restored/' + record.key)}    # or the empty {place}",
        'mkdir -p -- "$into"',
        f'tar -x {_TAR} -C "$into" -I zstd -f {shlex.quote(record.levels[0])}',
    ]
    if record.gone:
        gone = shlex.quote(record.gone)
        lines.append(f'set=$PWD; (cd -- "$into" && xargs -0 -r rm -rf -- < "$set"/{gone})')
    lines += [
        f'tar -x {_TAR} -C "$into" -I zstd -f {shlex.quote(level)}' for level in record.levels[1:]
    ]
    commands = "\n".join(lines)
    left_out = "".join(
        f"Excluded from the set: `{part.pattern}` ({part.files} entries, {part.bytes} bytes).\n"
        for part in record.excluded
    )
    was = "it was the folder" if folder else "the volume's name was"
    left_out += "".join(
        f"SQLite database: `{one.file}`, {len(one.tables)} tables, {sum(one.tables.values())} rows"
        f"{'; it was damaged: ' + one.problems[0] if one.problems else ''}. Its `-wal` and "
        "`-journal` files belong to it.\n"
        for one in record.sqlite or ()
    )
    return (
        f"## {record.noun.capitalize()} {record.key}\n\n{record.files} entries, {record.bytes} "
        f"bytes; {was} `{record.name}`. Unpack it as root, with GNU tar, into an empty "
        f"folder:\n\n```sh\n{commands}\n```\n{left_out}"
    )
