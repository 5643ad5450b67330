"""What earlier versions of Quiesce did not write into manifests and store indexes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quiesce.plan.naming import has_safety_name


def completed(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a manifest or a store index with the fields that versions before did not write.

    They marked a safety set in its name alone. Its label could be anybody's.
    """
    if "safety" in document:
        return document
    # What is no text is refused when the document is decoded.
    name, instance = str(document.get("name")), str(document.get("instance"))
    return {**document, "safety": has_safety_name(name, instance)}
