"""Env files, in the syntax that Compose reads: `KEY=value`, quotes, escapes, `${VAR}`.

Stricter than Compose in one way: an undefined variable is an error. Compose only warns and inserts
nothing, which turns the password `pa$word` into `pa`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from quiesce.config.findings import Findings, clip, read_bounded, shown, suggest
from quiesce.config.template import Missing, TemplateError, expand, parse_template

_NAME = re.compile(r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?P<sign>[=:]|$)")
_REST = re.compile(r"[ \t]*(?:#.*)?$")
_ESCAPE = re.compile(r"\\(?:0(?P<octal>[0-7]{3})|(?P<character>.))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPES |= {"\\": "\\", '"': '"', "$": "$$"}


def read_env_file(
    file: Path, outer: Mapping[str, str], environ: Mapping[str, str], findings: Findings
) -> dict[str, str] | None:
    """Return the variables of an env file, or None if it is not text.

    A value may use earlier variables of the file, then `outer`, then `environ`; a name without a
    value is taken from `environ`, if defined there. Mistakes are reported with their line, never
    with a value. Raise OSError if the file cannot be opened.
    """
    content = read_bounded(file)
    name = shown(file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.add_elsewhere(name, line, "", "not UTF-8 text", "save the file as UTF-8")
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        findings.add_elsewhere(name, line, "", "a NUL character", "remove it")
        return None
    return _Reader(name, text, outer, environ, findings).read()


class _Reader:
    def __init__(
        self,
        file: str,
        text: str,
        outer: Mapping[str, str],
        environ: Mapping[str, str],
        findings: Findings,
    ) -> None:
        self._file = file
        self._rest = text.replace("\r\n", "\n").split("\n")
        self._line = 0
        self._outer = outer
        self._environ = environ
        self._findings = findings
        self._values: dict[str, str] = {}

    def read(self) -> dict[str, str]:
        while self._line < len(self._rest):
            line = self._rest[self._line].strip()
            self._line += 1
            if line and not line.startswith("#"):
                self._statement(line, self._line)
        return self._values

    def _statement(self, line: str, number: int) -> None:
        found = _NAME.match(line)
        if not found:
            self._note(number, "", "not a variable", "write 'NAME=value', or '#' before a comment")
            return
        name = found["name"]
        if not found["sign"]:
            if name in self._environ:
                self._values[name] = self._environ[name]
            return
        value = line[found.end() :].lstrip()
        try:
            self._values[name] = self._value(name, value, number)
        except TemplateError as error:
            self._note(number, name, error.fact, error.hint)

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
                    parts.append(_unescape(escape, quote))
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
        missing: list[Missing] = []
        value = expand(parse_template(text, bare=True), self._lookup, missing)
        for entry in missing:
            state = "is empty" if entry.empty else "is not defined"
            note = f": {clip(entry.message)}" if entry.message else ""
            hint = "define it above, or write '$$' or use single quotes for a dollar sign"
            match = suggest(entry.name, [*self._values, *self._outer])
            hint = match if match.startswith("did you mean") else hint
            self._note(number, name, f"variable '{entry.name}' {state}{note}", hint)
        return value

    def _lookup(self, name: str) -> str | None:
        for values in (self._values, self._outer, self._environ):
            if name in values:
                return values[name]
        return None

    def _note(self, line: int, name: str, fact: str, hint: str) -> None:
        self._findings.add_elsewhere(self._file, line, name, fact, hint)


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
