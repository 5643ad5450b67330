"""The one reader of env files, in the syntax of Compose: `KEY=value`, quotes, escapes, `${VAR}`.

Stricter than Compose in one way: an undefined variable is an error. Compose only warns and inserts
nothing, which turns the password `pa$word` into `pa`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from quiesce.template import Missing, TemplateError, expand, parse_template

_NAME = re.compile(r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?P<sign>[=:]|$)")
_REST = re.compile(r"[ \t]*(?:#.*)?$")
_ESCAPE = re.compile(r"\\(?:0(?P<octal>[0-7]{3})|(?P<character>.))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPES |= {"\\": "\\", '"': '"', "$": "$$"}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a line. It quotes no value. `name` is the variable that it concerns, "" for
    none. If the mistake is an undefined variable, `missing` is its name, and `known` are the names
    that were defined before.
    """

    line: int
    name: str
    fact: str
    hint: str
    missing: Missing | None = None
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The variables of an env file, and its mistakes in the order of lines. `is_text` is false if
    the content is not text; there are no variables then. `lines` says which line defines each
    variable.
    """

    values: Mapping[str, str] = field(repr=False)
    mistakes: tuple[Mistake, ...] = ()
    is_text: bool = True
    lines: Mapping[str, int] = field(default_factory=dict)


def parse_env_file(
    content: bytes,
    outer: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    references: bool = True,
) -> EnvFile:
    """Return the variables and mistakes of an env file with this content.

    A value may use earlier variables of the file, then `outer`, then `environ`; a name without a
    value is taken from `environ`, if it is there. Without `references` a dollar sign stands for
    itself.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _no_text(line, "not UTF-8 text", "save the file as UTF-8")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return _no_text(line, "a NUL character", "remove it")
    return _Reader(text, outer, environ, references=references).read()


def _no_text(line: int, fact: str, hint: str) -> EnvFile:
    return EnvFile({}, (Mistake(line, "", fact, hint),), is_text=False)


class _Reader:
    def __init__(
        self, text: str, outer: Mapping[str, str], environ: Mapping[str, str], *, references: bool
    ) -> None:
        self._rest = text.replace("\r\n", "\n").split("\n")
        self._line = 0
        self._outer = outer
        self._environ = environ
        self._references = references
        self._values: dict[str, str] = {}
        self._mistakes: list[Mistake] = []
        self._lines: dict[str, int] = {}

    def read(self) -> EnvFile:
        while self._line < len(self._rest):
            line = self._rest[self._line].strip()
            self._line += 1
            if line and not line.startswith("#"):
                self._statement(line, self._line)
        return EnvFile(self._values, tuple(self._mistakes), lines=self._lines)

    def _statement(self, line: str, number: int) -> None:
        found = _NAME.match(line)
        if not found:
            hint = "write 'NAME=value', or '#' before a comment"
            self._mistakes.append(Mistake(number, "", "not a variable", hint))
            return
        name = found["name"]
        self._lines[name] = number
        if not found["sign"]:
            if name in self._environ:
                self._values[name] = self._environ[name]
            return
        value = line[found.end() :].lstrip()
        try:
            self._values[name] = self._value(name, value, number)
        except TemplateError as error:
            self._mistakes.append(Mistake(number, name, error.fact, error.hint))

    def _value(self, name: str, text: str, number: int) -> str:
        quote = text[:1]
        if quote not in {"'", '"'}:
            # A '#' inside a word belongs to it.
            return self._expand(name, text.split(" #", maxsplit=1)[0].rstrip(), number)
        body = self._quoted(text[1:], quote)
        return body if quote == "'" else self._expand(name, body, number)

    def _quoted(self, text: str, quote: str) -> str:
        """Return the text up to the closing quote, on this line or a later one."""
        start = self._line
        # The line was stripped, but inside quotes spaces count.
        lines = [text + _trailing(self._rest[start - 1]), *self._rest[start:]]
        parts: list[str] = []
        for offset, line in enumerate(lines):
            at = 0
            while at < len(line):
                if escape := _ESCAPE.match(line, at):
                    plain = _unescape(escape, quote)
                    # `$$` is a dollar sign for the expansion, which is not done here.
                    parts.append(plain if self._references else plain.replace("$$", "$"))
                    at = escape.end()
                elif line[at] == quote:
                    self._line = start + offset
                    if not _REST.match(line, at + 1):
                        raise TemplateError(
                            "there is text after the closing quote",
                            f"write \\{quote} for a quote inside",
                        )
                    return "".join(parts)
                else:
                    parts.append(line[at])
                    at += 1
            parts.append("\n")
        # Everything after it may be part of the text, so report no further mistakes.
        self._line = len(self._rest)
        raise TemplateError("a quote is not closed", f"close it with {quote}")

    def _expand(self, name: str, text: str, number: int) -> str:
        if not self._references:
            return text
        missing: list[Missing] = []
        value = expand(parse_template(text, bare=True), self._lookup, missing)
        for entry in missing:
            fact = f"variable '{entry.name}' is {'empty' if entry.empty else 'not defined'}"
            hint = "define it above, or write '$$' or use single quotes for a dollar sign"
            known = (*self._values, *self._outer)
            self._mistakes.append(Mistake(number, name, fact, hint, entry, known))
        return value

    def _lookup(self, name: str) -> str | None:
        for values in (self._values, self._outer, self._environ):
            if name in values:
                return values[name]
        return None


def _trailing(line: str) -> str:
    return line[len(line.rstrip()) :]


def _unescape(found: re.Match[str], quote: str) -> str:
    if quote == "'":
        return "'" if found[0] == "\\'" else found[0]
    if found["octal"]:
        code = int(found["octal"], 8)
        if not 0 < code < 256:
            raise TemplateError("an unknown escape sequence", "write '\\\\' for '\\'")
        return chr(code)
    return _ESCAPES.get(found["character"], found[0])
