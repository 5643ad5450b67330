"""Plans in words: one sentence per step, indentation for brackets. Pure text, no colour."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from quiesce.exclusion import LeftOut
from quiesce.observed import Unit
from quiesce.plan import steps as s
from quiesce.plan.steps import PARTS, Bracket, Node, Plan, Step

_PART_TITLES = {
    "enter": "",
    "body": "meanwhile",
    "on_failure": "if that fails",
    "on_success": "once that worked",
    "always": "whatever happened",
}


def names(units: tuple[Unit, ...]) -> str:
    """Return the units' services in their order, with a count for replicas."""
    counts: dict[str, int] = {}
    for unit in units:
        counts[unit.service] = counts.get(unit.service, 0) + 1
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.items())


def _listed(values: tuple[str, ...], otherwise: str) -> str:
    return ", ".join(values) or otherwise


def _archive(step: s.ArchiveVolume) -> str:
    what = "everything" if step.level == 0 else "what changed since"
    if step.left_out:
        what = f"everything but {_patterns(step.left_out)}"
    return f"archive volume {step.volume}, level {step.level} ({what})"


def _patterns(parts: tuple[LeftOut, ...]) -> str:
    return "; ".join(f"{p.pattern}: {p.files} entries, {p.bytes} bytes" for p in parts)


def _swap_volume(step: s.SwapVolume) -> str:
    lost = f", losing what is in no set ({_patterns(step.lost)})" if step.lost else ""
    return f"swap {_content(step)}{lost}"


def _content(step: s.StageVolume | s.SwapVolume | s.PutBackVolume) -> str:
    return f"{step.path} of volume {step.volume}" if step.path else f"volume {step.volume}"


def _allowances(step: s.LoadDump | s.ReplaceRows) -> str:
    allowed = [
        *(("broken constraints NOT VALID",) if step.not_valid else ()),
        *(("broken entries left out",) if step.skip_broken else ()),
    ]
    return f", {' and '.join(allowed)}" if allowed else ""


def _swap(step: s.SwapDatabases) -> str:
    pairs = ", ".join(f"{swap.side} becomes {swap.live}" for swap in step.swaps)
    return f"swap databases of {step.service}: {pairs}"


