"""The plans of the clean tasks. Pure.

    clean, clean-containers   remove containers and networks, keep all volumes
    clean-logs, clean-cache   empty what stack.yaml marks, while its users are stopped
    nuke                      remove the volumes, or empty the folders, that contain the databases
    clean-all                 remove containers, networks and volumes of the instance, keep backups

A folder of `paths` is never removed. It is emptied only if it is marked `clean`, or contains
databases (`by-dump`).

If a plan fails, the services that ran are started again, as far as they still exist. A recovery
never removes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from quiesce.errors import RequestError
from quiesce.model import CleanGroup, PathEntry, Stack, Volume
from quiesce.observed import Observed, ProjectResources, Unit, VolumeState
from quiesce.plan.order import in_stop_order
from quiesce.plan.services import ordered, stop_for_good, with_dependents, with_units_stopped
from quiesce.plan.steps import (
    EmptyPath,
    EmptyVolume,
    Node,
    Plan,
    RemoveProject,
    RemoveServices,
    RemoveVolume,
)


def plan_clean(
    stack: Stack, observed: Observed, resources: ProjectResources, run: str, verb: str
) -> Plan:
    """Return the plan that removes every container and network and keeps every volume."""
    nodes: tuple[Node, ...] = ()
    if resources.containers or resources.networks or _units(observed):
        units = _in_order(stack, observed)
        remove = RemoveProject("data is in volumes, which are kept")
        why = "their containers are removed"
        nodes = stop_for_good(stack, observed, units, why, (remove,))
    return _plan(stack, observed, run, verb, f"remove the containers of {_name(stack)}", nodes)


def marked(stack: Stack, group: CleanGroup) -> tuple[tuple[Volume, ...], tuple[PathEntry, ...]]:
    """Return the sources of files, and the paths that no set contains, that are marked
    `clean: <group>`.

    Raise RequestError when there is none.
    """
    volumes = tuple(volume for volume in stack.volumes if volume.clean == group)
    paths = tuple(entry for entry in stack.unkept_paths if entry.clean == group)
    if not volumes and not paths:
        raise RequestError(
            f"no volume or path in {stack.file.name} is marked 'clean: {group}'",
            f"add 'clean: {group}' to the volumes and paths that may be emptied",
        )
    return volumes, paths


def plan_empty(stack: Stack, observed: Observed, run: str, group: CleanGroup) -> Plan:
    """Return the plan that empties volumes and folders marked `clean: <group>`, and nothing else.

    The services that use these, and services that depend on those, are stopped meanwhile. Services
    that were down stay down. Raise RequestError if nothing is marked, or if a container outside of
    the project uses it.
    """
    volumes, paths = marked(stack, group)
    there = [v for v in volumes if observed.volume(v.key).exists]
    for volume in there:
        refuse_shared(stack, observed.volume(volume.key), ())
    reasons: dict[str, str] = {}
    for service in observed.services:
        for mount in service.mounts:
            used = [v.key for v in there if mount.volume == v.key]
            if mount.volume is None:
                used += [entry.key for entry in paths if _overlap(mount.source, entry.path)]
            if used:
                reasons.setdefault(service.name, f"uses {used[0]}")
    units, why = with_dependents(stack, observed, reasons)
    body: tuple[Node, ...] = (
        *(EmptyVolume(v.key, f"marked 'clean: {group}'", noun=v.noun) for v in there),
        *(_empty_path(stack, entry, f"marked 'clean: {group}'") for entry in paths),
    )
    nodes = with_units_stopped(stack, observed, units, why, body) if body else ()
    return _plan(
        stack, observed, run, f"clean-{group}", f"empty the {group} of {_name(stack)}", nodes
    )


def plan_nuke(stack: Stack, observed: Observed, run: str, *, force: bool) -> Plan:
    """Return the plan that removes the volumes of the databases, and empties their folders.
    Services that use these stay down.

    Raise RequestError if no volume is marked as containing databases, if one is external, or
    (without `force`) if a server contains a database that `stack.yaml` does not declare.
    """
    keys = [volume.key for volume in stack.volumes if volume.backup == "by-dump"]
    if not keys:
        raise RequestError(
            "no volume is marked as containing databases",
            f"mark the volume of the database server 'backup: by-dump' in {stack.file.name}",
        )
    refuse_undeclared(stack, observed, force=force)
    doomed = [observed.volume(key) for key in keys if observed.volume(key).exists]
    for state in doomed:
        refuse_shared(stack, state, ())
        if state.external:
            raise RequestError(
                f"volume {state.key} is external and is not removed with the stack",
                "if no other project uses it and its data may be lost, remove it yourself: docker "
                f"volume rm {state.name}",
            )
    reasons = {
        service.name: f"uses {mount.volume}"
        for service in observed.services
        for mount in service.mounts
        if mount.volume in [state.key for state in doomed]
    }
    units, why = with_dependents(stack, observed, reasons)
    owners = tuple(name for name in reasons if observed.service(name).units)
    body: tuple[Node, ...] = tuple(
        EmptyVolume(state.key, _purpose(stack, state), noun="path")
        if state.is_folder
        else RemoveVolume(state.name, f"{_purpose(stack, state)}; 'inv up' creates it again, empty")
        for state in doomed
    )
    if owners:
        removed = any(not state.is_folder for state in doomed)
        reason = "a volume in use cannot be removed" if removed else "their data is removed"
        body = (RemoveServices(owners, reason), *body)
    nodes = stop_for_good(stack, observed, units, why, body) if doomed else ()
    return _plan(stack, observed, run, "nuke", f"remove the databases of {_name(stack)}", nodes)


def plan_clean_all(
    stack: Stack, observed: Observed, resources: ProjectResources, run: str, *, force: bool
) -> Plan:
    """Return the plan that removes everything of the instance except its backups.

    This means everything with the project's label, the volumes of the Compose file, and the
    contents of paths marked `clean` or `by-dump`; never an external volume. Raise RequestError if
    a container outside of the project uses one of the volumes, or (without `force`) if a server
    contains a database that `stack.yaml` does not declare.
    """
    refuse_undeclared(stack, observed, force=force)
    every = doomed_volumes(stack, observed)
    for state in every:
        refuse_shared(stack, state, resources.containers)
    doomed = [state for state in every if not state.is_folder]
    folders = [state for state in every if state.is_folder]
    named = [state.name for state in doomed]
    kept = [state.name for state in observed.volumes if state.external]
    unknown = [name for name in resources.volumes if name not in (*named, *kept)]
    units = _in_order(stack, observed)
    body: list[Node] = []
    if units or resources.containers or resources.networks or _units(observed):
        body.append(RemoveProject("everything that belongs to the instance is removed"))
    body += [RemoveVolume(state.name, _purpose(stack, state)) for state in doomed]
    body += [RemoveVolume(name, "has the project's label") for name in unknown]
    if body or folders:
        body += [EmptyVolume(s.key, _purpose(stack, s), noun="path") for s in folders]
        body += [
            _empty_path(stack, entry, f"marked 'clean: {entry.clean}'")
            for entry in stack.unkept_paths
            if entry.clean
        ]
    nodes = stop_for_good(
        stack, observed, units, "everything that belongs to the instance is removed", tuple(body)
    )
    return _plan(
        stack,
        observed,
        run,
        "clean-all",
        f"remove everything that belongs to {_name(stack)}",
        nodes,
    )


def doomed_volumes(stack: Stack, observed: Observed) -> tuple[VolumeState, ...]:
    """Return the existing volumes of the instance, without external ones, and the folders that may
    be emptied with them."""
    emptied = {v.key for v in stack.folders if v.clean is not None or v.backup == "by-dump"}
    return tuple(
        state
        for state in observed.volumes
        if state.exists and not state.external and (not state.is_folder or state.key in emptied)
    )


def refuse_undeclared(stack: Stack, observed: Observed, *, force: bool) -> None:
    """Raise RequestError naming databases that no set contains."""
    unknown = [n for n in observed.undeclared_databases if n not in stack.excluded_databases]
    if unknown and not force:
        raise RequestError(
            f"the server also contains {', '.join(unknown)}, which {stack.file.name} does not "
            "declare",
            f"add {unknown[0]} to 'databases' and back it up; --force deletes it without a backup",
        )


def refuse_shared(stack: Stack, state: VolumeState, own: Sequence[str]) -> None:
    """Raise RequestError if others use the volume; `own` are the project's containers."""
    others = [name for name in state.outside if name not in own]
    if others:
        raise RequestError(
            f"{state.noun} {state.key} ({state.name}) is also used by {', '.join(others)}",
            f"it does not belong to this project; if {others[0]} is no longer needed, stop and "
            "remove it, then try again",
        )
    if state.project and state.project != stack.instance.project:
        raise RequestError(
            f"volume {state.key} ({state.name}) belongs to project {state.project}",
            "give each instance its own volume names, for example with ${STACK}",
        )


