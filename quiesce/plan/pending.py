"""Which failures of a run block the next run, and which may stay pending. Pure.

What decides which data is live blocks: a half-done exchange, a changed restart policy. Clean-up
steps and services that do not start are recorded and retried by every later run. Backups stay
possible meanwhile, because that is often when they are needed most.
"""

from __future__ import annotations

from dataclasses import replace
from shlex import quote

from quiesce.plan.steps import (
    CheckAddresses,
    DiscardStaging,
    DropDatabase,
    FinishSwap,
    ForgetPending,
    MakeSafetySet,
    Node,
    Plan,
    ReleaseSnapshot,
    RemoveProject,
    RemoveServices,
    RunCommand,
    StartServices,
    Step,
    StopServices,
    UnmarkDatabase,
    UpServices,
    WaitHealthy,
    WaitServices,
    steps_of,
)

_CLEAN_UPS = (
    *(DropDatabase, UnmarkDatabase, FinishSwap, DiscardStaging, ReleaseSnapshot),
    # Until it is made, what it is made of stays, and restoring that by renames stays possible.
    *(MakeSafetySet, ForgetPending),
)
_SERVICES = (StartServices, WaitHealthy, WaitServices, CheckAddresses, RunCommand)
#: Tasks by which the user decides which services run.
DECIDING = frozenset("up start stop restart rebuild down clean clean-all nuke shutdown".split())


def is_clean_up(step: Step) -> bool:
    """Whether the step only removes data that is no longer needed, or first saves it in a set."""
    return isinstance(step, _CLEAN_UPS)


def may_wait(step: Step) -> bool:
    """Whether a failure of the step does not block later runs."""
    return isinstance(step, _CLEAN_UPS + _SERVICES)


def split(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], tuple[Step, ...]]:
    """Split steps: those up to the last one that blocks if it fails, and the rest, which may stay
    pending."""
    rest: list[Step] = []
    for node in reversed(nodes):
        if not isinstance(node, _CLEAN_UPS + _SERVICES):
            break
        rest.insert(0, node)
    return nodes[: len(nodes) - len(rest)], tuple(rest)


def steps_to_retry(steps: tuple[Step, ...], failed: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps to retry if `failed` of `steps` failed.

    Starts and waits belong together: if one failed, all of them are retried.
    """
    services = any(not is_clean_up(step) for step in failed)
    return tuple(step for step in steps if step in failed or (services and not is_clean_up(step)))


def safety_sets(steps: tuple[Step, ...]) -> tuple[MakeSafetySet, ...]:
    """Return the safety sets among these steps."""
    return tuple(step for step in steps if isinstance(step, MakeSafetySet))


def released(step: Step, failed: tuple[Step, ...]) -> Step:
    """Return the step without the condition `kept_in` if that safety set was made.

    The condition would otherwise stay in the record, and the step would fail forever once the
    user or retention has removed the set.
    """
    if not isinstance(step, DropDatabase | FinishSwap):
        return step
    waits = any(one.set == step.kept_in for one in safety_sets(failed))
    return step if waits else replace(step, kept_in="")


def services_of(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """Return the services that these steps start, or in which they run a command."""
    names: list[str] = []
    for step in steps:
        if isinstance(step, StartServices | WaitHealthy):
            names += [unit.service for unit in step.units]
        elif isinstance(step, RunCommand):
            names.append(step.service)
    return tuple(dict.fromkeys(names))


def describe_leftover(step: Step, run: str, backups: str) -> tuple[str, str]:
    """Return what is left if a clean-up step fails, and how to remove it by hand."""
    if isinstance(step, DropDatabase):
        name = step.name.replace('"', '""')
        return f"database {step.name}", f'DROP DATABASE "{name}" WITH (FORCE);'
    if isinstance(step, UnmarkDatabase):
        return (
            f"the marker of run {run} in the comment of {step.name}",
            "not needed, because it is harmless",
        )
    if isinstance(step, FinishSwap):
        folder = f".quiesce-{step.run or run}"
        return (
            f"folder {folder} in {step.noun} {step.volume}",
            f"as root, rm -r {folder} in the mountpoint that 'inv volumes' shows",
        )
    if isinstance(step, ForgetPending):
        return f"the record of run {step.run}", "not needed, because that run was undone"
    if isinstance(step, ReleaseSnapshot):
        session = f"a session of run {run} in database {step.database}"
        return session, "not needed, because it ends with its process"
    folder = f"{backups}/.staging/{run}"
    return f"folder {folder}", f"rm -r {quote(folder)}"


def without_decided(steps: tuple[Step, ...], plan: Plan) -> tuple[Step, ...]:
    """Return the pending steps that remain after `plan` was carried out.

    If the user stopped, removed or started a service since, its pending start is dropped.
    """
    if plan.verb not in DECIDING:
        return steps
    decided: set[str] = set()
    everything = False
    for _, step in steps_of(plan.nodes):
        if isinstance(step, RemoveProject) or (
            isinstance(step, RemoveServices) and not step.services
        ):
            everything = True
        elif isinstance(step, StartServices | StopServices):
            decided |= {unit.service for unit in step.units}
        elif isinstance(step, UpServices | RemoveServices):
            decided |= set(step.services)
    remaining = (_without(step, None if everything else decided) for step in steps)
    return tuple(step for step in remaining if step is not None)


def _without(step: Step, decided: set[str] | None) -> Step | None:
    """Return the step without these services (None: all of them), or None if nothing remains."""
    if isinstance(step, StartServices | WaitHealthy):
        units = () if decided is None else tuple(u for u in step.units if u.service not in decided)
        return replace(step, units=units) if units else None
    if isinstance(step, RunCommand):
        return None if decided is None or step.service in decided else step
    if isinstance(step, CheckAddresses):
        return None
    return step
