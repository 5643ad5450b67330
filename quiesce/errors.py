"""All errors. Each has a fact, a hint and an exit code.

    QuiesceError            1  unexpected
    ├── ServiceFailed       1  services could not be started, or are not healthy
    ├── LostEngine          1  the engine stopped answering
    ├── CannotDrop          1  a database that is no longer needed cannot be dropped
    ├── NotRestorable       1  an intact dump that cannot be loaded unchanged
    ├── RequestError        2  wrong request; nothing was changed
    │   ├── ConfigError     2  stack.yaml or the env file is wrong; lists every problem
    │   ├── NotDeclared     2  a service that was removed and is declared nowhere
    │   └── SilentEngine    2  the engine does not answer
    ├── StepFailed          3  a step failed; everything was put back
    ├── RecoveryPending     4  a step failed and something is left to recover
    ├── Busy                5  another run holds the lock
    ├── Refused             6  the confirmation was missing or wrong
    ├── CheckFailed         7  a check found something bad
    └── Interrupted     128+n  a signal stopped the run, and everything was put back

Facts are lower case without a full stop; hints are instructions. Neither ever contains a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from signal import Signals


class QuiesceError(Exception):
    """A failure that is reported with `fact` and `hint`, without a traceback."""

    exit_code = 1
    #: Whether an unreachable engine caused it, so that a later attempt may succeed.
    lost_engine = False

    def __init__(self, fact: str, hint: str = "", *, details: Sequence[str] = ()) -> None:
        super().__init__(fact)
        self.fact = fact
        self.hint = hint
        self.details = tuple(details)

    def __str__(self) -> str:
        return self.fact


class RequestError(QuiesceError):
    """The request cannot be carried out as given. Nothing was changed."""

    exit_code = 2


class ServiceFailed(QuiesceError):
    """`services` could not be started, or are not healthy."""

    def __init__(
        self,
        fact: str,
        hint: str = "",
        *,
        details: Sequence[str] = (),
        services: Sequence[str] = (),
    ) -> None:
        super().__init__(fact, hint, details=details)
        self.services = tuple(services)
        #: Seconds until the other services of the same wait were healthy.
        self.waited: Mapping[str, float] = {}

    @classmethod
    def of(cls, failures: Mapping[str, QuiesceError]) -> ServiceFailed:
        """Return one error for what happened to each of these services."""
        errors = tuple(failures.values())
        if len(errors) == 1:
            (error,) = errors
            return cls(error.fact, error.hint, details=error.details, services=tuple(failures))
        details = [f"{name}: {line}" for name, e in failures.items() for line in e.details]
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        fact = "; ".join(dict.fromkeys(error.fact for error in errors))
        return cls(fact, "; ".join(hints), details=details, services=tuple(failures))


class LostEngine(QuiesceError):
    """The engine stopped answering, or a connection to it ended early."""

    lost_engine = True


class CannotDrop(QuiesceError):
    """A server refuses to drop a database that is no longer needed: a previous copy, or a staging
    database of a failed restore. Nothing depends on it, so it can be dropped later."""


class SilentEngine(RequestError):
    """The engine does not answer at all. Nothing was changed."""

    lost_engine = True


class NotDeclared(RequestError):
    """A service has no container and is not declared, so it cannot be started."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration file: where it is, what it is, what to write instead."""

    file: str
    line: int
    path: str
    fact: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f"{self.path}: " if self.path else ""
        help_ = f" ({self.hint})" if self.hint else ""
        return f"{place}: {where}{self.fact}{help_}"


class ConfigError(RequestError):
    """Configuration is wrong; `problems` lists every mistake found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        count = len(self.problems)
        fact = str(first) if count == 1 else f"{first.file} has {count} mistakes"
        hint = f"correct {first.file}, then run 'inv check'"
        details = () if count == 1 else [str(problem) for problem in self.problems]
        super().__init__(fact, hint, details=details)


class StepFailed(QuiesceError):
    """A step failed, and everything it had changed was put back."""

    exit_code = 3


class NotRestorable(QuiesceError):
    """A dump is intact, but something in it cannot be restored unchanged."""


class RecoveryPending(QuiesceError):
    """A step failed and something could not be put back; `inv recover` continues."""

    exit_code = 4


class Busy(QuiesceError):
    """Another run holds the instance's lock."""

    exit_code = 5


class Refused(QuiesceError):
    """The confirmation was missing or wrong. Nothing was changed."""

    exit_code = 6


class StillNeeded(QuiesceError):
    """A previous copy was not removed, because its safety set could not be made. That failure is
    reported, and this one is not."""


class CheckFailed(QuiesceError):
    """A check found something bad; `details` names each finding."""

    exit_code = 7


class Interrupted(QuiesceError):
    """A signal ended the run; `exit_code` is 128 plus its number."""

    def __init__(self, signal_number: int) -> None:
        name = Signals(signal_number).name
        super().__init__(f"interrupted by {name}", "everything was put back; run it again")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


@contextmanager
def translate_errors(
    translation: Callable[[Exception], QuiesceError | None], *, show_cause: bool = True
) -> Iterator[None]:
    """If the block raises, raise the error that `translation` returns for the exception instead. If
    it returns None, the exception is not changed. Each system has its own translation. `--debug`
    also shows the cause, but not without `show_cause`, which is for systems whose messages must not
    be shown.
    """
    try:
        yield
    except Exception as error:
        told = translation(error)
        if told is None:
            raise
        raise told from (error if show_cause else None)


def place_of(error: BaseException) -> str:
    """Return type and location of an unexpected error. Its text may contain a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    if trace is None:
        return name
    return f"{name} in {trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
