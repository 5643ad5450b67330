"""Which labels a volume gets that a restore makes."""

from __future__ import annotations

from dataclasses import replace

from quiesce.adapters.compose.inventory import volume_labels
from quiesce.adapters.compose.model import ComposeModel, DeclaredVolume

DECLARED = DeclaredVolume("media", "core_media", "local", {}, False, {"owner": "somebody"})
OWN = {
    "com.docker.compose.project": "core",
    "com.docker.compose.volume": "media",
    "com.docker.compose.version": "2.26.1",
}


def labels(declared: DeclaredVolume | None) -> dict[str, str]:
    """The labels of a new volume `media`, declared like this or in no Compose file at all."""
    model = ComposeModel((), {"media": declared}) if declared is not None else None
    return volume_labels(model, "core", "media", "2.26.1")


def test_declared_labels_and_those_of_compose() -> None:
    """Compose's own win over declared ones of the same name."""
    assert labels(DECLARED) == {"owner": "somebody", **OWN}
    clash = replace(DECLARED, labels={"com.docker.compose.project": "other"})
    assert labels(clash) == OWN


def test_without_a_compose_file_there_are_those_of_compose() -> None:
    """A restore goes on although the file was removed meanwhile."""
    assert labels(None) == OWN


def test_an_external_volume_gets_none() -> None:
    """It is not the project's: `inv shutdown` must not take it for one of its volumes."""
    assert labels(replace(DECLARED, external=True)) == {}
