"""The JSON Schema of `stack.yaml`, for editors."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from quiesce.config.schema import StackFile


class _Generator(GenerateJsonSchema):
    """Omits titles, which editors would show, and null, which is refused."""

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        json_schema = super().default_schema(schema)
        if json_schema.get("default", 0) in (None, [], {}):
            json_schema.pop("default", None)
        return json_schema

    def field_title_should_be_set(self, _: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `stack.yaml`, as published in `stack.schema.json`."""
    body = StackFile.model_json_schema(schema_generator=_Generator)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **body,
        "title": "stack.yaml",
    }
