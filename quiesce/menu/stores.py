"""Tasks: push, pull."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.menu.command import command

if TYPE_CHECKING:
    from quiesce.app import Session

ACCEPT_UNSIGNED = "take a set from a store although nothing proves that it was sent from here"
ACCEPT_UNENCRYPTED = "take a set from a store in the clear although sets are encrypted"


@command(
    everywhere=True,
    file="a set's name, or latest (default: every set that is not there yet)",
    store="a store of stack.yaml (default: all of this instance's)",
)
def push(session: Session, file: str | None = None, store: str | None = None) -> None:
    """Send sets to a store away from here, and read them back."""
    from quiesce.commands.offsite import run_push

    run_push(session, file, store)


@command(
    file="a set's name in the store, or latest (default: latest)",
    store="a store of stack.yaml (default: the only one)",
    identity="the key file that decrypts it (default: QUIESCE_IDENTITY)",
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
    """Bring a set back from a store, decrypted and compared; restore it afterwards."""
    from quiesce.commands.offsite import accepting, run_pull, use_identity

    session = accepting(session, unsigned=accept_unsigned, unencrypted=accept_unencrypted)
    run_pull(use_identity(session, identity), file, store)
