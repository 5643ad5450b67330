"""The values that flags may have here: from stack.yaml and backups/, without the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.app.wiring import discovery_of, open_store
from quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from quiesce.model import Stack

#: The shells that have a script.
SHELLS = ("bash", "zsh", "fish")
#: Flags that take any text: the shell offers neither values nor tasks.
_FREE = frozenset(
    "as assume-revision confirm expression label lines max-size note path revision wait".split()
)
_WORDS: Mapping[str, Sequence[str]] = {
    "mode": ("consistent", "live", "cold"),
    "phase": ("setup", "cycle", "verify", "all"),
    "log-format": ("text", "json"),
    "shell": SHELLS,
}


def _sources(stack: Stack) -> Iterable[str]:
    kept = [volume.key for volume in stack.volumes if volume.backup == "files"]
    return [*(database.key for database in stack.databases), *kept]


def _sets(stack: Stack) -> Iterable[str]:
    names = [name for name in open_store(stack.backups).names() if not name.startswith(".")]
    return ["latest", *sorted(names, reverse=True)]


def _services(stack: Stack) -> Iterable[str]:
    if stack.instance.runtime == "host":
        return [service.name for service in stack.host_services]
    return [one.name for one in discovery_of(stack.instance).discover().model.services]


_OF_STACK: Mapping[str, Callable[[Stack], Iterable[str]]] = {
    "instance": lambda stack: stack.instance_names,
    "from-instance": lambda stack: stack.instance_names,
    "database": lambda stack: [database.key for database in stack.databases],
    "only": _sources,
    "file": _sets,
    "service": _services,
    "keep-running": _services,
    "store": lambda stack: [store.name for store in stack.stores],
}


def values_of(
    flag: str, words: Sequence[str], load: Callable[[str | None, str | None], Stack]
) -> list[str] | None:
    """Return the values that `flag` may have after these words; None if it takes none or a file.

    `load` reads the stack for a file and an instance. A stack that cannot be read has no values.
    """
    name = flag.removeprefix("--")
    if name in _FREE:
        return []
    if name in _WORDS:
        return list(_WORDS[name])
    if name not in _OF_STACK:
        return None
    instance = None if name == "instance" else _given(words, "--instance")
    try:
        found = list(_OF_STACK[name](load(_given(words, "--stack"), instance)))
    except (QuiesceError, OSError):
        return []
    # Completion splits at spaces; such a name has to be typed.
    return [value for value in found if value.isprintable() and " " not in value]


def _given(words: Sequence[str], flag: str) -> str | None:
    """Return the value of a flag on the command line, if it has one."""
    for index, word in enumerate(words[:-1]):
        if word == flag and not words[index + 1].startswith("--"):
            return words[index + 1]
    return None


def load_here(
    folder: Path, environ: Mapping[str, str]
) -> Callable[[str | None, str | None], Stack]:
    """Return a function that loads the stack of a folder, or the one that a command line or
    variable names."""
    from quiesce.config import load_stack

    def load(file: str | None, instance: str | None) -> Stack:
        named = file or environ.get("QUIESCE_STACK")
        path = Path(named).expanduser() if named else folder / "stack.yaml"
        return load_stack(path.absolute(), instance, environ)

    return load
