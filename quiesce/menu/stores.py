"""Tasks: push, pull."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session

ACCEPT_UNSIGNED = "accept a set from a store although its origin cannot be confirmed"
ACCEPT_UNENCRYPTED = "accept an unencrypted set from a store although stack.yaml enables encryption"


@command(
    everywhere=True,
    file="name of a set, or latest (default: every set that is not in the store yet)",
    store="a store in stack.yaml (default: all stores of this instance)",
)
def push(session: Session, file: str | None = None, store: str | None = None) -> None:
    """Upload sets to an off-site store and verify them there."""
    from quiesce.commands.offsite import run_push

    run_push(session, file, store)


@command(
    file="name of a set in the store, or latest (default: latest)",
    store="a store in stack.yaml (default: the only one)",
    identity="key file for encrypted sets (default: QUIESCE_IDENTITY)",
    accept_unsigned=ACCEPT_UNSIGNED,
    accept_unencrypted=ACCEPT_UNENCRYPTED,
)
def pull(
    session: Session,
    file: str = "latest",
    store: str | None = None,
    identity: str = "",
    accept_unsigned: bool = False,
    accept_unencrypted: bool = False,
) -> None:
    """Download a set from a store and verify it. It can then be restored."""
    from quiesce.commands.offsite import accept_untrusted, run_pull, use_identity

    session = accept_untrusted(session, unsigned=accept_unsigned, unencrypted=accept_unencrypted)
    run_pull(use_identity(session, identity), file, store)
