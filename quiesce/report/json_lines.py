"""The renderer for `--log-format json`: events as one JSON object per line, on stderr."""

from __future__ import annotations

import json
from typing import Any

from quiesce.report import words
from quiesce.report.plain import HEARTBEAT, PlainRenderer
from quiesce.report.renderer import Failure, Instant, Running


class JsonLinesRenderer(PlainRenderer):
    """Events to `err`, for log collectors; results as in the plain renderer.

    Every line has `time` (UTC), `level`, `event`, `task` and `message`.
    """

    #: The name of the command; set by the creator of the renderer.
    task = ""

    def begins(self, step: Running, at: Instant) -> None:
        super().begins(step, at)
        self._say(at, "info", "step_begins", step.sentence, why=step.why, position=step.position)

    def ends(self, position: str, sentence: str, seconds: float, result: str, at: Instant) -> None:
        self._steps.remove(position)
        more = {"position": position, "seconds": round(seconds, 3), "result": result}
        self._say(at, "info", "step_ends", sentence, **more)

    def fails(self, position: str, sentence: str, reason: str, at: Instant) -> None:
        self._steps.remove(position)
        self._say(at, "error", "step_fails", sentence, position=position, reason=reason)

    def note(self, text: str, at: Instant) -> None:
        self._say(at, "info", "note", text)

    def warn(self, text: str, at: Instant) -> None:
        self._say(at, "warning", "warning", text)

    def tick(self, at: Instant) -> None:
        for step in self._steps.all():
            if at.clock - (step.reported_at or self._began[step.position]) >= HEARTBEAT:
                step.reported_at = at.clock
                self._say(at, "info", "step_runs", step.sentence, text=step.text, done=step.done)

    def failure(self, failure: Failure) -> None:
        line: dict[str, Any] = {"level": "error", "event": "failure", "task": self.task}
        line |= {"message": failure.fact, "hint": failure.hint, "details": list(failure.details)}
        if failure.trace:
            line["trace"] = failure.trace
        self._err.write(f"{json.dumps(line, ensure_ascii=False)}\n")

    def _say(self, at: Instant, level: str, event: str, message: str, **more: object) -> None:
        line: dict[str, object] = {"time": words.utc(at.when), "level": level, "event": event}
        line |= {"task": self.task, "message": message}
        line |= {key: value for key, value in more.items() if value != ""}
        self._err.write(f"{json.dumps(line, ensure_ascii=False)}\n")
