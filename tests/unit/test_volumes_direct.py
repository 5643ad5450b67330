"""Which volumes are read as folders, and which through a helper."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.volumes.direct import folder_of, folders_of_engine
from quiesce.observed import VolumeState

PLAIN = VolumeState("media", "core_media", True, "local", {}, Path("/mnt/media"), ())


def no_proof() -> bool:
    """The proof costs a container: it must not be asked for."""
    raise AssertionError("the engine was asked for nothing")


def test_root_reads_a_plain_volume_of_an_engine_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As soon as it is proven that the engine sees the same files."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert folders_of_engine(lambda: True)(PLAIN) == Path("/mnt/media")
    assert folders_of_engine(lambda: False)(PLAIN) is None


@pytest.mark.parametrize(
    "volume",
    [
        replace(PLAIN, options={"type": "nfs"}),
        replace(PLAIN, driver="rclone"),
        replace(PLAIN, mountpoint=None),
    ],
)
def test_other_volumes_are_read_through_a_helper(
    monkeypatch: pytest.MonkeyPatch, volume: VolumeState
) -> None:
    """The folder of a volume with options is empty as soon as nothing mounts it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert folders_of_engine(no_proof)(volume) is None


def test_an_ordinary_user_reads_through_a_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of Docker are for root alone."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert folders_of_engine(no_proof)(PLAIN) is None


def test_a_volume_of_the_host_runtime_is_a_folder() -> None:
    """There is no engine that could hold it."""
    assert folder_of(PLAIN) == Path("/mnt/media")