def _in_order(stack: Stack, observed: Observed) -> tuple[Unit, ...]:
    return in_stop_order(observed.running, ordered(stack, observed))


def _units(observed: Observed) -> bool:
    return any(service.units for service in observed.services)


def _empty_path(stack: Stack, entry: PathEntry, why: str) -> EmptyPath:
    inside = entry.path.is_relative_to(stack.directory)
    return EmptyPath(str(entry.path.relative_to(stack.directory) if inside else entry.path), why)


def _overlap(source: str, path: PurePath) -> bool:
    """Whether a mounted folder is the path, is below it, or contains it."""
    mounted = PurePath(source)
    return mounted.is_absolute() and (mounted.is_relative_to(path) or path.is_relative_to(mounted))


def _purpose(stack: Stack, state: VolumeState) -> str:
    declared = next((volume for volume in stack.volumes if volume.key == state.key), None)
    return (declared.purpose or declared.priority) if declared else "is not in stack.yaml"


def _name(stack: Stack) -> str:
    return stack.instance.name


def _plan(
    stack: Stack, observed: Observed, run: str, verb: str, request: str, nodes: tuple[Node, ...]
) -> Plan:
    return Plan(
        run, verb, stack.instance.name, request, stack.digest, observed.engine.id, tuple(nodes)
    )
