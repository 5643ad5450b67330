"""Reads YAML as plain values with their lines, and collects mistakes.

Only `true` and `false` are not text; `no`, `on`, `0700`, `22:30` and `1e3` are text. The schema
decides which text is a number or a duration.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import yaml

from quiesce.config.findings import Findings, YamlPath, clip

Value: TypeAlias = "bool | str | list[Value] | dict[str, Value] | None"

_TAG = "tag:yaml.org,2002:"
_DEEPEST = 40
#: A limit, because nine lines of YAML with aliases can expand to a billion values.
_MOST_VALUES = 20_000
#: Characters that program arguments, file names and terminals cannot contain.
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")

# YAML does not allow braces in unquoted text inside [ ] and { }. The braces of a plain `${VAR}` are
# hidden from the parser there, because people write them so; quotes and commas still need quoting.
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:|:?[-?+][^{}\[\],'\"\n]*))\}", re.ASCII)
_HIDE = str.maketrans("{}", "\U0010fff0\U0010fff1")
_SHOW = str.maketrans("\U0010fff0\U0010fff1", "{}")

_ENDLESS = ("an alias to a value that contains it", "write the value itself")
_SYNTAX = (
    (r"'\\t' that cannot start any token", "a tab where only spaces are allowed", "use spaces"),
    (
        r"mapping values are not allowed",
        "an unexpected ':'",
        "put the text in quotes, or check the indentation",
    ),
    (r"could not find expected ':'", "a key without ':'", "write 'key: value'"),
    (r"found another document", "a second document starts here", "remove the '---'"),
    (
        r"undefined alias '(?P<name>.*)'",
        "alias '*{name}' has no anchor",
        "write '&{name}' before the value that is meant",
    ),
    (
        r"found unexpected end of stream",
        "a quote or bracket is not closed",
        "close it, or put the whole text in quotes",
    ),
)


class _Loader(yaml.SafeLoader):
    """Has fewer implicit types than YAML 1.1, and limits nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {_DEEPEST} levels", problem_mark=self.get_mark()
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", "true|false", "tf"),
    ("null", "~|null|", "~n"),
    ("merge", "<<", "<"),
):
    _starts = [*_first, ""] if _tag == "null" else [*_first]
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(f"^(?:{_pattern})$"), _starts)


def read_document(content: bytes, findings: Findings) -> dict[str, Value]:
    """Return the mapping in a YAML file, and fill `findings.lines`.

    Raise ConfigError at once if the text cannot be parsed; other mistakes (duplicate keys, unknown
    tags, missing values) are reported and left out of the result.
    """
    node = _compose(_decode(content, findings), findings)
    if node is None:
        findings.add((), "the file is empty", "start with 'version: 1'", line=1)
    elif not isinstance(node, yaml.MappingNode):
        findings.add((), "not a mapping", "start with 'version: 1'", line=_line(node))
    else:
        value = _Converter(findings).convert(node, ())
        if isinstance(value, dict):
            return value
    findings.raise_if_any()
    return {}


def _decode(content: bytes, findings: Findings) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.add((), "not UTF-8 text", "save the file as UTF-8", line=line)
        findings.raise_if_any()
        raise


def _compose(text: str, findings: Findings) -> yaml.Node | None:
    try:
        loader = _Loader(_hide_references(text))
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        fact = f"a character that YAML does not allow (U+{ord(text[error.position]):04X})"
        findings.add((), fact, "remove it", line=line)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fact, hint = _explain(error.problem or error.context or "unreadable")
        findings.add((), fact, hint, line=mark.line + 1 if mark else 1)
    except (ValueError, OverflowError, RecursionError, yaml.YAMLError):
        # PyYAML lets these through, for example for "\UFFFFFFFF" and a version of many digits.
        findings.add((), "not valid YAML", "check the escapes in double quotes", line=1)
    findings.raise_if_any()
    return None


def _hide_references(text: str) -> str:
    if "\U0010fff0" in text or "\U0010fff1" in text:
        return text
    # Once more for each default inside a default.
    for _ in range(10):
        text = _REFERENCE.sub(lambda found: found[0].translate(_HIDE), text)
    return text


def _explain(problem: str) -> tuple[str, str]:
    problem = problem.translate(_SHOW)
    for pattern, fact, hint in _SYNTAX:
        if match := re.search(pattern, problem):
            names = match.groupdict()
            return fact.format(**names), hint.format(**names)
    return (
        f"not valid YAML: {problem}",
        "check quotes, brackets and indentation here and just above",
    )


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _text(node: yaml.Node) -> str:
    return str(node.value).translate(_SHOW)


class _Skip(Exception):
    """The value is left out; its mistake was reported."""


