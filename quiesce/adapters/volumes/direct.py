"""Decides which volumes this process may read as folders of this machine, without a helper."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from quiesce.observed import VolumeState

#: Returns the folder of a volume that may be read as it is, or None.
Direct = Callable[[VolumeState], Path | None]


def folder_of(volume: VolumeState) -> Path | None:
    """Return the folder that is the volume: on the host runtime, every volume is one."""
    return volume.mountpoint


def folders_of_engine(is_local: Callable[[], bool]) -> Direct:
    """Return the rule for volumes of a Docker engine.

    Root may read a folder, or a plain volume of the driver `local`, where `is_local` proves that
    the engine shares this machine's file systems. A volume with options is mounted only while a
    container uses it: once the services have stopped, its folder is empty.
    """

    def direct(volume: VolumeState) -> Path | None:
        plain = volume.is_folder or (volume.driver == "local" and not volume.options)
        if not plain or volume.mountpoint is None or os.geteuid() != 0:
            return None
        # Last, because the proof costs a container.
        return volume.mountpoint if is_local() else None

    return direct
