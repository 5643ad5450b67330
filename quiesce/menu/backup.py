"""Tasks: backup, backup-db, backups, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    everywhere=True,
    only="databases and volumes, comma-separated (default: everything)",
    mode="consistent (services rest briefly), live (nothing stops) or cold (everything stops)",
    data_only="databases only, without their schema; nothing stops",
    schema_only="databases only, without their data; nothing stops",
    label="a few words kept with the set",
    keep="pin the set: retention never removes it",
)
def backup(
    session: Session,
    only: str | None = None,
    mode: str = "consistent",
    data_only: bool = False,
    schema_only: bool = False,
    label: str = "",
    keep: bool = False,
) -> None:
    """Back up databases and volumes as one verified set."""
    from quiesce.app.requests import backup_request
    from quiesce.commands.backup import run_backup

    request = backup_request(
        listed(only),
        mode,
        data_only=data_only,
        schema_only=schema_only,
        label=label,
        keep=keep,
    )
    run_backup(session, request)


@command(
    database="databases, comma-separated (default: all)",
    data_only="rows, without the schema",
    schema_only="the schema, without rows",
    compress="as .sql.zst",
)
def backup_db(
    session: Session,
    database: str | None = None,
    data_only: bool = False,
    schema_only: bool = False,
    compress: bool = False,
) -> None:
    """Write databases as single SQL files into backups/, for people and pipes; nothing stops."""
    from quiesce.app.requests import backup_db_request
    from quiesce.commands.backup import run_backup_db

    request = backup_db_request(
        listed(database), data_only=data_only, schema_only=schema_only, compress=compress
    )
    run_backup_db(session, request)


@command(changes=False, store="what this store holds, instead of what is here")
def backups(session: Session, store: str | None = None) -> None:
    """List the backup sets: age, size, contents, verified, pinned."""
    from quiesce.commands.offsite import run_backups_of
    from quiesce.commands.retention import run_backups

    if store is not None:
        run_backups_of(session, store)
    else:
        run_backups(session)


@command(
    everywhere=True,
    changes=False,
    file="a set's name or folder, or latest (default: latest)",
    all="every set in backups/",
    deep="also decode every archive and dump (dumps need their server running)",
    restore="really restore each into a throwaway copy, and compare",
    store="in this store: every object read to its end",
    identity="the key file that decrypts what is encrypted: --deep, --restore, --store",
)
def verify(
    session: Session,
    file: str = "latest",
    all: bool = False,  # noqa: A002  the flag's name
    deep: bool = False,
    restore: bool = False,
    store: str | None = None,
    identity: str = "",
) -> None:
    """Read sets to their end and compare them with their manifests."""
    from quiesce.commands.offsite import run_verify_store, use_identity
    from quiesce.commands.verify import run_verify

    session = use_identity(session, identity)
    if store is not None:
        run_verify_store(session, store, file, everything=all)
        return
    run_verify(session, file, everything=all, deep=deep, restore=restore)
