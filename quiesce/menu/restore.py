"""Tasks: restore, undo-restore, recover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command, listed
from quiesce.menu.stores import ACCEPT_UNENCRYPTED, ACCEPT_UNSIGNED

if TYPE_CHECKING:
    from quiesce.app import Session


@command(
    phrase=True,
    file="a set, latest, latest:data, STORE:latest, or an SQL file (default: lists and asks)",
    database="the database that a single file is of",
    only="databases and volumes, comma-separated (default: all that is in the set)",
    path="of the one volume that is named with --only, this file or folder alone",
    data_only="rows alone, onto the migrated schema; all that a data-only set has",
    in_place="rows alone, in one transaction on the live database: needs no room for two",
    accept_lossy="rows alone: take types that changed as they come out",
    assume_revision="rows alone: the revision of a set that recorded none",
    force="rows alone: tables that the set does not have may keep their rows",
    not_valid="constraints that rows break come back NOT VALID instead of ending the restore",
    skip_broken="entries that cannot be brought back are left out and named; rows never are",
    as_="a new name: one database is restored under it beside the live one, and nothing stops",
    from_instance="a set of another instance may be restored (latest: of the one named here)",
    no_safety="make no safety set of what is replaced: there is no way back",
    create_roles="create roles that the server lacks, as the set has them, without passwords",
    break_replication="subscriptions and logical slots of what is replaced may go",
    no_restart="leave stopped services stopped",
    identity="the key file that decrypts what is encrypted (default: QUIESCE_IDENTITY)",
    note="a line for the log of restores: who wanted it, and why",
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
    create_roles: bool = False,
    break_replication: bool = False,
    no_restart: bool = False,
    identity: str = "",
    note: str = "",
    accept_unsigned: bool = False,
    accept_unencrypted: bool = False,
) -> None:
    """Bring a set back: built beside, checked, exchanged at the end."""
    from quiesce.app.requests import RestoreRequest
    from quiesce.commands.offsite import accepting, pulled, use_identity
    from quiesce.commands.restore import run_restore

    request = RestoreRequest(
        listed(only),
        safety=not no_safety,
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
    session = accepting(session, unsigned=accept_unsigned, unencrypted=accept_unencrypted)
    session = use_identity(session, identity)
    here = pulled(session, file)
    if file is not None and here is None:
        return
    run_restore(session, here, request, database=database, note=note, from_instance=from_instance)


@command(
    break_replication="subscriptions and logical slots of what is replaced may go",
    not_valid="constraints that rows break come back NOT VALID instead of ending the restore",
    skip_broken="entries that cannot be brought back are left out and named; rows never are",
    no_restart="leave stopped services stopped",
    identity="the key file that decrypts what is encrypted (default: QUIESCE_IDENTITY)",
    note="a line for the log of restores: who wanted it, and why",
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
    """Go back to what was there before the last restore."""
    from quiesce.app.requests import RestoreRequest
    from quiesce.commands.offsite import use_identity
    from quiesce.commands.restore import run_restore

    session = use_identity(session, identity)
    request = RestoreRequest(
        restart=not no_restart,
        not_valid=not_valid,
        skip_broken=skip_broken,
        break_replication=break_replication,
    )
    run_restore(session, "latest:safety", request, note=note)


@command(everywhere=True)
def recover(session: Session) -> None:
    """Finish what an interrupted run owes."""
    from quiesce.commands.recover import run_recover

    run_recover(session)
