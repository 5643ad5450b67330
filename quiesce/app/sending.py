"""Sets in stores away from here: push, pull, and looking at what is there."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from quiesce.app import choosing
from quiesce.app.connect import disconnect, signing_key_file
from quiesce.app.keeping import Keeping
from quiesce.errors import CheckFailed, RequestError
from quiesce.execute.handlers.offsite import store_candidates
from quiesce.plan import offsite, retention
from quiesce.report import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet, OffsiteSet
    from quiesce.ports import Offsite


class Sending(Keeping):
    """What the loss of this machine does not take."""

    def push(self, file: str | None, store: str | None) -> None:
        """Send a set, or all that a store does not hold yet."""
        sets = self._store_sets()
        chosen: BackupSet | None = None
        if file is not None:
            chosen = choosing.resolve(self.stack, sets, file, lambda _: "latest")
        if chosen is None:
            for name in offsite.held_back(self.stack, sets, store):
                self.reporter.warn(f"{name} stays here: it was not verified, or is damaged")
        plan = offsite.plan_push(self.stack, self._run_id(), sets, chosen, store)
        names = sorted({step.set for step in plan.nodes if hasattr(step, "set")})
        done = self._change_sets(
            "push", lambda _, run: offsite.plan_push(self.stack, run, sets, chosen, store)
        )
        if done:
            text = words.counted(len(names), "set")
            said = f"pushed {text}" if names else "everything good is there already"
            self.reporter.done(said, {"sets": names})

    def pull(self, file: str, store: str | None) -> str:
        """Bring a set back from a store and return its name; nothing is restored from it yet."""
        store = store or self._only_store()
        with self._offsite() as port:
            found = offsite.resolve(self.stack, port.sets(store), file, store)
            name = found.name
            if any(backup.name == name for backup in self._store_sets()):
                self.reporter.note(f"{name} is here already")
                return name
            self._require_trusted(port, found, store)
            if file.startswith("latest"):
                self._tell_lost(port, store)
        if found.encryption == "age" and self._identity() is None and not self.options.dry_run:
            raise RequestError(
                f"{name} is encrypted, and there is no identity",
                "give your key file with --identity, or in QUIESCE_IDENTITY",
            )
        done = self._change_sets(
            "pull",
            lambda _, run: offsite.plan_pull(
                self.stack,
                run,
                name,
                store,
                unsigned=self.options.accept_unsigned,
                unencrypted=self.options.accept_unencrypted,
            ),
        )
        if done:
            self.reporter.note(f"pulled {name} from {store}")
        return name

    def backups_of(self, store: str) -> None:
        """List what a store holds of this instance, and which of its rules keep it."""
        with self._ports(self._run_id()) as ports:
            port = ports.offsite
            sets, unreadable = port.sets(store), port.unreadable(store)
            reasons = self._store_reasons(ports, store, sets)
            self._tell_lost(port, store)
        self.reporter.offsite_sets(store, sets, self.clock.now(), reasons, unreadable)

    def verify_store(self, store: str, file: str | None, *, everything: bool) -> None:
        """Read sets in a store to their end, and what is encrypted within, where there is a key.

        Raise CheckFailed naming each damaged member.
        """
        run = self._run_id()
        with self._ports(run) as ports:
            port = ports.offsite
            sets = port.sets(store)
            unreadable = port.unreadable(store) if everything else ()
            chosen = (
                sets
                if everything
                else (offsite.resolve(self.stack, sets, file or "latest", store),)
            )
            wrong = [
                reason for entry in chosen for reason in self._noted_wrong(ports, run, store, entry)
            ]
            for entry in chosen:
                trust = port.trust(store, entry.name)
                if trust == "changed":
                    wrong.append(f"{entry.name}: {offsite.WHY_NOT[trust]}")
                elif not offsite.is_ours(trust):
                    self.reporter.warn(f"{entry.name}: {offsite.WHY_NOT[trust]}")
            self._tell_lost(port, store)
        wrong += [f"{name}: {reason}" for name, reason in unreadable]
        if wrong:
            raise CheckFailed(
                f"store {store}: {wrong[0]}",
                "remove that set from the store and run 'inv push --file' for it again",
                details=wrong[1:],
            )
        self.reporter.done("verified", {"store": store, "sets": [s.name for s in chosen]})

    def prune_store(self, store: str, *, force: bool = False) -> None:
        """Remove from a store what its rules do not keep, after a yes.

        `force` accepts sets that look like a loss, and counts sets whose sender is not known.
        """
        with self._ports(self._run_id()) as ports:
            sets = ports.offsite.sets(store)
            reasons = self._store_reasons(ports, store, sets, force=force)
        self.reporter.offsite_sets(store, sets, self.clock.now(), reasons, ())
        doomed = [entry for entry in sets if not reasons.get(entry.name)]
        question = f"remove {words.counted(len(doomed), 'set')} from {store}?" if doomed else ""
        done = self._change_sets(
            "prune",
            lambda _, run: offsite.plan_prune_store(self.stack, run, store, force=force),
            lambda: question,
        )
        if done:
            self.reporter.done("pruned", {"store": store, "removed": [s.name for s in doomed]})

    def pulled(self, file: str | None) -> str | None:
        """Return what is meant by `store:set` once that set is here, other words as they are;
        None when it would have to be pulled first, and this is a dry run."""
        store, separator, name = (file or "").partition(":")
        if not separator or store not in {entry.name for entry in self.stack.stores}:
            return file
        name = self.pull(name or "latest", store)
        here = any(backup.name == name for backup in self._store_sets())
        return name if here else None

    def accepting(self, *, unsigned: bool, unencrypted: bool) -> Self:
        """Return the same that takes sets from a store although they are not signed, or not
        encrypted."""
        options = replace(self.options, accept_unsigned=unsigned, accept_unencrypted=unencrypted)
        return self.__class__(self.stack, self.reporter, options)

    def use_identity(self, file: str) -> Self:
        """Return the same that decrypts with this key file; without one, with that of the
        environment, if any. Raise RequestError for one that is not there."""
        if not file:
            return self
        path = Path(file)
        if not path.is_file():
            raise RequestError(f"there is no identity {file}", "give the path of your key file")
        return self.__class__(self.stack, self.reporter, replace(self.options, identity=path))

    # ------------------------------------------------------------------------------------ inside

    def _noted_wrong(self, ports: Ports, run: str, store: str, entry: OffsiteSet) -> list[str]:
        """Return what is wrong with a set, and note it: a damaged set replaces no good one."""
        wrong = self._wrong_in(ports, run, store, entry)
        ports.offsite.note_damage(store, entry.name, damaged=bool(wrong))
        return wrong

    def _wrong_in(self, ports: Ports, run: str, store: str, entry: OffsiteSet) -> list[str]:
        """Return what is wrong with a set in a store, each with the set's name."""
        if not entry.encryption or self._identity() is None:
            reasons = ports.offsite.verify(store, entry.name, self.reporter.progress)
            return [f"{entry.name}/{reason}" for reason in reasons]
        # By the set's own sums: whoever can write into a store can write an index that fits.
        folder = ports.store.scratch(run, "pulled")
        try:
            ports.offsite.pull(store, entry.name, folder, self.reporter.progress)
        except CheckFailed as error:
            return [error.fact.removeprefix(f"store {store}: "), *error.details]
        finally:
            shutil.rmtree(folder / entry.name, ignore_errors=True)
        return []

    def _require_trusted(self, port: Offsite, found: OffsiteSet, store: str) -> None:
        target = next(entry for entry in self.stack.stores if entry.name == store)
        trust = port.trust(store, found.name)
        offsite.require_trusted(
            found,
            target,
            trust,
            unsigned=self.options.accept_unsigned,
            unencrypted=self.options.accept_unencrypted,
        )
        if trust == "unknown":
            self.reporter.warn(
                f"{found.name} cannot be authenticated: this installation has no signing key; "
                f"put your copy of it at {signing_key_file(self.stack)}, or be sure of the store"
            )

    def _tell_lost(self, port: Offsite, store: str) -> None:
        if lost := port.lost(store):
            self.reporter.warn(
                f"{words.counted(len(lost), 'set')} that was sent to {store} is not there any more,"
                f" the newest: {lost[-1]}; somebody else removed it"
            )

    def _store_reasons(
        self, ports: Ports, store: str, sets: Sequence[OffsiteSet], *, force: bool = False
    ) -> retention.Reasons:
        policy = next((s.retention for s in self.stack.stores if s.name == store), None)
        found = store_candidates(ports, store, sets)
        if force:
            found = tuple(replace(entry, stranger=False, accepted=True) for entry in found)
        if policy is None:
            return {
                entry.name: ("not known to be sent from here" if entry.stranger else "no rule",)
                for entry in found
            }
        zone = ZoneInfo(self.stack.timezone)
        for suspicion in retention.suspicions(found, self.clock.now()):
            self.reporter.warn(
                f"{store}: what is older is kept: {suspicion}; "
                f"if that is right, run 'inv prune --store {store} --force'"
            )
        return retention.decide(found, policy, self.clock.now(), zone)

    def _only_store(self) -> str:
        names = [entry.name for entry in self.stack.stores]
        if len(names) != 1:
            raise RequestError(
                "which store is meant?" if names else "this instance has no store",
                f"give --store: {', '.join(names)}" if names else "name one in stack.yaml",
            )
        return names[0]

    @contextmanager
    def _offsite(self) -> Iterator[Offsite]:
        with self._ports(self._run_id()) as ports:
            yield ports.offsite

    @contextmanager
    def _ports(self, run: str) -> Iterator[Ports]:
        ports = self._connect(run)
        try:
            yield ports
        finally:
            disconnect(ports, run)
