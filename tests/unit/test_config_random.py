"""Whatever is in the files: a `Stack` or a ConfigError, never anything else."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.config import load_stack
from quiesce.config.schema import StackFile
from quiesce.errors import ConfigError, Problem

EXAMPLES = 2 * settings.default.max_examples
GOOD = b"version: 1\ninstances: {core: {retention: r}}\nretention: {r: {keep_last: 1}}\n"
PIECES = [
    *StackFile.model_fields,
    *("core", "{", "}", "[", "]", ": ", ", ", "\n", "\n  ", "- ", "&a", "*a", "<<", "'", '"', "#"),
    *("1", "60s", "true", "~", "no", "${A}", "${A:-b}", "${", "$", "!!str ", "!x ", "|\n", "---"),
    *("retention", "r", "service", "host", "runtime", "\\x00", "\\ud800", "\t", "%YAML", "? "),
]
TEXTS = st.one_of(st.sampled_from(PIECES), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(TEXTS, st.booleans(), st.integers(), st.none(), st.floats(), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


def described(section: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with the right keys and, now and then, the right kind of value."""
    names = list(section.model_fields)
    value = st.one_of(
        TEXTS,
        st.sampled_from(["never", "a", "5432", "7d", "${A}", "host", "embedded", "x" * 300]),
        st.lists(st.sampled_from(["a", "b", "../c", "${A}"]), max_size=3),
        VALUES,
    )
    return st.dictionaries(st.one_of(st.sampled_from(names), TEXTS), value, max_size=6)


def sections() -> st.SearchStrategy[dict[str, Any]]:
    """Documents of the right shape at the top, with anything inside."""
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in StackFile.model_fields.items():
        inner = [part for part in getattr(field.annotation, "__args__", ()) if _is_model(part)]
        if inner:
            keys = st.sampled_from(["a", "b", "core", "${A}", ".."])
            parts[name] = st.dictionaries(keys, described(inner[0]), max_size=3)
        elif _is_model(field.annotation):
            parts[name] = described(field.annotation)
        else:
            parts[name] = VALUES
    right = {"version": st.just(1), "default_instance": st.just("core")}
    return st.fixed_dictionaries({}, optional={**parts, **right})


def _is_model(part: Any) -> bool:
    return hasattr(part, "model_fields")


def load(content: bytes, env_file: bytes = b"") -> None:
    """Load a stack.yaml of this content; a ConfigError has mistakes that can be told."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stack.yaml").write_bytes(content)
        (folder / ".env").write_bytes(env_file)
        problems = _problems(folder / "stack.yaml")
    for problem in problems:
        assert problem.fact
        assert problem.line >= 1
        str(problem).encode()


def _problems(file: Path) -> tuple[Problem, ...]:
    try:
        load_stack(file, None, {"A": "b"})
    except ConfigError as error:
        return error.problems
    return ()


pytestmark = pytest.mark.thorough
patient = settings(
    deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None
)


@patient
@given(st.binary(max_size=200))
def test_random_bytes_are_a_config_error_at_worst(content: bytes) -> None:
    """As a whole file, and behind a right one."""
    load(content)
    load(GOOD + content)


@patient
@given(st.lists(TEXTS, max_size=30).map("".join))
def test_random_pieces_of_yaml_are_a_config_error_at_worst(text: str) -> None:
    """Anchors, tags, quotes and references in any order."""
    content = text.encode(errors="surrogatepass")
    load(content)
    load(GOOD + content)


@patient
@given(VALUES)
def test_random_documents_are_a_config_error_at_worst(document: Any) -> None:
    """Any value that YAML can write."""
    with contextlib.suppress(UnicodeEncodeError):
        load(yaml.safe_dump(document).encode())


@patient
@given(sections(), st.booleans())
def test_random_sections_are_a_config_error_at_worst(
    document: dict[str, Any], with_instance: bool
) -> None:
    """Right keys with wrong values, which come as far as the checks of many values."""
    if with_instance:
        document = {**document, "version": 1, "default_instance": "core"}
        instances = document.get("instances", {})
        retention = {"retention": "r"}
        document["instances"] = {**instances, "core": {**retention, **instances.get("core", {})}}
    with contextlib.suppress(UnicodeEncodeError):
        load(yaml.safe_dump(document).encode())


@patient
@given(st.one_of(st.binary(max_size=200), st.lists(TEXTS, max_size=20).map("\n".join)))
def test_random_env_files_are_a_config_error_at_worst(content: bytes | str) -> None:
    """The `.env` beside a right stack.yaml."""
    if isinstance(content, str):
        content = content.encode(errors="surrogatepass")
    load(GOOD, content)
    load(GOOD, b"X='" + content)
