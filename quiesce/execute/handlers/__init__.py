"""How each step is done: one small function per step class, found through `HANDLERS`.

A handler asks a port to reach the step's goal and returns a short result for the report. If one
needs an `if` about policy, that `if` belongs in the planner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quiesce.execute.handlers import (
    checks,
    cleaning,
    databases,
    keeping,
    offsite,
    services,
    sets,
    volumes,
)
from quiesce.execute.run import Run
from quiesce.plan import steps as s

HANDLERS: dict[type[Any], Callable[[Any, Run], str]] = {
    s.UpServices: services.up,
    s.StopServices: services.stop,
    s.HoldRestart: services.hold_restart,
    s.FreeRestart: services.free_restart,
    s.RunCommand: services.run_command,
    s.StartServices: services.start,
    s.WaitHealthy: services.wait_healthy,
    s.WaitServices: services.wait_services,
    s.CheckStarted: services.check_started,
    s.RemoveServices: services.remove,
    s.BuildServices: cleaning.build,
    s.RemoveProject: cleaning.remove_project,
    s.EmptyVolume: cleaning.empty_volume,
    s.EmptyPath: cleaning.empty_path,
    s.RemoveVolume: cleaning.remove_volume,
    s.OpenSet: sets.open_set,
    s.RecordStack: sets.record_stack,
    s.EncryptSet: sets.encrypt,
    s.SealSet: sets.seal,
    s.VerifySet: sets.verify,
    s.CheckAddresses: services.addresses,
    s.CheckRest: checks.rest,
    s.WatchStarts: checks.watch,
    s.CheckStopped: checks.stopped,
    s.CheckShutdown: checks.shutdown,
    s.CheckConsistent: checks.consistent,
    s.CheckDowntime: checks.downtime,
    s.RemoveSet: sets.remove,
    s.RemoveExpired: keeping.remove_expired,
    s.PushSet: offsite.push,
    s.PullSet: offsite.pull,
    s.PruneStore: offsite.prune,
    s.PinSet: keeping.pin,
    s.AcceptSet: keeping.accept,
    s.DiscardStaging: sets.discard_staging,
    s.HoldSnapshot: databases.hold,
    s.ReleaseSnapshot: databases.release,
    s.DumpDatabase: databases.dump,
    s.WriteScript: databases.write_script,
    s.DumpGlobals: databases.dump_globals,
    s.CreateRoles: databases.create_roles,
    s.UnmarkDatabase: databases.unmark,
    s.CreateDatabase: databases.create,
    s.LoadDump: databases.load,
    s.CheckDatabase: databases.check,
    s.MigrateDatabase: databases.migrate,
    s.LoadScript: databases.load_script,
    s.CopySchema: databases.copy_schema,
    s.ReplaceRows: databases.replace_rows,
    s.FinishDatabase: databases.finish,
    s.FenceDatabases: databases.fence,
    s.SwapDatabases: databases.swap,
    s.PutBackDatabases: databases.put_back,
    s.DropDatabase: databases.drop,
    s.ArchiveVolume: volumes.archive,
    s.CreateVolume: volumes.create,
    s.StageVolume: volumes.stage,
    s.SwapVolume: volumes.swap,
    s.PutBackVolume: volumes.put_back,
    s.SettleVolume: volumes.settle,
}
