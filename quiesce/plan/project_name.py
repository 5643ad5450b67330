"""The Compose project name of a stack if stack.yaml does not set it. Pure.

A wrong name would start the stack a second time: with new volumes all data would seem lost, with
the same volumes a second server would start on live data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quiesce.errors import RequestError
from quiesce.findings import Finding
from quiesce.model import Stack, is_sibling
from quiesce.observed import Observed, OtherProject, Traces


def choose_project(
    instance: str,
    names: Sequence[str],
    traces: Mapping[str, Traces],
    siblings: Sequence[str] = (),
) -> str:
    """Return the project's name.

    `names` are those that this stack may have: first that of a new stack, later ones of lower
    precedence, and the instance's name, which older versions used. `traces` also has projects of
    other names with containers of these Compose files; those of `siblings` (other instances) do
    not count. Raise RequestError if it is ambiguous.
    """
    preferred = names[0]
    none = Traces()
    strangers = [n for n in sorted(traces) if n not in names and not is_sibling(n, siblings)]
    used = [name for name in names if traces.get(name, none).containers]
    # A project that was stopped and left behind does not matter beside one that exists here.
    used += [n for n in strangers if traces[n].running or (not used and traces[n].containers)]
    if len(used) > 1:
        lines = " or ".join(f"'project: {name}'" for name in used)
        raise RequestError(
            f"containers of this Compose file belong to several projects: {', '.join(used)}",
            f"add the right one of {lines} to instance {instance} in stack.yaml",
        )
    if used and used[0] in (preferred, instance):
        return used[0]
    if used:
        raise _elsewhere(instance, "containers", used[0])
    if others := traces.get(preferred, none).others:
        raise RequestError(
            f"project {preferred} is another stack: its containers were created from {others[0]}",
            f"add 'project:' with a name that no other stack has to instance {instance} in "
            f"stack.yaml; only if both files are one stack, add 'project: {preferred}'",
        )
    # Volumes of another stack's project say nothing about this one.
    kept = [name for name in names if traces.get(name, none).volumes and not traces[name].others]
    if preferred in kept or not kept:
        return preferred
    if kept == [instance]:
        return instance
    raise _elsewhere(instance, "volumes", next(name for name in kept if name != instance))


def other_project_findings(stack: Stack, observed: Observed) -> tuple[Finding, ...]:
    """Return what `check` says about the project: others that run from the same Compose file, and
    a name that only this shell has."""
    instance = stack.instance
    found = [
        Finding("error" if _is_doubtful(stack, other) else "warning", other.project, *text)
        for other in observed.other_projects
        for text in (_other_project(stack, other),)
    ]
    if instance.project_from == "environment":
        found.append(
            Finding(
                "warning",
                instance.project,
                "is the project only as long as COMPOSE_PROJECT_NAME is set in this shell; cron "
                "does not have it",
                f"add 'project: {instance.project}' to instance {instance.name} in stack.yaml",
            )
        )
    return tuple(found)


def refuse_other_projects(stack: Stack, observed: Observed) -> None:
    """Raise RequestError if another project that runs from these files may be the one meant."""
    for other in observed.other_projects:
        if _is_doubtful(stack, other):
            fact, hint = _other_project(stack, other)
            raise RequestError(f"project {other.project} {fact}; nothing was changed", hint)


def _is_doubtful(stack: Stack, other: OtherProject) -> bool:
    """Whether the other project may be this stack. Not if stack.yaml names one that has containers:
    a person decided that."""
    return other.alone or stack.instance.project_from != "stack.yaml"


def _other_project(stack: Stack, other: OtherProject) -> tuple[str, str]:
    """Return the fact, and the line for stack.yaml in either case."""
    instance, line = stack.instance, f"'project: {other.project}'"
    return (
        f"runs from this Compose file, and instance {instance.name} is project {instance.project}",
        f"if it is this stack, set {line} for instance {instance.name} in stack.yaml; "
        f"otherwise declare it there as another instance, with {line}",
    )


def _elsewhere(instance: str, kind: str, project: str) -> RequestError:
    return RequestError(
        f"stack.yaml sets no project for instance {instance}, but {kind} of this stack "
        f"belong to project {project}",
        f"add 'project: {project}' to instance {instance} in stack.yaml",
    )
