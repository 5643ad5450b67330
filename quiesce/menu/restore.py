"""Tasks: restore, undo-restore, recover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed
from quiesce.menu.stores import ACCEPT_UNENCRYPTED, ACCEPT_UNSIGNED

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    phrase=True,
    file="a set, latest, latest:data, STORE:latest, an SQL file or a pg_dump archive "
    "(default: list sets and ask)",
    database="the database that a single file belongs to",
    only="databases and volumes, comma-separated (default: everything in the set)",
    path="restore only this file or folder of the one volume given with --only",
    data_only="rows only, into the migrated schema (always so for data-only sets)",
    in_place="rows only, in one transaction in the live database; needs no space for a second copy",
    accept_lossy="rows only: accept that values may change where column types differ",
    assume_revision="rows only: the revision to assume for a set that recorded none",
    force="rows only: let tables that are not in the set keep their rows",
    not_valid="restore constraints that rows violate as NOT VALID, instead of failing",
    skip_broken="omit and report entries that cannot be restored (never rows), instead of failing",
    as_="restore one database under this new name, beside the live one; nothing stops",
    from_instance="allow a set of this other instance (with latest: its latest set)",
    no_safety="do not make a safety set of the data that is replaced: no undo is possible",
    safety_first="make the safety set before the exchange, while services are stopped",
    create_roles="create roles of the set that are missing on the server, without passwords",
    break_replication="drop subscriptions and logical slots of the databases that are replaced",
    no_restart="do not start the stopped services again",
    identity="key file for encrypted sets (default: QUIESCE_IDENTITY)",
    note="one line of text for the restore log, for example who asked for it and why",
    accept_unsigned=ACCEPT_UNSIGNED,
    accept_unencrypted=ACCEPT_UNENCRYPTED,
)
def restore(
    session: Session,
    file: str | None = None,
    only: str | None = None,
    database: str | None = None,
    path: str = "",
    data_only: bool = False,
    in_place: bool = False,
    accept_lossy: bool = False,
    assume_revision: str = "",
    force: bool = False,
    not_valid: bool = False,
    skip_broken: bool = False,
    as_: str = "",
    from_instance: str | None = None,
    no_safety: bool = False,
    safety_first: bool = False,
    create_roles: bool = False,
    break_replication: bool = False,
    no_restart: bool = False,
    identity: str = "",
    note: str = "",
    accept_unsigned: bool = False,
    accept_unencrypted: bool = False,
) -> None:
    """Restore a set: build new copies, check them, then exchange them with the live data."""
    from quiesce.app.requests import RestoreRequest
    from quiesce.commands.offsite import accept_untrusted, pull_if_needed, use_identity
    from quiesce.commands.restore import run_restore

    request = RestoreRequest(
        listed(only),
        safety=not no_safety,
        safety_first=safety_first,
        restart=not no_restart,
        data_only=data_only,
        in_place=in_place,
        accept_lossy=accept_lossy,
        force=force,
        assume_revision=assume_revision,
        not_valid=not_valid,
        skip_broken=skip_broken,
        beside=as_,
        path=path.rstrip("/"),
        create_roles=create_roles,
        break_replication=break_replication,
    )
    session = accept_untrusted(session, unsigned=accept_unsigned, unencrypted=accept_unencrypted)
    session = use_identity(session, identity)
    here = pull_if_needed(session, file)
    if file is not None and here is None:
        return
    run_restore(session, here, request, database=database, note=note, from_instance=from_instance)


@command(
    break_replication="drop subscriptions and logical slots of the databases that are replaced",
    not_valid="restore constraints that rows violate as NOT VALID, instead of failing",
    skip_broken="omit and report entries that cannot be restored (never rows), instead of failing",
    no_restart="do not start the stopped services again",
    identity="key file for encrypted sets (default: QUIESCE_IDENTITY)",
    note="one line of text for the restore log, for example who asked for it and why",
)
def undo_restore(
    session: Session,
    break_replication: bool = False,
    not_valid: bool = False,
    skip_broken: bool = False,
    no_restart: bool = False,
    identity: str = "",
    note: str = "",
) -> None:
    """Bring back the data that the last restore replaced."""
    from quiesce.app.requests import RestoreRequest
    from quiesce.commands.offsite import use_identity
    from quiesce.commands.undo import run_undo

    session = use_identity(session, identity)
    request = RestoreRequest(
        restart=not no_restart,
        not_valid=not_valid,
        skip_broken=skip_broken,
        break_replication=break_replication,
    )
    run_undo(session, request, note)


@command(everywhere=True)
def recover(session: Session) -> None:
    """Finish or undo interrupted runs."""
    from quiesce.commands.recover import run_recover

    run_recover(session)