class _Converter:
    """Turns nodes into values, and counts them, because aliases multiply nodes."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._count = 0
        self._open: list[yaml.Node] = []

    def convert(self, node: yaml.Node, path: YamlPath) -> Value:
        """Return the value of a node. Raise _Skip if a mistake in it was reported."""
        self._findings.lines.setdefault(path, _line(node))
        self._enter(node, 1)
        try:
            if any(node is outer for outer in self._open[:-1]):
                self._skip(path, *_ENDLESS)
            return self._value(node, path)
        finally:
            self._open.pop()

    def _enter(self, node: yaml.Node, values: int) -> None:
        self._open.append(node)
        self._count += values
        limits = ((self._count, _MOST_VALUES, "values"), (len(self._open), 2 * _DEEPEST, "levels"))
        for number, limit, what in limits:
            if number > limit:
                fact = f"more than {limit:,} {what} after expanding aliases"
                self._findings.add((), fact, "use fewer aliases", line=_line(node))
                self._findings.raise_if_any()

    def _value(self, node: yaml.Node, path: YamlPath) -> Value:
        if isinstance(node, yaml.MappingNode):
            self._expect_tag(node, path, "map")
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._expect_tag(node, path, "seq")
            return self._sequence(node, path)
        self._expect_tag(node, path, "str", "bool", "null")
        text = _text(node)
        if node.tag == f"{_TAG}null":
            self._skip(path, "has no value", "give it a value, or remove the key")
        if node.tag == f"{_TAG}bool":
            if text not in {"true", "false"}:
                self._skip(path, "the tag '!!bool' on other text", "write true or false")
            return text == "true"
        if _UNUSABLE.search(text):
            self._skip(path, "contains a character that is not allowed", "remove the escape")
        return text

    def _expect_tag(self, node: yaml.Node, path: YamlPath, *names: str) -> None:
        if node.tag not in {f"{_TAG}{name}" for name in names}:
            tag = clip(node.tag.replace(_TAG, "!!"))
            self._skip(path, f"the tag '{tag}' is not supported", "remove it")

    def _sequence(self, node: yaml.SequenceNode, path: YamlPath) -> list[Value]:
        values: list[Value] = []
        for index, child in enumerate(node.value):
            try:
                values.append(self.convert(child, (*path, index)))
            except _Skip:
                # Keep the positions of later items.
                values.append(None)
        return values

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Value]:
        result: dict[str, Value] = {}
        first: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, child in node.value:
            is_merge = key_node.tag == f"{_TAG}merge"
            key = self._key(key_node, path)
            if key is None:
                continue
            line = _line(key_node)
            if key in first:
                fact = f"'{clip(key)}' occurs twice, first in line {first[key]}"
                hint = "keep one of them"
                self._findings.add((*path, key), fact, hint, line=line)
                continue
            first[key] = line
            if is_merge:
                merged = child.value if isinstance(child, yaml.SequenceNode) else [child]
                continue
            # A mistake in a value is reported at the line of its key.
            self._findings.lines[*path, key] = line
            self._put(result, key, child, path)
        for source in merged:
            self._merge(result, source, path, set(first))
        return result

    def _put(self, result: dict[str, Value], key: str, child: yaml.Node, path: YamlPath) -> None:
        try:
            result[key] = self.convert(child, (*path, key))
        except _Skip:
            result[key] = None

    def _merge(
        self, result: dict[str, Value], source: yaml.Node, path: YamlPath, own: set[str]
    ) -> None:
        """Add the sources of `<<`; explicit keys and earlier sources take precedence."""
        if not isinstance(source, yaml.MappingNode):
            fact = "'<<' takes mappings only"
            self._findings.add(path, fact, "write '<<: *anchor'", line=_line(source))
            return
        if any(source is outer for outer in self._open):
            self._findings.add(path, *_ENDLESS, line=_line(source))
            return
        outside = self._findings.lines
        self._findings.lines = {}
        # Count keys: sources may be aliases of sources, without any value among them.
        self._enter(source, len(source.value) + 1)
        try:
            values = self._mapping(source, path)
            inside = self._findings.lines
        finally:
            self._open.pop()
            self._findings.lines = outside
        taken = {key for key in values if key not in result and key not in own}
        result.update({key: values[key] for key in taken})
        depth = len(path)
        outside.update({place: line for place, line in inside.items() if place[depth] in taken})

    def _key(self, node: yaml.Node, path: YamlPath) -> str | None:
        if not isinstance(node, yaml.ScalarNode) or node.tag == f"{_TAG}null":
            self._findings.add(path, "a key is not text", "write 'key: value'", line=_line(node))
            return None
        text = _text(node)
        if _UNUSABLE.search(text):
            fact, hint = "a key contains a character that is not allowed", "remove the escape"
            self._findings.add(path, fact, hint, line=_line(node))
            return None
        return text

    def _skip(self, path: YamlPath, fact: str, hint: str) -> None:
        self._findings.add(path, fact, hint)
        self._findings.spoiled.add(path)
        raise _Skip
