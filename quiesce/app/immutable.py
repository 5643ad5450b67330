"""Refuses immutable files and mount points before a plan that would have to rename or remove
them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from quiesce.errors import QuiesceError, RequestError
from quiesce.execute.run import Ports
from quiesce.observed import VolumeState


def refuse_immutable(ports: Ports, states: Iterable[VolumeState], path: str = "") -> None:
    """Raise RequestError naming the immutable or append-only entries in these volumes; with `path`,
    only entries there or on its path."""
    for state in states:
        if not state.exists:
            continue
        try:
            names = [os.fsencode(name) for name in ports.volumes.immutable(state)]
        except QuiesceError as error:
            if error.lost_engine:
                raise
            # If the volume is not accessible, the step that needs it reports that.
            continue
        names = [name for name in names if not path or _touches(name, os.fsencode(path))]
        if names:
            shown = [name.decode(errors="backslashreplace") for name in names]
            raise RequestError(
                f"{state.noun} {state.key} contains entries that nobody can rename or remove, not "
                f"even root: {shown[0]} is immutable or append-only",
                f"check it with 'lsattr -d' in {state.mountpoint or 'the volume'}; if the "
                "attribute is not needed, remove it with 'chattr -i -a', then try again",
                details=shown[1:20],
            )


def refuse_mount_points(ports: Ports, states: Iterable[VolumeState], path: str = "") -> None:
    """Raise RequestError naming the mount points in these folders, which cannot be exchanged; with
    `path`, only those in it or around it."""
    for state in states:
        if not state.exists or not state.is_folder:
            continue
        names = [os.fsencode(name) for name in ports.volumes.mount_points(state)]
        wanted = b"./" + os.fsencode(path) + b"/"
        found = [
            name
            for name in names
            if not path or wanted.startswith(name + b"/") or (name + b"/").startswith(wanted)
        ]
        if found:
            shown = [name.decode(errors="backslashreplace") for name in found]
            raise RequestError(
                f"path {state.key} contains a mount point, whose content cannot be exchanged: "
                f"{shown[0]}",
                "restore what is beside it with --path, or unmount it first",
                details=shown[1:20],
            )


def _touches(name: bytes, path: bytes) -> bool:
    """Whether an entry is the path itself, inside of it, or its parent folder."""
    subpath = b"./" + path
    return (name + b"/").startswith(subpath + b"/") or name == subpath.rpartition(b"/")[0]
