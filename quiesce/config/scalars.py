"""The kinds of text in `stack.yaml`: names, durations, sizes, numbers, choices.

Each is checked by a function here, so that the message says what to write instead, and has a JSON
Schema for editors. Text from variables is never shown. A value that contains variables of another
instance is unknown, and passes every check.
"""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from quiesce.config.findings import clip
from quiesce.exclusion import BadPattern, expression_of
from quiesce.model import CleanGroup, Event, Priority, RuntimeKind, VolumeBackup, engines
from quiesce.plan.schedule import NotATiming
from quiesce.plan.schedule import parse as parse_timing
from quiesce.suggest import did_you_mean, nearest, suggest

#: The longest name that every engine keeps as it is.
_NAME_BYTES = 63


class Interpolated(str):
    """Text with variables replaced; `source` is the text in the file, `advice` says where to give
    its variables a value."""

    __slots__ = ("advice", "source")
    source: str
    advice: str

    def __new__(cls, value: str, source: str, advice: str = "") -> Self:
        text = super().__new__(cls, value)
        text.source, text.advice = source, advice
        return text


class Unresolved(str):
    """Text with unknown variables. It passes every check and is never used."""

    __slots__ = ()


def show(value: object) -> str:
    """Return a value in a form that messages may show."""
    if isinstance(value, str):
        return f"'{clip(value.source if isinstance(value, Interpolated) else value)}'"
    return describe(value)


