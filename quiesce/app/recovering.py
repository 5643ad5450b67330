"""The verb that finishes what an interrupted run owes."""

from __future__ import annotations

from quiesce.app import isolated, telling
from quiesce.app.backups_folder import runs_folder
from quiesce.app.changing import changing
from quiesce.app.frame import Frame
from quiesce.app.leftovers import require_nothing_left
from quiesce.errors import StillOwed
from quiesce.execute import pending


class Recovering(Frame):
    """Settle interrupted runs, and try again what runs left."""

    def _remove_copies(self) -> None:
        def failed(run: str, error: Exception) -> None:
            self.reporter.warn(f"the copy of drill {run} cannot be removed: {error}")

        for name in isolated.sweep(self.stack, failed=failed):
            self.reporter.note(f"removed {name}, which a drill left")

    def recover(self) -> None:
        """Finish what an interrupted run owes, and remove the copies that dead drills left."""
        if self.options.dry_run:
            from quiesce.app.looking import abandoned, interrupted

            lines = [f"settle {dead.run}: {dead.verb}" for dead in interrupted(self.stack)]
            lines += [f"remove what run {run} left" for run in abandoned(self.stack)]
            notes, _ = pending.read_all(runs_folder(self.stack))
            lines += [f"try again what run {note.plan.run} left" for note in notes]
            lines += [f"remove {name}" for name in isolated.sweep(self.stack, only_look=True)]
            self.reporter.text("".join(f"{line}\n" for line in lines or ["nothing is owed"]))
            return
        run = self._run_id()
        with changing(
            self.stack,
            run,
            "recover",
            self.clock.now(),
            lambda: self._connect(run),
            wait=self.options.wait,
            recover=False,
        ) as work:
            settled = work.recover()
            work.let_others_in()
            # After what matters: a copy that cannot be removed keeps no service down.
            self._remove_copies()
            try:
                require_nothing_left(self.stack, work.ports, work.pending)
                left = None
            except StillOwed as error:
                left = error
        if settled:
            title = f"{self.stack.instance.name}: interrupted runs were settled"
            telling.tell(self.stack, "recovery", title, "\n".join(settled), self.reporter)
        if left is not None:
            raise left
        words = "settled: " + "; ".join(settled) if settled else "nothing is owed"
        self.reporter.done(words, {"settled": list(settled)})
