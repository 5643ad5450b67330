"""The verbs that remove: clean, clean-logs, clean-cache, nuke, clean-all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quiesce.app.confirm import (
    Loss,
    loss_lines,
    losses,
    require_phrase,
    require_yes,
    suggestion,
)
from quiesce.app.immutable import refuse_immutable, refuse_mount_points
from quiesce.app.session import Session
from quiesce.app.volume_sizes import measure
from quiesce.errors import RequestError
from quiesce.plan import clean
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet, CleanGroup
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan

DELETE_EVERYTHING = "DELETE EVERYTHING"

EMPTY_CACHE = "EMPTY CACHE"


def run_clean(session: Session, task: str = "clean") -> None:
    """Remove containers and networks; all volumes are kept."""

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        return clean.plan_clean(session.stack, seen, ports.project.resources(), run, task)

    session.change(task, plan, "containers and networks were removed; all volumes were kept")


def run_empty(session: Session, group: CleanGroup) -> None:
    """Empty what stack.yaml marks `clean: <group>`; the services that use it restart."""

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        keys = {volume.key for volume in clean.marked(session.stack, group)[0]}
        states = [state for state in seen.volumes if state.key in keys]
        refuse_immutable(ports, states)
        refuse_mount_points(ports, states)
        return clean.plan_empty(session.stack, seen, run, group)

    def confirm(ports: Ports, seen: Observed, _: Plan) -> None:
        volumes, paths = clean.marked(session.stack, group)
        keys = [volume.key for volume in volumes]
        banner = [
            f"THIS EMPTIES THE {group.upper()} OF INSTANCE {_name(session)}:",
            *_losses(session, ports, seen, keys),
            *(f"  folder {entry.path}; is never backed up" for entry in paths),
        ]
        if group == "cache":
            kept = [volume.key for volume in volumes if volume.backup == "files"]
            banner.append(suggestion(session.stack, kept) if kept else "")
            require_phrase(session.reporter, EMPTY_CACHE, banner, session.options.confirm)
        else:
            question = f"empty the {group} of {_name(session)}?"
            require_yes(session.reporter, question, banner, yes=session.options.yes)

    session.change(
        f"clean-{group}",
        plan,
        f"emptied the {group} of {_name(session)}" if group == "logs" else "emptied the cache",
        confirm=confirm,
    )


def run_nuke(session: Session, *, force: bool) -> None:
    """Remove the volumes of the databases, and empty their folders, after the phrase; the next
    `up` starts empty."""
    _require_named_instance(session, "nuke")
    phrase = f"NUKE {_name(session)}"

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        keys = {volume.key for volume in session.stack.volumes if volume.backup == "by-dump"}
        states = [state for state in seen.volumes if state.key in keys]
        refuse_immutable(ports, states)
        refuse_mount_points(ports, states)
        return clean.plan_nuke(session.stack, seen, run, force=force)

    def confirm(ports: Ports, seen: Observed, _: Plan) -> None:
        keys = [volume.key for volume in session.stack.volumes if volume.backup == "by-dump"]
        banner = [
            f"THIS REMOVES THE DATABASES OF INSTANCE {_name(session)}:",
            *_losses(session, ports, seen, keys),
            *_unseen(session, seen),
            suggestion(session.stack, [database.key for database in session.stack.databases]),
        ]
        require_phrase(session.reporter, phrase, banner, session.options.confirm)

    session.change(
        "nuke",
        plan,
        f"the databases of {_name(session)} were removed; 'inv up' starts with empty ones",
        confirm=confirm,
    )


def run_clean_all(session: Session, *, force: bool) -> None:
    """Remove everything of the instance except its backups, after the phrase."""
    _require_named_instance(session, "clean-all")

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        owned = ports.project.resources()
        states = clean.doomed_volumes(session.stack, seen)
        refuse_immutable(ports, states)
        refuse_mount_points(ports, states)
        return clean.plan_clean_all(session.stack, seen, owned, run, force=force)

    def confirm(ports: Ports, seen: Observed, _: Plan) -> None:
        banner = _everything(session, ports, seen)
        require_phrase(session.reporter, DELETE_EVERYTHING, banner, session.options.confirm)

    session.change(
        "clean-all",
        plan,
        f"everything of {_name(session)} was removed, except its backups in "
        f"{session.stack.backups}",
        confirm=confirm,
    )


def _name(
    session: Session,
) -> str:
    return session.stack.instance.name


def _require_named_instance(session: Session, task: str) -> None:
    if len(session.stack.instance_names) > 1 and session.options.instance is None:
        raise RequestError(
            f"{task} needs --instance, because there are several: "
            f"{', '.join(session.stack.instance_names)}",
            f"name the one that you mean: inv {task} --instance NAME",
        )


def _everything(session: Session, ports: Ports, seen: Observed) -> list[str]:
    owned = ports.project.resources()
    keys = [state.key for state in clean.doomed_volumes(session.stack, seen)]
    names = {state.name for state in seen.volumes}
    strays = [name for name in owned.volumes if name not in names]
    kept = [state.name for state in seen.volumes if state.external and state.exists]
    doomed = set(keys)
    folders = [s.name for s in seen.volumes if s.is_folder and s.exists and s.key not in doomed]
    return [
        f"THIS PERMANENTLY REMOVES EVERYTHING OF INSTANCE {_name(session)}:",
        *_losses(session, ports, seen, keys),
        *(f"  volume {name}, which is no longer in the Compose file" for name in strays),
        *(f"  the contents of {e.path}" for e in session.stack.unkept_paths if e.clean),
        *_counted(owned.containers, "container"),
        *_counted(owned.networks, "network"),
        *_unseen(session, seen),
        *(f"kept: external volume {name}" for name in kept),
        *(f"kept: folder {folder}" for folder in folders),
        f"kept: {words.counted(len(_own_sets(session, ports)), 'backup set')} "
        f"in {session.stack.backups}",
        suggestion(session.stack),
    ]


def _losses(session: Session, ports: Ports, seen: Observed, keys: Sequence[str]) -> list[str]:
    states = [state for state in seen.volumes if state.key in keys]
    lost: tuple[Loss, ...] = losses(session.stack, seen, keys, measure(ports, states))
    return loss_lines(lost, _own_sets(session, ports), session.clock.now())


def _own_sets(session: Session, ports: Ports) -> list[BackupSet]:
    return [s for s in ports.store.sets() if s.manifest.instance == _name(session)]


def _unseen(session: Session, seen: Observed) -> list[str]:
    """Name servers that could not be inspected: they may contain undeclared databases."""
    down = dict.fromkeys(
        session.stack.database(state.key).service for state in seen.databases if not state.reachable
    )
    return [f"  (not inspected: the databases of {name}, which is down)" for name in down]


def _counted(names: Sequence[str], noun: str) -> list[str]:
    return [f"  {words.counted(len(names), noun)}: {', '.join(names)}"] if names else []
