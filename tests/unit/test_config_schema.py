"""The JSON Schema that editors read is the one of the code, and knows what the loader knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quiesce.config import json_schema

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "quiesce/stack.schema.json"


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every description of a section, at any depth."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_the_published_schema_is_the_current_one() -> None:
    """After a change of schema.py: json.dumps(json_schema(), indent=2) goes into the file."""
    current = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text() == current


def test_every_section_is_closed_and_every_key_described() -> None:
    """Editors mark an unknown key, and say what a known one is for."""
    sections = list(objects(json_schema()))
    assert len(sections) == 18
    for section in sections:
        assert section["additionalProperties"] is False
        for name, key in section["properties"].items():
            # A section said once is described where it is defined.
            assert key.get("description") or "$ref" in key, name


def test_the_schema_has_no_null() -> None:
    """A key without a value is a mistake, so no editor may offer null."""
    assert '"null"' not in json.dumps(json_schema())
    assert ": null" not in json.dumps(json_schema())


def test_the_example_names_the_schema_in_its_first_line() -> None:
    """That line is what editors look for; the file it names exists."""
    first = (ROOT / "stack.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=quiesce/stack.schema.json"
    assert PUBLISHED.is_file()


def test_every_key_is_in_the_reference() -> None:
    """docs/stack-yaml.md leaves out nothing that the loader takes."""
    reference = (ROOT / "docs/stack-yaml.md").read_text()
    for section in objects(json_schema()):
        for name in section["properties"]:
            assert f"{name}`" in reference or f"`{name}:`" in reference, name
