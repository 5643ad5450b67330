"""What `doctor` says about the engine, Compose and the storage driver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.observed import Platform
from quiesce.plan.platforms import TRIED, platform_findings

USED = Platform("docker", "20.10.24+dfsg1", ("1.12", "1.41"), "2.26.1", "overlay2")


def test_a_combination_that_was_tried_is_named():
    """With everything that decides whether it was."""
    (finding,) = platform_findings(USED)
    assert finding.level == "ok"
    assert finding.fact == (
        "docker 20.10.24+dfsg1 (API 1.12 to 1.41, storage driver overlay2) with Compose 2.26.1: "
        "tried"
    )
    assert platform_findings(None) == []


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "podman"},
        {"version": "20.9.1"},
        {"compose": "5.0.1"},
        {"storage": "zfs"},
        {"users": "rootless"},
    ],
)
def test_a_combination_that_was_not_tried_is_told(change):
    """The engine, its version, Compose and the driver each make another one."""
    (finding,) = platform_findings(replace(USED, **change))
    assert finding.level == "warning"
    assert finding.fact.startswith("Quiesce was not tried on ")
    assert "inv drill" in finding.hint


def test_versions_may_have_a_suffix():
    """As Debian's packages have."""
    platform = Platform("docker", "28.5-rc.1", ("1.24", "1.51"), "2.40.3-3", "overlay2")
    assert platform_findings(platform)[0].level == "ok"


def test_everything_that_counts_as_tried_has_a_row_in_the_documentation():
    """Which says what was tried."""
    rows = (Path(__file__).parents[2] / "docs/platforms.md").read_text()
    for kind, version, compose, storage, users in TRIED:
        engine = {"docker": "Docker Engine", "podman": "Podman"}[kind]
        assert (
            f"{engine} {version} with Compose {compose}, {storage}{', ' * bool(users)}{users}"
            in rows
        )
