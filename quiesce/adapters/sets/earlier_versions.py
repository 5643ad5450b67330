"""Fields that earlier versions of Quiesce did not write into manifests and store indexes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quiesce.plan.naming import has_safety_name


def completed(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a manifest or a store index with the fields that earlier versions did not write. They
    marked a safety set only by its name; its label may be text of the user.
    """
    if "safety" in document:
        return document
    # Values that are not text are refused when the document is decoded.
    name, instance = str(document.get("name")), str(document.get("instance"))
    return {**document, "safety": has_safety_name(name, instance)}