SENTENCES: dict[type[Any], Callable[[Any], str]] = {
    s.UpServices: lambda t: (
        f"bring up {_listed(t.services, 'every service')}"
        + (", building images" if t.build else "")
    ),
    s.StopServices: lambda t: f"stop {names(t.units)}",
    s.HoldRestart: lambda t: f"keep the engine from restarting {names(t.units)}",
    s.FreeRestart: lambda t: f"let the engine restart {names(t.units)} again",
    s.RunCommand: lambda t: f"run {shlex.join(t.argv)} in {t.service}",
    s.StartServices: lambda t: f"start {names(t.units)}",
    s.WaitHealthy: lambda t: f"wait for {names(t.units)}",
    s.CheckStarted: lambda _: "see that all of it came up",
    s.WaitServices: lambda t: f"wait until healthy: {_listed(t.services, 'every service')}",
    s.RemoveServices: lambda t: f"remove containers of {_listed(t.services, 'every service')}",
    s.BuildServices: lambda t: f"build images of {_listed(t.services, 'every service')}",
    s.RemoveProject: lambda t: "remove all containers and networks of the project",
    s.EmptyVolume: lambda t: f"empty volume {t.volume}",
    s.EmptyPath: lambda t: f"empty folder {t.path}",
    s.RemoveVolume: lambda t: f"remove volume {t.name}",
    s.OpenSet: lambda t: f"open set {t.set} ({t.kind}, {t.mode})",
    s.HoldSnapshot: lambda t: f"hold a snapshot of database {t.database}",
    s.CheckRest: lambda t: f"see that nobody else writes to {_listed(t.databases, 'no database')}",
    s.CheckAddresses: lambda t: f"see whether {names(t.bystanders)} may keep an old address",
    s.WatchStarts: lambda _: "watch who is started from here on",
    s.CheckStopped: lambda t: (
        f"see that no writer of {_listed(t.volumes, 'these databases')} runs, or ran"
    ),
    s.CheckShutdown: lambda t: f"see that {t.service} left volume {t.volume} cleanly shut down",
    s.ReleaseSnapshot: lambda t: f"release the snapshot of database {t.database}",
    s.DumpDatabase: lambda t: f"dump database {t.database} ({t.kind})",
    s.DumpGlobals: lambda t: f"dump roles of the server in {t.service}",
    s.ArchiveVolume: _archive,
    s.RecordStack: lambda t: "record stack.yaml, the Compose model and image digests",
    s.EncryptSet: lambda t: f"encrypt the members of {t.set}",
    s.SealSet: lambda t: f"seal and publish set {t.set}",
    s.VerifySet: lambda t: f"verify set {t.set}",
    s.CheckConsistent: lambda t: f"see that set {t.set} shows one instant",
    s.CheckDowntime: lambda t: f"see that services were down for at most {t.limit:g} s",
    s.RemoveSet: lambda t: f"remove set {t.set}",
    s.PushSet: lambda t: f"push set {t.set} to {t.store}, and read it back",
    s.PullSet: lambda t: f"pull set {t.set} from {t.store}",
    s.PruneStore: lambda t: f"remove from {t.store} what its rules do not keep",
    s.RemoveExpired: lambda t: (
        f"remove {_listed(t.sets, 'no set')}"
        + (f", unless {t.new} holds far less than {t.before}" if t.before else "")
    ),
    s.PinSet: lambda t: f"{'pin' if t.pinned else 'unpin'} set {t.set}",
    s.AcceptSet: lambda t: f"accept that set {t.set} holds less than the one before",
    s.DiscardStaging: lambda t: "discard this run's staging folder",
    s.CreateRoles: lambda t: (
        f"create {'roles' if len(t.roles) > 1 else 'role'} {', '.join(t.roles)} on the server in "
        f"{t.service}"
    ),
    s.UnmarkDatabase: lambda t: f"remove this run's mark from database {t.name}",
    s.CreateDatabase: lambda t: f"create empty database {t.name}",
    s.LoadDump: lambda t: f"load {t.file} of {t.set} into {t.name}{_allowances(t)}",
    s.CheckDatabase: lambda t: f"compare {t.name} with the record of {t.set}",
    s.MigrateDatabase: lambda t: f"migrate {t.name} to {t.revision}",
    s.WriteScript: lambda t: f"write database {t.database} ({t.kind}) to {t.file}",
    s.LoadScript: lambda t: f"load {t.file} into {t.name}",
    s.CopySchema: lambda t: f"copy the live schema of {t.database} to {t.name}",
    s.ReplaceRows: lambda t: f"replace the rows of {t.name} by {t.file} of {t.set}{_allowances(t)}",
    s.FinishDatabase: lambda t: f"gather statistics of {t.name}, apply owner, settings, grants",
    s.FenceDatabases: lambda t: f"fence {_listed(t.names, 'no database')}",
    s.SwapDatabases: _swap,
    s.PutBackDatabases: lambda t: (
        "put back " + _listed(tuple(swap.live for swap in t.swaps), "no database")
    ),
    s.DropDatabase: lambda t: f"drop database {t.name}",
    s.CreateVolume: lambda t: f"create volume {t.volume}",
    s.StageVolume: lambda t: f"stage {_content(t)} from {t.set}",
    s.SwapVolume: _swap_volume,
    s.PutBackVolume: lambda t: f"put back {_content(t)}",
    s.SettleVolume: lambda t: f"settle volume {t.volume}",
}


def sentence(step: Step) -> str:
    """Return what the step does, without its reason."""
    return SENTENCES[type(step)](step)


def describe(plan: Plan) -> str:
    """Return the whole plan as text, one line a step: sentence — reason.

    The text is the same for the dry run and the real run, but for the run's id.
    """
    lines = [f"plan: {plan.request}"]
    lines += _lines(plan.nodes, 1)
    if not plan.nodes:
        lines.append("  nothing to do")
    return "\n".join(lines) + "\n"


def _lines(nodes: tuple[Node, ...], depth: int) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for node in nodes:
        if not isinstance(node, Bracket):
            lines.append(f"{indent}{sentence(node)} — {node.why}")
            continue
        lines.append(f"{indent}[ {node.why} ]")
        for part in PARTS:
            inner = getattr(node, part)
            if inner and _PART_TITLES[part] and not (part == "body" and not node.enter):
                lines.append(f"{indent}{_PART_TITLES[part]}:")
            lines += _lines(inner, depth + 1)
    return lines
