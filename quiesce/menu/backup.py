"""Tasks: backup, backup-db, backups, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    everywhere=True,
    only="databases and volumes, comma-separated (default: everything)",
    mode="consistent (services stop briefly), live (nothing stops) or cold (everything stops)",
    data_only="databases only, without their schema; nothing stops",
    schema_only="databases only, without their data; nothing stops",
    label="a short text stored with the set",
    keep="pin the set, so that retention never removes it",
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
    data_only="rows only, without the schema",
    schema_only="the schema only, without rows",
    compress="compress the files with zstd (.sql.zst)",
)
def backup_db(
    session: Session,
    database: str | None = None,
    data_only: bool = False,
    schema_only: bool = False,
    compress: bool = False,
) -> None:
    """Write each database as one SQL file into backups/. Nothing stops."""
    from quiesce.app.requests import backup_db_request
    from quiesce.commands.backup import run_backup_db

    request = backup_db_request(
        listed(database), data_only=data_only, schema_only=schema_only, compress=compress
    )
    run_backup_db(session, request)


@command(changes=False, store="list the sets in this store instead of the local ones")
def backups(session: Session, store: str | None = None) -> None:
    """List the backup sets with age, size, contents and state."""
    from quiesce.commands.offsite import run_backups_of
    from quiesce.commands.retention import run_backups

    if store is not None:
        run_backups_of(session, store)
    else:
        run_backups(session)


@command(
    everywhere=True,
    changes=False,
    file="name or folder of a set, or latest (default: latest)",
    all="every set in backups/",
    deep="also decode every archive and dump (dumps need their server running)",
    restore="restore each set into a throwaway copy and compare it",
    store="verify sets in this store: read every object completely",
    identity=(
        "key file for encrypted sets, needed by --deep, --restore and --store (default: "
        "QUIESCE_IDENTITY)"
    ),
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
    """Read sets completely and compare them with their manifests."""
    from quiesce.commands.offsite import run_verify_store, use_identity
    from quiesce.commands.verify import run_verify

    session = use_identity(session, identity)
    if store is not None:
        run_verify_store(session, store, file, everything=all)
        return
    run_verify(session, file, everything=all, deep=deep, restore=restore)
