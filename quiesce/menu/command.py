"""Turns a function into a task: adds the common options and one error boundary.

A task's function gets the session and its own options; the options of every task are added here.
Options have long names only, because short ones derived from them would depend on their order.
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from quiesce.menu.command_name import called_as, folder_of_stack

if TYPE_CHECKING:
    from quiesce.app import Session
    from quiesce.commands.init import Place
    from quiesce.errors import QuiesceError

#: Errors of a machine that is full or faulty, or that denies access.
_THE_MACHINES = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENAMETOOLONG,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)
_EVERY_TASK = {
    "instance": (None, "instance in stack.yaml (default: its default_instance)"),
    "stack": (None, "path of stack.yaml (default: QUIESCE_STACK, or stack.yaml next to tasks.py)"),
    "json": (False, "print one JSON document to standard output"),
    "log_format": (
        "",
        "text, or json: one object per line on stderr (default: QUIESCE_LOG_FORMAT)",
    ),
    "debug": (False, "show the traceback of an error"),
}
_EVERY_CHANGE = {
    **_EVERY_TASK,
    "dry_run": (False, "print the plan and change nothing"),
    "yes": (False, "answer yes to questions, but not to those that ask for a typed phrase"),
    "wait": (0, "seconds to wait for another run to end"),
    "verbose": (False, "show every step on a terminal; logs and reports always do"),
}
_EVERYWHERE = {
    "all_instances": (
        False,
        "run for every instance in stack.yaml; exit with the worst exit code",
    )
}
_CONFIRM = {"confirm": (None, "the phrase that a destructive task asks for")}


#: The changing tasks of this command line, in order; filled before the first of them runs.
_announced: list[str] = []


class ChangingTask(Task[Any]):
    """A task that changes something, and registers before any task of the command line runs.

    Invoke first expands the whole command line, reading every task's `pre` tasks, and only then
    runs them: a task whose `pre` is read is going to run.
    """

    @property
    def pre(self) -> list[Any]:
        _announced.append(self.name)
        return self._pre

    @pre.setter
    def pre(self, tasks: list[Any]) -> None:
        self._pre = tasks


def command(
    *,
    changes: bool = True,
    phrase: bool = False,
    stack: bool = True,
    place: bool = False,
    everywhere: bool = False,
    name: str | None = None,
    **help_texts: str,
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a task of `function(session, **own options)`.

    Without `stack`, no stack.yaml is read, and the function gets the reporter instead of the
    session. With `place`, stack.yaml need not exist, and the function gets the folder (`Place`).
    `changes` adds `--dry-run`, `--yes` and `--wait`; `phrase` adds `--confirm`, `everywhere`
    `--all-instances`. `name` is the task's name if it differs from the function's. `help_texts`
    describe the function's own options.
    """
    common = dict(_EVERY_CHANGE if changes else _EVERY_TASK) | (_CONFIRM if phrase else {})
    common |= _EVERYWHERE if everywhere else {}
    if place:
        common = {key: common[key] for key in common if key not in ("instance", "wait")}
    if not stack:
        common = {name: common[name] for name in ("json", "log_format", "debug")}

    def decorate(function: Callable[..., None]) -> Task[Any]:
        own = list(inspect.signature(function).parameters.values())[1:]

        def body(context: Context, **given: Any) -> None:
            # As a task's `pre`, or called by another task, it gets no options.
            shared = {name: given.pop(name, default) for name, (default, _) in common.items()}
            _run(context, function, given, shared, place=place)

        body.__name__ = function.__name__
        body.__doc__ = function.__doc__
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        added = [inspect.Parameter(n, kind, default=d) for n, (d, _) in common.items()]
        first = inspect.Parameter("context", kind)
        body.__signature__ = inspect.Signature([first, *own, *added])  # type: ignore[attr-defined]
        texts = {name: text for name, (_, text) in common.items()}
        made: Task[Any] = task(
            name=name,
            klass=ChangingTask if changes else Task,
            help={**help_texts, **texts},
            auto_shortflags=False,
            positional=[],
        )(body)
        return made

    return decorate


