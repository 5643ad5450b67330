"""Reads and writes volumes: implements `ports.VolumeIO` with the other modules of this package.

A volume is read directly if that is proven safe, else through a helper container. It is written
through a helper whenever possible, because its services may still be running: whatever they do to a
program among their files is confined to the helper. If the engine is on another machine, the data
is streamed.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from quiesce.adapters.volumes import exclusion as volume_exclusion
from quiesce.adapters.volumes import swap as volume_stage
from quiesce.adapters.volumes import swap_path
from quiesce.adapters.volumes.archive import Archived, Archiver, LevelZero, archive_copy
from quiesce.adapters.volumes.direct import Direct
from quiesce.adapters.volumes.empty_folder import NotPermitted, empty_folder
from quiesce.adapters.volumes.exchange_places import ExchangePlaces
from quiesce.adapters.volumes.files_in_use import files_in_use
from quiesce.adapters.volumes.folder_root import (
    create_here,
    create_on_engine,
    mounts_below,
    require_unmoved,
)
from quiesce.adapters.volumes.helper import HelperEngine, HelperPlace
from quiesce.adapters.volumes.immutable import immutable_at, immutable_in_folder
from quiesce.adapters.volumes.location import (
    DirectPlace,
    Place,
    is_suitable,
    refuse_unsuitable,
)
from quiesce.adapters.volumes.pg_control import find_clusters
from quiesce.adapters.volumes.remote import RemotePlace
from quiesce.adapters.volumes.sqlite_files import check_archived
from quiesce.adapters.volumes.sqlite_live import copy_live
from quiesce.adapters.volumes.tar_check import check_archives
from quiesce.errors import QuiesceError, RequestError
from quiesce.exclusion import Exclusion
from quiesce.file_errors import hint_for, reason, translate_write_errors
from quiesce.model import ClusterRecord, SqliteRecord, VolumeRecord
from quiesce.observed import VolumeState
from quiesce.ports import Progress, SqliteCopies, VolumeSize, VolumeSurvey

_Result = TypeVar("_Result")


class VolumeFiles:
    """Implements `ports.VolumeIO` for both runtimes.

    `direct` is a rule of `volumes/direct.py`. `helper` is the engine for the others (None on the
    host runtime). `staging` is a folder of this run that is created if missing and visible to a
    local engine: every `directory` given to `archive` is below it, and so are scratch files.
    """

    def __init__(
        self,
        *,
        run: str,
        staging: Path,
        direct: Direct,
        helper: HelperEngine | None = None,
        allow_devices: bool = False,
    ) -> None:
        self._run = run
        self._staging = staging
        self._direct = direct
        self._helper = helper
        self._allow_devices = allow_devices
        self._open: dict[str, Place] = {}
        self._zero: dict[str, LevelZero] = {}
        self._remarks: dict[str, tuple[str, ...]] = {}
        self._exchanges = ExchangePlaces(self._writing_place)
        self._lock = threading.Lock()

    # ----------------------------------------------------------------------------- backing up

    def measure(self, volume: VolumeState) -> VolumeSize:
        with self._lock:
            place = self._open.get(volume.name)
        if place is not None:
            return volume_stage.measure(place)
        with self._place(volume) as place:
            return volume_stage.measure(place)

    def survey(self, volume: VolumeState, exclude: Sequence[str], path: str = "") -> VolumeSurvey:
        exclusion = Exclusion(exclude)
        with self._lock:
            place = self._open.get(volume.name)
        if place is not None:
            return volume_exclusion.survey(place, exclusion, path)
        with self._place(volume) as place:
            return volume_exclusion.survey(place, exclusion, path)

    def immutable(self, volume: VolumeState) -> tuple[str, ...]:
        folder, found = volume.mountpoint, None
        near = self._helper is None or (os.geteuid() == 0 and self._helper.is_local())
        if near and folder is not None and folder.is_dir():
            found = immutable_in_folder(folder)
        if found is None:
            if self._helper is None and os.geteuid() != 0:
                return ()
            with self._place(volume, writable=True) as place:
                found = immutable_at(place)
        return tuple(map(os.fsdecode, found))

    def mount_points(self, volume: VolumeState) -> tuple[str, ...]:
        with self._place(volume, writable=True) as place:
            return tuple(map(os.fsdecode, mounts_below(place)))

    def remarks(self, volume: VolumeState) -> tuple[str, ...]:
        return self._remarks.get(volume.name, ())

    def begin(self, volume: VolumeState) -> None:
        with self._lock:
            if volume.name in self._open:
                return
        with translate_write_errors(self._staging):
            place = self._reading_place(volume)
        with self._lock:
            self._open[volume.name] = place

    def archive(
        self,
        volume: VolumeState,
        level: int,
        directory: Path,
        stem: str,
        exclude: Sequence[str],
        progress: Progress,
        *,
        copy: str = "",
    ) -> VolumeRecord:
        if copy:
            with self._copy(volume, copy) as shown, translate_write_errors(directory):
                # Nobody writes into the folder of an exchange.
                archived = archive_copy(
                    shown, directory / stem, exclude, progress, devices=self._allow_devices
                )
            self._remarks[volume.name] = archived.remarks
            return archived.record(volume, directory)
        archiver = self._archiver(volume, directory / stem, exclude, progress)
        with translate_write_errors(directory):
            (directory / stem).parent.mkdir(mode=0o700, exist_ok=True)
            if level == 0:
                archived, self._zero[volume.name] = archiver.level_zero()
            else:
                archived = self._level_one(volume, archiver)
        self._remarks[volume.name] = archived.remarks
        return archived.record(volume, directory)

    def copy_sqlite(
        self,
        volume: VolumeState,
        record: VolumeRecord,
        directory: Path,
        stem: str,
        exclude: Sequence[str],
        progress: Progress,
    ) -> SqliteCopies:
        archiver = self._archiver(volume, directory / stem, exclude, progress)
        with translate_write_errors(directory):
            return copy_live(archiver, record, directory, self._staging / "sqlite", progress)

    @contextmanager
    def _copy(self, volume: VolumeState, copy: str) -> Iterator[Place]:
        """A folder that an exchange left, as if it were the volume."""
        self._exchange(volume, lambda place: volume_stage.show_copy(place, copy))
        with self._place(volume) as place:
            place.root = f"{place.root}/{copy}"
            yield place

    def _archiver(
        self, volume: VolumeState, stem: Path, exclude: Sequence[str], progress: Progress
    ) -> Archiver:
        self.begin(volume)
        place = self._open[volume.name]
        writing = functools.partial(
            files_in_use, self._helper, self._run, self._staging, volume, place
        )
        return Archiver(place, stem, Exclusion(exclude), self._allow_devices, progress, writing)

    def _level_one(self, volume: VolumeState, archiver: Archiver) -> Archived:
        """Archive level 1; if the volume looks empty, check it through a fresh mount."""
        opened: list[Place] = []

        def fresh() -> Place | None:
            if self._helper is not None:
                opened.append(self._helper_place(volume, writable=False, folders=()))
            return opened[-1] if opened else None

        try:
            return archiver.level_one(self._zero.get(volume.name), fresh)
        finally:
            for place in opened:
                place.close()

    def clusters(self, volume: VolumeState, copy: str = "") -> tuple[ClusterRecord, ...]:
        if copy:
            with self._copy(volume, copy) as shown:
                return find_clusters(shown, volume.key)
        with self._lock:
            place = self._open.get(volume.name)
        if place is not None:
            return find_clusters(place, volume.key)
        with self._place(volume) as place:
            return find_clusters(place, volume.key)

    # ------------------------------------------------------------------------------ restoring

    def check(self, archives: Sequence[Path], most: VolumeSize | None = None) -> tuple[str, ...]:
        return check_archives(archives, allow_devices=self._allow_devices, most=most)

    def sqlite(
        self, archives: Sequence[Path], gone: Path | None, progress: Progress
    ) -> tuple[SqliteRecord, ...]:
        with translate_write_errors(self._staging):
            return check_archived(archives, gone, self._staging / "sqlite", progress)

    def create(self, volume: VolumeState) -> None:
        here = self._helper is None or self._helper.is_local()
        if volume.is_folder and here and create_here(Path(volume.name)):
            return
        if self._helper is not None and volume.is_folder:
            create_on_engine(self._helper, self._run, volume)
            return
        if self._helper is not None:
            self._helper.create_volume(volume)
            return
        folder = self._direct(volume)
        if folder is None:
            raise QuiesceError(f"{volume.noun} {volume.name} has no folder", "see 'inv volumes'")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise QuiesceError(
                f"volume {volume.name} cannot be created: {reason(error)}",
                hint_for(error, folder.parent),
            ) from error

    def stage(
        self,
        volume: VolumeState,
        run: str,
        archives: Sequence[Path],
        gone: Path | None,
        most: VolumeSize | None = None,
    ) -> VolumeSize:
        folders = [path.parent for path in (*archives, *([gone] if gone else []))]
        keeping = self._exchanges.staging(volume, folders)
        with translate_write_errors(self._staging), keeping as place:
            return volume_stage.stage(place, run, archives, gone, most)

    def pick(self, volume: VolumeState, run: str, path: str) -> VolumeSize:
        return self._exchange(volume, lambda place: swap_path.pick(place, run, path))

    def swap(self, volume: VolumeState, run: str, path: str = "") -> None:
        self._exchange(volume, lambda place: swap_path.swap(place, run, path))

    def put_back(self, volume: VolumeState, run: str, path: str = "") -> None:
        self._exchange(volume, lambda place: swap_path.put_back(place, run, path))

    def finish_swap(self, volume: VolumeState, run: str) -> None:
        self._exchange(volume, lambda place: volume_stage.finish_swap(place, run))
        self._exchanges.release(volume)

    def _exchange(self, volume: VolumeState, work: Callable[[Place], _Result]) -> _Result:
        with translate_write_errors(self._staging):
            return self._exchanges.run(volume, work)

    def leftover_size(self, volume: VolumeState, run: str) -> VolumeSize:
        with self._place(volume) as place:
            return volume_stage.leftover_size(place, run)

    def empty(self, volume: VolumeState) -> None:
        with self._place(volume, writable=True) as place:
            volume_stage.empty(place)

    def empty_folder(self, base: Path, folder: Path) -> int:
        try:
            return empty_folder(base, folder)
        except NotPermitted:
            # A service created the content as another user, and this user may only be in group
            # docker.
            if self._helper is None:
                raise
        with translate_write_errors(self._staging):
            place = HelperPlace(
                self._helper, self._run, str(base / folder), self._staging, writable=True
            )
        try:
            count = volume_stage.measure(place).files
            volume_stage.empty(place)
        finally:
            place.close()
        return count

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        return self._helper.remove_orphans(run) if self._helper is not None else ()

    def close(self) -> None:
        with self._lock:
            places = tuple(self._open.values())
            self._open.clear()
            self._zero.clear()
        for place in places:
            place.close()
        self._exchanges.close()

    # --------------------------------------------------------------------------------- places

    def _reading_place(self, volume: VolumeState) -> Place:
        folder = self._direct(volume)
        if folder is not None and (self._helper is None or self._has_programs()):
            return self._direct_place(volume, folder)
        return self._helper_place(volume, writable=False, folders=())

    def _writing_place(self, volume: VolumeState, folders: Sequence[Path]) -> Place:
        folder = self._direct(volume)
        if self._helper is not None:
            try:
                return self._helper_place(volume, writable=True, folders=folders)
            except RequestError:
                if folder is None or not self._has_programs():
                    raise
        if folder is None:
            raise _unreachable(volume)
        return self._direct_place(volume, folder)

    @contextmanager
    def _place(
        self, volume: VolumeState, *, writable: bool = False, folders: Sequence[Path] = ()
    ) -> Iterator[Place]:
        reading = self._reading_place
        with translate_write_errors(self._staging):
            place = self._writing_place(volume, folders) if writable else reading(volume)
            try:
                yield place
            finally:
                place.close()

    def _direct_place(self, volume: VolumeState, folder: Path) -> Place:
        if not folder.is_dir():
            raise RequestError(
                f"{volume.noun} {volume.key} does not exist: there is no folder {folder}",
                "see 'inv volumes'; a restore creates it",
            )
        if not self._has_programs():
            raise refuse_unsuitable("this machine")
        if volume.is_folder:
            require_unmoved(volume.name)
        return DirectPlace(volume.name, folder, self._staging)

    def _helper_place(
        self, volume: VolumeState, *, writable: bool, folders: Sequence[Path]
    ) -> Place:
        if self._helper is None:
            raise _unreachable(volume)
        if not self._helper.is_local():
            return RemotePlace(
                self._helper, self._run, volume.name, self._staging, writable=writable
            )
        if volume.is_folder:
            require_unmoved(volume.name)
        return HelperPlace(
            self._helper,
            self._run,
            volume.name,
            self._staging,
            writable=writable,
            folders=folders,
        )

    @functools.cached_property
    def _programs(self) -> bool:
        place = DirectPlace("", Path("/"), self._staging)
        try:
            return is_suitable(place)
        finally:
            place.close()

    def _has_programs(self) -> bool:
        with self._lock:
            return self._programs


def _unreachable(volume: VolumeState) -> RequestError:
    return RequestError(
        f"volume {volume.name} can be reached neither directly nor through a helper",
        "see 'inv doctor'",
    )