def describe(value: object) -> str:
    """Return the kind of a value."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping"


def mistake(fact: str, hint: str = "") -> PydanticCustomError:
    """Return the error that carries a fact and a hint through the validation."""
    return PydanticCustomError("quiesce", "{fact}", {"fact": fact, "hint": hint})


@dataclass(frozen=True)
class Kind:
    """Pydantic metadata: the function that checks a value, and the schema for editors."""

    check: Callable[[Any], Any]
    schema: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(self.schema)


def _scalar(check: Callable[[str], Any], schema: dict[str, Any]) -> Kind:
    def validate(value: object) -> Any:
        if isinstance(value, Unresolved):
            return value
        if not isinstance(value, str):
            fact = f"expected text, found {describe(value)}"
            raise mistake(fact, "put it in quotes" if isinstance(value, bool) else "")
        return check(value)

    return Kind(validate, schema)


def _text(value: str) -> str:
    if value:
        return value
    if isinstance(value, Interpolated):
        raise mistake(f"{show(value)} is empty", value.advice or "give the variable a value")
    raise mistake("is empty", "give it a value, or remove the key")


def _named(pattern: str, what: str, hint: str, *, longest: int = 200) -> Kind:
    expression = re.compile(pattern)

    def check(value: str) -> str:
        if not expression.fullmatch(value) or ".." in value or len(value) > longest:
            raise mistake(f"{show(value)} is not {what}", hint)
        return value

    # Editors must accept a reference too, because they do not know the env file.
    return _scalar(check, {"type": "string", "pattern": rf"^({pattern}|.*\$\{{.*)$"})


def _engine(value: str) -> str:
    if value in (known := engines()):
        return value
    hint = did_you_mean(alike) if (alike := nearest(value, known)) else _WITHOUT_ENGINE
    raise mistake(f"{show(value)} is not one of the supported engines: {', '.join(known)}", hint)


def _name_on_server(value: str) -> str:
    if not value or not value.isprintable() or len(value.encode()) > _NAME_BYTES:
        hint = f"use 1 to {_NAME_BYTES} bytes, without control characters"
        raise mistake(f"{show(value)} is not a valid database name", hint)
    return value


def _choice(*words: str) -> Kind:
    def check(value: str) -> str:
        if value not in words:
            known = f": {', '.join(words)}" if nearest(value, words) else ""
            raise mistake(f"{show(value)} is not a known value{known}", suggest(value, words))
        return value

    return _scalar(check, {"type": "string", "enum": list(words)})


def _whole(least: int, most: int) -> Kind:
    def check(value: str) -> int:
        if not re.fullmatch("0|[1-9][0-9]{0,9}", value):
            raise mistake(f"expected a whole number, found {show(value)}", "write digits only")
        if not least <= int(value) <= most:
            raise mistake(
                f"{show(value)} is out of range", f"write a number from {least} to {most}"
            )
        return int(value)

    number = {"type": "integer", "minimum": least, "maximum": most}
    return _scalar(check, {"anyOf": [number, {"type": "string", "pattern": r"^\$\{"}]})


_SECONDS: dict[str, int | Fraction] = {
    "w": 604_800,
    "d": 86_400,
    "h": 3_600,
    "m": 60,
    "s": 1,
    "ms": Fraction(1, 1000),
}
_DURATION = "".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in _SECONDS)
_LONGEST = 100 * 366 * 86_400


def _seconds(value: str) -> float:
    found = re.fullmatch(_DURATION, value)
    if not found or not value:
        hint = "write it like 60s, 1h30m, 7d or 4w"
        raise mistake(f"{show(value)} is not a duration", hint)
    seconds = sum(
        int(number or 0) * unit
        for number, unit in zip(found.groups(), _SECONDS.values(), strict=True)
    )
    if not 0 < seconds <= _LONGEST:
        raise mistake(f"{show(value)} is out of range", "give more than 0s and at most 100 years")
    return float(seconds)


_BYTES = {"B": 1} | {
    f"{prefix}{end}": base ** (power + 1)
    for end, base in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate("KMGTP")
}
_SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([KMGTPkmgtp]?i?B)"


def read_size(value: str) -> int:
    """Return the bytes that `500MB` or `2GiB` are. Raise ValueError for anything else."""
    found = re.fullmatch(_SIZE, value)
    unit = _BYTES.get(found[2][:1].upper() + found[2][1:]) if found else None
    if not found or not unit:
        raise mistake(f"{show(value)} is not a size", "write it like 500MB or 2GiB")
    return int(Fraction(found[1]) * unit)


def _signal(value: str) -> str:
    name = value if value.startswith("SIG") else f"SIG{value}"
    if name not in signal.Signals.__members__:
        raise mistake(f"{show(value)} is not a signal", "write it like SIGTERM or SIGINT")
    return name


def _exclude(value: str) -> str:
    try:
        expression_of(value)
    except BadPattern as error:
        raise mistake(f"{show(value)} {error.fact}", error.hint) from None
    return value


def _timing(value: str) -> str:
    try:
        parse_timing(value)
    except NotATiming as error:
        raise mistake(f"{show(value)}: {error}", error.hint) from None
    return value


def _version(value: str) -> int:
    if value != "1":
        hint = "write 'version: 1', or use a newer version of Quiesce"
        raise mistake(f"version {show(value)} is not supported", hint)
    return 1


def _words(value: object) -> list[str]:
    """A command: a list of words, or one text split as a shell would, without a shell."""
    if isinstance(value, Unresolved):
        return []
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError:
            raise mistake(
                f"{show(value)} has an unclosed quote", "write the command as a list"
            ) from None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise mistake("expected a command", "write it like [python, -m, app]")
    if not value or not value[0]:
        raise mistake("the command is empty", "write it like [python, -m, app]")
    return [str(word) for word in value]


def _environment_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise mistake(f"expected text, found {describe(value)}")
    return value


_WITHOUT_ENGINE = (
    "remove this database, and give its server's volume 'backup: files' in 'volumes:'; a backup "
    "then stops the server"
)
_DATABASE_RULE = (
    "use letters, digits, _ - . and $, at most 63, not - . or $ first; 'name:' takes any name"
)
_COMPOSE_RULE = "use letters, digits, _ - and ., starting with a letter or digit, and no '..'"
_COMPOSE_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
_PLAIN_RULE = "use a-z, 0-9, _ and -, starting with a letter or digit"

Text = Annotated[str, _scalar(_text, {"type": "string", "minLength": 1})]
#: The key of a database, which is also the name of its files.
DatabaseName = Annotated[
    str, _named(r"[A-Za-z0-9_][A-Za-z0-9_.$-]{0,62}", "a key for a database", _DATABASE_RULE)
]
#: The name of a database on its server.
NameOnServer = Annotated[str, _scalar(_name_on_server, {"type": "string", "minLength": 1})]
InstanceName = Annotated[
    str, _named(r"[a-z0-9][a-z0-9_-]*", "an instance name", _PLAIN_RULE, longest=60)
]
ProjectName = Annotated[str, _named(r"[a-z0-9][a-z0-9_-]*", "a Compose project name", _PLAIN_RULE)]
ServiceName = Annotated[str, _named(_COMPOSE_NAME, "a service name", _COMPOSE_RULE)]
ProfileName = Annotated[str, _named(_COMPOSE_NAME, "a profile name", _COMPOSE_RULE)]
VolumeKey = Annotated[str, _named(_COMPOSE_NAME, "a volume key", _COMPOSE_RULE)]
ExcludedVolume = Annotated[
    str,
    _named(rf"{_COMPOSE_NAME}(:/[^\x00-\x1f\x7f]+)?", "a volume key", _COMPOSE_RULE, longest=1000),
]
PathKey = Annotated[str, _named(_COMPOSE_NAME, "a name for a path", _COMPOSE_RULE)]
RetentionName = Annotated[str, _named(_COMPOSE_NAME, "a name for a profile", _COMPOSE_RULE)]
ContextName = Annotated[
    str,
    _named(
        r"[A-Za-z0-9][A-Za-z0-9_.+-]*", "the name of a Docker context", "see 'docker context ls'"
    ),
]
ImageName = Annotated[
    str,
    _named(
        r"[A-Za-z0-9][A-Za-z0-9._:/@-]*", "the name of an image", "write it like debian:12-slim"
    ),
]
VariableName = Annotated[
    str, _named(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable", "use letters, digits and _")
]
HttpPath = Annotated[str, _named(r"/[!-~]*", "a URL path", "write it like /health")]
SignalName = Annotated[str, _scalar(_signal, {"type": "string", "pattern": "^(SIG)?[A-Z0-9+]+$"})]
Exclude = Annotated[str, _scalar(_exclude, {"type": "string", "minLength": 1})]
TimingText = Annotated[str, _scalar(_timing, {"type": "string", "minLength": 1})]
Duration = Annotated[
    float, _scalar(_seconds, {"type": "string", "pattern": rf"^({_DURATION}|\$\{{.*)$"})
]
Size = Annotated[int, _scalar(read_size, {"type": "string", "pattern": rf"^({_SIZE}|\$\{{.*)$"})]
Port = Annotated[int, _whole(1, 65_535)]
Count = Annotated[int, _whole(1, 100_000)]
Version = Annotated[int, _scalar(_version, {"const": 1})]
RuntimeWord = Annotated[RuntimeKind, _choice("compose", "host")]
EngineWord = Annotated[str, _scalar(_engine, {"type": "string", "enum": list(engines())})]
PriorityWord = Annotated[Priority, _choice("critical", "important", "regenerable", "optional")]
BackupWord = Annotated[VolumeBackup, _choice("files", "by-dump", "never")]
CleanWord = Annotated[CleanGroup, _choice("logs", "cache")]
StoreName = Annotated[
    str, _named(r"[a-z][a-z0-9_-]*", "the name of a store", _PLAIN_RULE, longest=40)
]
EncryptWord = Annotated[Literal["offsite", "everywhere"], _choice("offsite", "everywhere")]
EventWord = Annotated[Event, _choice("success", "failure", "recovery", "overdue")]
TaskWord = Annotated[
    Literal["backup", "verify", "drill", "prune", "push", "shutdown"],
    _choice("backup", "verify", "drill", "prune", "push", "shutdown"),
]
RolesWord = Annotated[
    Literal["without-passwords", "with-passwords"],
    _choice("without-passwords", "with-passwords"),
]
MethodWord = Annotated[Literal["POST", "PUT"], _choice("POST", "PUT")]
NetworkWord = Annotated[Literal["internal", "open"], _choice("internal", "open")]
PostgresWord = Annotated[Literal["embedded"], _choice("embedded")]
Words = Annotated[
    list[str],
    Kind(_words, {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
EnvironmentValue = Annotated[
    str, Kind(_environment_value, {"type": ["string", "boolean", "number"]})
]