def listed(value: str | None) -> tuple[str, ...]:
    """Return the names in a comma-separated option."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def _plainly(error: Exception) -> QuiesceError:
    """Report errors of the operating system without a traceback. Changes of a plan are already put
    back by then, because its execution handles these errors itself."""
    from quiesce.errors import QuiesceError, StepFailed, place_of
    from quiesce.file_errors import hint_for, reason

    if isinstance(error, OSError) and error.errno in _THE_MACHINES:
        named = isinstance(error.filename, str | bytes)
        where = os.fsdecode(error.filename) if named else ""
        return StepFailed(
            f"the operating system refused access to {where}: {reason(error)}".replace(" :", ":"),
            hint_for(error, where or "."),
        )
    hint = "run it again with --debug, and report the traceback"
    return QuiesceError(f"unexpected {place_of(error)}", hint)


def _run(
    context: Context,
    function: Callable[..., None],
    own: Mapping[str, Any],
    shared: Mapping[str, Any],
    *,
    place: bool = False,
) -> None:
    from quiesce.errors import Interrupted, QuiesceError
    from quiesce.report import make_reporter

    name = function.__name__.replace("_", "-")
    reporter = make_reporter(
        task=name,
        json=shared["json"],
        stdout=sys.stdout,
        stderr=sys.stderr,
        stdin=sys.stdin,
        environ=os.environ,
        log_format=shared["log_format"] or os.environ.get("QUIESCE_LOG_FORMAT", ""),
        program=called_as(),
        verbose=shared.get("verbose", False),
    )
    debug = shared["debug"] or bool(os.environ.get("QUIESCE_DEBUG"))
    failure: QuiesceError
    try:
        _require_log_format(shared["log_format"])
        _refuse_second_change()
        code = 0
        if shared.get("all_instances"):
            code = _everywhere(context, name, {**own, **shared}, reporter)
        elif place:
            function(_place(context, reporter, shared), **own)
        else:
            app = _open(context, name, reporter, shared) if "stack" in shared else None
            function(app or reporter, **own)
            if app is not None:
                # The task's own work is done and reported by now.
                app.require_services()
    except QuiesceError as error:
        failure = error
    except KeyboardInterrupt:
        failure = Interrupted(2)
    except Exception as error:  # noqa: BLE001  the boundary: every error is reported without a traceback
        failure = _plainly(error)
        failure.__cause__ = error
    else:
        reporter.close()
        if code:
            raise Exit(code=code)
        return
    reporter.error(failure, debug=debug)
    reporter.close()
    raise Exit(code=failure.exit_code)


def _everywhere(context: Context, task: str, given: Mapping[str, Any], reporter: Any) -> int:
    from quiesce.errors import RequestError
    from quiesce.menu.all_instances import run_everywhere

    if given["instance"] is not None:
        raise RequestError("--instance and --all-instances exclude each other", "use one of them")
    options = {key: value for key, value in given.items() if key != "all_instances"}
    return run_everywhere(task, options, _folder(context), given["stack"], reporter)


def _folder(context: Context) -> Path:
    loaded_from = getattr(context.config, "_project_prefix", None)
    return Path(loaded_from) if loaded_from else folder_of_stack(Path.cwd())


def _require_log_format(word: str) -> None:
    from quiesce.errors import RequestError

    if word not in ("", "text", "json"):
        raise RequestError(f"unknown log format {word}", "use text or json")


def _refuse_second_change() -> None:
    """Raise RequestError if this command line has two changing tasks, before the first runs."""
    from quiesce.errors import RequestError

    announced, _announced[:] = tuple(_announced), []
    if len(announced) > 1:
        raise RequestError(
            f"{' and '.join(announced)} both change something; only one such task can run per "
            "command",
            f"run 'inv {announced[0]}' first, then the other",
        )


def _place(context: Context, reporter: Any, shared: Mapping[str, Any]) -> Place:
    from quiesce.app import Options
    from quiesce.commands.init import Place

    folder = Path(getattr(context.config, "_project_prefix", None) or Path.cwd())
    named = shared["stack"] or os.environ.get("QUIESCE_STACK")
    file = (Path(named).expanduser() if named else folder / "stack.yaml").absolute()
    return Place(
        folder=file.parent,
        file=file,
        reporter=reporter,
        options=Options(
            dry_run=shared.get("dry_run", False) or bool(context.config.run.dry),
            yes=shared.get("yes", False),
        ),
        interactive=bool(sys.stdin and sys.stdin.isatty()),
    )


def _open(context: Context, task: str, reporter: Any, shared: Mapping[str, Any]) -> Session:
    from quiesce.app import Options, open_app

    options = Options(
        dry_run=shared.get("dry_run", False) or bool(context.config.run.dry),
        yes=shared.get("yes", False),
        confirm=shared.get("confirm"),
        wait=float(shared.get("wait", 0)),
        instance=shared["instance"],
    )
    return open_app(
        _folder(context),
        shared["stack"],
        shared["instance"],
        reporter,
        options,
        anyhow=task == "recover",
    )
