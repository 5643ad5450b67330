"""The phases of a plan, which a terminal shows instead of single steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from quiesce.plan import steps as s
from quiesce.plan.services import WINDOW
from quiesce.plan.window import stopped
from quiesce.plan.window import windows as all_windows

#: Steps of a failed run come from these parts of a bracket.
PUTTING_BACK = "put back what was changed"
_NAMES: Mapping[str, tuple[type[s.Step], ...]] = {
    "copy files while services run": (*(s.OpenSet, s.ArchiveVolume, s.CopySqlite, s.WatchStarts),),
    "export snapshots": (s.ExportSnapshot, s.CheckIdle, s.CheckStopped),
    "dump databases": (s.DumpDatabase, s.DumpGlobals, s.ReleaseSnapshot, s.WriteScript),
    "publish the set": (
        *(s.CheckSqlite, s.RecordStack, s.FindUndeclared, s.EncryptSet, s.SealSet),
    ),
    "verify the set": (
        *(s.VerifySet, s.RequireSqlite, s.CheckConsistent, s.CheckDowntime, s.CheckUndeclared),
    ),
    "copy sets to stores": (s.PushSet, s.PruneStore),
    "remove expired sets": (s.RemoveSet, s.RemoveExpired),
    "build and check new copies": (
        *(s.CreateRoles, s.CreateDatabase, s.LoadDump, s.CheckDatabase, s.MigrateDatabase),
        *(s.LoadScript, s.CopySchema, s.ReplaceRows, s.FinishDatabase, s.CreateVolume),
        *(s.StageVolume, s.UnmarkDatabase),
    ),
    "exchange with the live data": (
        *(s.BlockConnections, s.SwapDatabases, s.SwapVolume),
        *(s.PutBackDatabases, s.PutBackVolume),
    ),
    "make the safety set": (s.MakeSafetySet,),
    "remove the previous data": (s.DropDatabase, s.FinishSwap, s.DiscardStaging, s.ForgetPending),
    "stop services": (s.StopServices, s.HoldRestart),
    "start services": (
        *(s.UpServices, s.StartServices, s.FreeRestart, s.WaitHealthy, s.WaitServices),
        *(s.CheckStarted, s.CheckAddresses),
    ),
}
_BY_KIND = {kind: name for name, kinds in _NAMES.items() for kind in kinds}


def phases_of(plan: s.Plan) -> Mapping[str, str]:
    """Return the phase of each step, by position. Consecutive steps of a phase are one phase; "" is
    a step that stands for itself."""
    windows = {
        at: f"services stopped: {stopped(window)}" if stopped(window) else WINDOW
        for at, window in all_windows(plan.nodes)
    }
    found = {}
    for position, step in s.steps_of(plan.nodes):
        # The clean-up after a success and the steps after a failure may be in the same bracket.
        if "/on_failure/" in position:
            found[position] = PUTTING_BACK
            continue
        inside = (name for at, name in windows.items() if position.startswith(f"{at}/"))
        migrates = plan.verb == "migrate"
        usual = "migrate databases" if migrates else _BY_KIND.get(type(step), "")
        found[position] = next(inside, usual)
    return found
