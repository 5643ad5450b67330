"""Files that nobody may rename or remove, looked for before a plan that would have to."""

from __future__ import annotations

import os
from collections.abc import Iterable

from quiesce.errors import QuiesceError, RequestError
from quiesce.execute.run import Ports
from quiesce.observed import VolumeState


def refuse_immutable(ports: Ports, states: Iterable[VolumeState], path: str = "") -> None:
    """Raise RequestError naming what is immutable or append-only in these volumes; with `path`,
    what is there or on the way there."""
    for state in states:
        if not state.exists:
            continue
        try:
            names = [os.fsencode(name) for name in ports.volumes.immutable(state)]
        except QuiesceError as error:
            if error.lost_engine:
                raise
            # Without a way into the volume that is found out, and said, by who needs one.
            continue
        names = [name for name in names if not path or _touches(name, os.fsencode(path))]
        if names:
            shown = [name.decode(errors="backslashreplace") for name in names]
            raise RequestError(
                f"volume {state.key} contains entries that nobody can rename or remove, not even "
                f"root: {shown[0]} is immutable or append-only",
                f"see 'lsattr -d' of it in {state.mountpoint or 'the volume'}; remove the "
                "attribute with 'chattr -i -a' if it is not needed, then try again",
                details=shown[1:20],
            )


def _touches(name: bytes, path: bytes) -> bool:
    """Whether an entry is the piece itself, in it, or the folder that it is in."""
    subpath = b"./" + path
    return (name + b"/").startswith(subpath + b"/") or name == subpath.rpartition(b"/")[0]
