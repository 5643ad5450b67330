"""The verbs that remove: clean, clean-logs, clean-cache, nuke, clean-all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quiesce.app.confirming import (
    Loss,
    loss_lines,
    losses,
    require_phrase,
    require_yes,
    suggestion,
)
from quiesce.app.frame import Frame
from quiesce.app.immutable import refuse_immutable
from quiesce.app.measuring import measure
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


class Cleaning(Frame):
    """What removes something of an instance. Backups are never among it."""

    def clean(self, task: str = "clean") -> None:
        """Remove containers and networks; every volume stays."""

        def plan(ports: Ports, seen: Observed, run: str) -> Plan:
            return clean.plan_clean(self.stack, seen, ports.premises.belongings(), run, task)

        self._change(task, plan, "containers and networks are gone; every volume is still there")

    def empty(self, group: CleanGroup) -> None:
        """Empty what stack.yaml marks `clean: <group>`; its users stop and come back."""

        def plan(ports: Ports, seen: Observed, run: str) -> Plan:
            keys = {volume.key for volume in clean.marked(self.stack, group)[0]}
            refuse_immutable(ports, [state for state in seen.volumes if state.key in keys])
            return clean.plan_empty(self.stack, seen, run, group)

        def confirm(ports: Ports, seen: Observed, _: Plan) -> None:
            volumes, paths = clean.marked(self.stack, group)
            keys = [volume.key for volume in volumes]
            banner = [
                f"THIS EMPTIES THE {group.upper()} OF INSTANCE {self._name}:",
                *self._losses(ports, seen, keys),
                *(f"  folder {entry.path}; is never backed up" for entry in paths),
            ]
            if group == "cache":
                kept = [volume.key for volume in volumes if volume.backup == "files"]
                banner.append(suggestion(self.stack, kept) if kept else "")
                require_phrase(self.reporter, EMPTY_CACHE, banner, self.options.confirm)
            else:
                question = f"empty the {group} of {self._name}?"
                require_yes(self.reporter, question, banner, yes=self.options.yes)

        self._change(
            f"clean-{group}",
            plan,
            f"the {group} of {self._name} are empty" if group == "logs" else "the cache is empty",
            confirm=confirm,
        )

    def nuke(self, *, force: bool) -> None:
        """Remove the volumes of the databases, after the phrase; the next `up` starts empty."""
        self._require_named_instance("nuke")
        phrase = f"NUKE {self._name}"

        def plan(ports: Ports, seen: Observed, run: str) -> Plan:
            keys = {volume.key for volume in self.stack.volumes if volume.backup == "by-dump"}
            refuse_immutable(ports, [state for state in seen.volumes if state.key in keys])
            return clean.plan_nuke(self.stack, seen, run, force=force)

        def confirm(ports: Ports, seen: Observed, _: Plan) -> None:
            keys = [volume.key for volume in self.stack.volumes if volume.backup == "by-dump"]
            banner = [
                f"THIS REMOVES THE DATABASES OF INSTANCE {self._name}:",
                *self._losses(ports, seen, keys),
                *self._unseen(seen),
                suggestion(self.stack, [database.key for database in self.stack.databases]),
            ]
            require_phrase(self.reporter, phrase, banner, self.options.confirm)

        self._change(
            "nuke",
            plan,
            f"the databases of {self._name} are gone; 'inv up' starts with empty ones",
            confirm=confirm,
        )

    def clean_all(self, *, force: bool) -> None:
        """Remove everything of the instance but its backups, after the phrase."""
        self._require_named_instance("clean-all")

        def plan(ports: Ports, seen: Observed, run: str) -> Plan:
            owned = ports.premises.belongings()
            refuse_immutable(ports, clean.doomed_volumes(seen))
            return clean.plan_clean_all(self.stack, seen, owned, run, force=force)

        def confirm(ports: Ports, seen: Observed, _: Plan) -> None:
            banner = self._everything(ports, seen)
            require_phrase(self.reporter, DELETE_EVERYTHING, banner, self.options.confirm)

        self._change(
            "clean-all",
            plan,
            f"everything of {self._name} is gone but its backups in {self.stack.backups}",
            confirm=confirm,
        )

    # ------------------------------------------------------------------------------------ inside

    @property
    def _name(self) -> str:
        return self.stack.instance.name

    def _require_named_instance(self, task: str) -> None:
        if len(self.stack.instance_names) > 1 and self.options.instance is None:
            raise RequestError(
                f"{task} wants to be told which instance: {', '.join(self.stack.instance_names)}",
                f"run 'inv {task} --instance {self._name}'",
            )

    def _everything(self, ports: Ports, seen: Observed) -> list[str]:
        owned = ports.premises.belongings()
        keys = [state.key for state in clean.doomed_volumes(seen)]
        names = {state.name for state in seen.volumes}
        strays = [name for name in owned.volumes if name not in names]
        kept = [state.name for state in seen.volumes if state.external and state.exists]
        return [
            f"THIS REMOVES EVERYTHING OF INSTANCE {self._name}, FOR GOOD:",
            *self._losses(ports, seen, keys),
            *(f"  volume {name}, which the Compose file does not know any more" for name in strays),
            *(f"  what is in {entry.path}" for entry in self.stack.paths if entry.clean),
            *_counted(owned.containers, "container"),
            *_counted(owned.networks, "network"),
            *self._unseen(seen),
            *(f"kept: external volume {name}" for name in kept),
            f"kept: {words.counted(len(self._own_sets(ports)), 'backup set')} "
            f"in {self.stack.backups}",
            suggestion(self.stack),
        ]

    def _losses(self, ports: Ports, seen: Observed, keys: Sequence[str]) -> list[str]:
        states = [state for state in seen.volumes if state.key in keys]
        lost: tuple[Loss, ...] = losses(self.stack, seen, keys, measure(ports, states))
        return loss_lines(lost, self._own_sets(ports), self.clock.now())

    def _own_sets(self, ports: Ports) -> list[BackupSet]:
        return [s for s in ports.store.sets() if s.manifest.instance == self._name]

    def _unseen(self, seen: Observed) -> list[str]:
        """Say what could not be looked into: nobody knows what else is in there."""
        down = dict.fromkeys(
            self.stack.database(state.key).service
            for state in seen.databases
            if not state.reachable
        )
        return [f"  (not looked into: the databases of {name}, which is down)" for name in down]


def _counted(names: Sequence[str], noun: str) -> list[str]:
    return [f"  {words.counted(len(names), noun)}: {', '.join(names)}"] if names else []
