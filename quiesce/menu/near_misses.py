"""Hints for words on the command line that Invoke does not know.

Invoke says "No idea what 'latest' is!" and no more. It has no hook for that, so its parser's method
for errors is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NoReturn, Protocol

from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext
from invoke.parser.parser import ParseMachine

from quiesce.menu.command_name import called_as
from quiesce.suggest import did_you_mean, nearest

_UNKNOWN = re.compile(r"No idea what '(.*)' is!", re.DOTALL)
#: Options, by the names that other tools use for them.
_SAME = {
    "-y": "--yes",
    "--assume-yes": "--yes",
    "-n": "--dry-run",
    "--simulate": "--dry-run",
    "-f": "--file",
    "--set": "--file",
    "--from": "--file",
    "--backup": "--file",
    "--db": "--database",
    "--dbname": "--database",
    "--include": "--only",
    "--volume": "--only",
    "--volumes": "--only",
    "--env": "--instance",
    "--environment": "--instance",
    "--profile": "--instance",
    "--config": "--stack",
    "--rev": "--revision",
    "--destination": "--store",
}
#: Options that a value without an option probably belongs to, the likeliest first.
_FOR_VALUES = ("--file", "--service", "--database", "--store", "--revision", "--only", "--phase")


class _Context(Protocol):
    @property
    def name(self) -> str | None: ...
    @property
    def flags(self) -> Collection[str]: ...


def hint(token: str, task: str | None, options: Collection[str], tasks: Collection[str]) -> str:
    """Return what was probably meant by a word that is neither a task nor an option of `task`."""
    if task is None:
        meant = nearest(token, tasks)
        return (
            did_you_mean(f"{called_as()} {meant}")
            if meant
            else f"'{called_as()} --list' shows every task"
        )
    if token.startswith("-"):
        same = _SAME.get(token)
        meant = same if same in options else nearest(token, options)
        if meant:
            return did_you_mean(meant)
        return f"'{called_as()} --help {task}' shows every option of {task}"
    for option in _FOR_VALUES:
        if option in options and not _is_nearly(token, tasks):
            return did_you_mean(f"{called_as()} {task} {option} {token}")
    if meant := nearest(token, tasks):
        return did_you_mean(meant)
    return f"{task} takes options only; '{called_as()} --help {task}' shows them"


def _is_nearly(token: str, tasks: Collection[str]) -> bool:
    """Whether a word is a task with a letter or two wrong, rather than a value."""
    meant = nearest(token, tasks)
    return meant is not None and token[:1] == meant[:1] and abs(len(token) - len(meant)) <= 1


class WrongRequest(ParseError, Exit):
    """A command line that Invoke cannot parse. It exits with 2, like any other wrong request."""

    def __init__(self, message: str, context: ParserContext | None) -> None:
        ParseError.__init__(self, message, context)
        # Invoke prints a ParseError, and takes the code of an Exit.
        Exit.__init__(self, None, 2)
        self.args = (message,)


def install() -> None:
    """Add a hint to Invoke's message about an unknown word, and set the exit code of a wrong
    request."""

    def error(machine: ParseMachine, msg: str) -> NoReturn:
        context: _Context | None = machine.context
        if found := _UNKNOWN.fullmatch(msg):
            task = None if context is None else context.name
            options = () if context is None else list(context.flags)
            msg += f"\nHINT: {hint(found[1], task, options, list(machine.contexts))}"
        raise WrongRequest(msg, machine.context)

    ParseMachine.error = error  # type: ignore[assignment, method-assign]
