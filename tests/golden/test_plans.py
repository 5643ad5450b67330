"""Plans compared whole, as text: the order is the safety argument, so the order is the test."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.model import (
    Command,
    ImportedDatabase,
    ImportedVolume,
    ImportSource,
    Recipients,
    RestoreSource,
)
from quiesce.observed import ProjectResources
from quiesce.plan import services
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.clean import plan_clean, plan_clean_all, plan_empty, plan_nuke
from quiesce.plan.cold import plan_cold
from quiesce.plan.describe import describe
from quiesce.plan.expected import Expected
from quiesce.plan.migrate import plan_migrate
from quiesce.plan.outlook import Outlook
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.rows import RowsTarget
from quiesce.plan.shutdown import ShutdownRequest, plan_shutdown, plan_stop_all
from quiesce.plan.steps import Plan
from quiesce.plan.undo import plan_undo
from tests.support.builders import (
    LATER_RUN,
    RUN,
    a_cleanable_stack,
    a_cold_set,
    a_set,
    a_stack,
    a_stack_with_folders,
    a_world,
    a_world_with_folders,
    an_undone_restore,
    restarting_always,
)

FOLDER = Path(__file__).parent / "plans"
NAME = "core-20261121-020000"


EVERYTHING = BackupRequest()
ALL_OF_IT = RestoreRequest()
NOTHING_FOUND = RestoreInputs()
MIGRATING = RestoreInputs(migrations=(("rulesdb", "head"),))
A_FILE = ImportSource(
    "archive.tar.gz",
    Path("/stack/backups/.staging/run/files"),
    (ImportedDatabase("rulesdb", "rulesdb.sql", ("abc",)),),
)


def _backup(request: BackupRequest = EVERYTHING, **world: object) -> Plan:
    return plan_backup(a_stack(), a_world(**world), request, RUN, NAME)  # type: ignore[arg-type]


def _restore(
    request: RestoreRequest = ALL_OF_IT,
    inputs: RestoreInputs = NOTHING_FOUND,
    source: RestoreSource | None = None,
    **world: object,
) -> Plan:
    safety = f"{NAME}-safety"
    observed = a_world(**world)  # type: ignore[arg-type]
    return plan_restore(a_stack(), observed, source or a_set(), request, inputs, RUN, safety)


def _shutdown(request: ShutdownRequest, **world: object) -> Plan:
    observed = a_world(**world)  # type: ignore[arg-type]
    return plan_shutdown(a_stack(), observed, request, RUN, NAME)


OWNED = ProjectResources(("core-db-1",), ("core_default",), ("app-redis-data", "app-forgotten"))
TIDY = a_cleanable_stack()
ASLEEP = dict.fromkeys(("redis", "backend", "frontend", "proxy"), "exited")

PLANS: dict[str, Callable[[], Plan]] = {
    "backup_everything_runs": _backup,
    "backup_proxy_was_stopped": lambda: _backup(states={"proxy": "exited"}),
    "backup_one_crashes": lambda: _backup(states={"redis": "restarting"}),
    "backup_only_the_database_runs": lambda: _backup(states=ASLEEP),
    "backup_with_max_downtime": lambda: plan_backup(
        a_stack(max_downtime=2.0),
        a_world(),
        BackupRequest(recent_downtime=(1.5, 3.2)),
        RUN,
        NAME,
    ),
    "backup_with_outlook": lambda: replace(
        _backup(), outlook=Outlook(Expected(1 << 20, 3 << 20, "core-1"), 9 << 30, (3.2, 4.51, 3.9))
    ),
    "backup_dumping_in_the_window": lambda: _backup(BackupRequest(in_window="locks were there")),
    "backup_cold": lambda: plan_cold(a_stack(), a_world(), BackupRequest(mode="cold"), RUN, NAME),
    "backup_cold_asleep": lambda: plan_cold(
        a_stack(), a_world({**ASLEEP, "db": "exited"}), BackupRequest(mode="cold"), RUN, NAME
    ),
    "restore_cold": lambda: plan_restore(
        a_stack(), a_world(), a_cold_set(), ALL_OF_IT, NOTHING_FOUND, RUN, f"{NAME}-safety"
    ),
    "backup_with_commands": lambda: plan_backup(
        a_stack(
            before=(Command("backend", ("python", "-m", "app", "flush all"), 60.0),),
            after=(Command("redis", ("redis-cli", "ping"), 5.0),),
        ),
        a_world(),
        EVERYTHING,
        RUN,
        NAME,
    ),
    "backup_encrypted": lambda: plan_backup(
        a_stack(recipients=Recipients(age=("age1x",))), a_world(), EVERYTHING, RUN, NAME
    ),
    "backup_live": lambda: _backup(BackupRequest(mode="live")),
    "backup_data_only": lambda: _backup(BackupRequest(kind="data", mode="live")),
    "backup_only_one_volume": lambda: _backup(BackupRequest(only=("backend-media",))),
    "backup_only_one_database": lambda: _backup(BackupRequest(only=("rulesdb",))),
    "restore_everything": _restore,
    "restore_with_outlook": lambda: replace(_restore(), outlook=Outlook(downtimes=(12.0,))),
    "restore_migrating": lambda: _restore(ALL_OF_IT, MIGRATING),
    "restore_one_volume": lambda: _restore(RestoreRequest(only=("backend-media",))),
    "restore_one_folder": lambda: _restore(
        RestoreRequest(only=("backend-media",), path="2024/photos")
    ),
    "restore_empty_machine": lambda: _restore(
        states=ASLEEP,
        missing_volumes=("redis-data", "backend-media"),
        missing_databases=("rulesdb", "memorydb"),
    ),
    "restore_as_another_name": lambda: _restore(
        RestoreRequest(only=("rulesdb",), beside="rulesdb_then")
    ),
    "restore_restarting_always": lambda: plan_restore(
        a_stack(),
        restarting_always(a_world()),
        a_set(),
        RestoreRequest(only=("backend-media",)),
        NOTHING_FOUND,
        RUN,
        f"{NAME}-safety",
    ),
    "restore_file": lambda: _restore(
        ALL_OF_IT,
        MIGRATING,
        replace(A_FILE, volumes=(ImportedVolume("backend-media", "m.tgz"),)),
    ),
    "restore_file_as_another_name": lambda: _restore(
        RestoreRequest(beside="rulesdb_then"), source=A_FILE
    ),
    "restore_file_of_rows": lambda: _restore(
        ALL_OF_IT,
        RestoreInputs(rows=(RowsTarget("rulesdb", ("abc",), "head", ()),)),
        replace(A_FILE, rows_only=True),
    ),
    "restore_without_safety_or_restart": lambda: _restore(
        RestoreRequest(safety=False, restart=False)
    ),
    "restore_one_file_of_a_volume": lambda: _restore(
        RestoreRequest(only=("backend-media",), path="2026/photo")
    ),
    "restore_safety_first": lambda: _restore(RestoreRequest(safety_first=True)),
    "restore_encrypted_safety_set": lambda: plan_restore(
        a_stack(recipients=Recipients(age=("age1x",))),
        a_world(),
        a_set(),
        RestoreRequest(only=("redis-data",)),
        NOTHING_FOUND,
        RUN,
        f"{NAME}-safety",
    ),
    "undo_by_renames": lambda: plan_undo(
        a_stack(), a_world(), an_undone_restore(), LATER_RUN, f"{NAME}-safety-2"
    ),
    "backup_with_paths": lambda: plan_backup(
        a_stack_with_folders(), a_world_with_folders(), EVERYTHING, RUN, NAME
    ),
    "backup_cold_with_paths": lambda: plan_cold(
        a_stack_with_folders(), a_world_with_folders(), BackupRequest(mode="cold"), RUN, NAME
    ),
    "restore_one_path": lambda: plan_restore(
        a_stack_with_folders(),
        a_world_with_folders(),
        a_set(volumes=("redis-data", "photos")),
        RestoreRequest(only=("photos",)),
        NOTHING_FOUND,
        RUN,
        f"{NAME}-safety",
    ),
    "clean_all_with_paths": lambda: plan_clean_all(
        a_stack_with_folders(), a_world_with_folders(), OWNED, RUN, force=False
    ),
    "clean_cache_with_paths": lambda: plan_empty(
        a_stack_with_folders(), a_world_with_folders(), RUN, "cache"
    ),
    "nuke_with_paths": lambda: plan_nuke(
        a_stack_with_folders(), a_world_with_folders(), RUN, force=False
    ),
    "up": lambda: services.plan_up(a_stack(), a_world(), RUN, ("backend",)),
    "start": lambda: services.plan_start(a_stack(), a_world(ASLEEP), RUN, ()),
    "stop_redis": lambda: services.plan_stop(a_stack(), a_world(), RUN, ("redis",)),
    "restart_frontend": lambda: services.plan_restart(a_stack(), a_world(), RUN, ("frontend",)),
    "rebuild_backend": lambda: services.plan_rebuild(a_stack(), a_world(), RUN, ("backend",)),
    "clean": lambda: plan_clean(TIDY, a_world(), OWNED, RUN, "clean"),
    "clean_logs": lambda: plan_empty(TIDY, a_world(), RUN, "logs"),
    "clean_cache": lambda: plan_empty(TIDY, a_world({"proxy": "exited"}), RUN, "cache"),
    "clean_cache_asleep": lambda: plan_empty(TIDY, a_world(ASLEEP), RUN, "cache"),
    "clean_all": lambda: plan_clean_all(TIDY, a_world(), OWNED, RUN, force=False),
    "clean_all_asleep": lambda: plan_clean_all(TIDY, a_world(ASLEEP), OWNED, RUN, force=False),
    "nuke": lambda: plan_nuke(TIDY, a_world(), RUN, force=False),
    "shutdown": lambda: _shutdown(ShutdownRequest()),
    "shutdown_full": lambda: _shutdown(ShutdownRequest(full=True)),
    "shutdown_keeping_redis": lambda: _shutdown(ShutdownRequest(keep_running=("redis",))),
    "shutdown_forced": lambda: _shutdown(ShutdownRequest(force=True)),
    "shutdown_without_backup": lambda: plan_stop_all(
        a_stack(), a_world(), ShutdownRequest(force=True), RUN
    ),
    "down": lambda: services.plan_down(a_stack(), a_world(), RUN, ()),
    "migrate": lambda: plan_migrate(a_stack(), a_world(), RUN, (), "head"),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_reads_as_it_was_reviewed(name: str) -> None:
    """UPDATE_GOLDEN=1 rewrites the files; the difference is for a person to read."""
    text = describe(PLANS[name]())
    file = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_file_is_left_without_a_plan() -> None:
    """A file nobody compares proves nothing."""
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(PLANS)
