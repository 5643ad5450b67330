"""Which engines, with which Compose and storage driver, Quiesce was tried on. Pure."""

from __future__ import annotations

import re

from quiesce.findings import Finding
from quiesce.observed import Platform

#: The engine, its version, the version of Compose, the storage driver, and the reason why its
#: containers have other user numbers than its machine, if they have. `docs/platforms.md` says what
#: was tried on each.
TRIED = frozenset(
    {
        ("docker", "20.10", "2.26", "overlay2", ""),
        ("docker", "20.10", "2.40", "overlay2", ""),
        ("docker", "26.1", "2.26", "overlay2", ""),
        ("docker", "28.5", "2.40", "overlay2", ""),
        ("docker", "28.5", "2.40", "overlay2", "userns-remap"),
        ("podman", "5.8", "2.26", "overlay", "rootless"),
        ("podman", "5.8", "2.40", "overlay", ""),
    }
)


def platform_findings(platform: Platform | None) -> list[Finding]:
    """Return what runs the containers, and a warning if this combination was never tried."""
    if platform is None:
        return []
    lowest, highest = platform.api
    fact = (
        f"{platform.kind} {platform.version} (API {lowest} to {highest}, storage driver "
        f"{platform.storage or 'unknown'}{', ' * bool(platform.users)}{platform.users}) with "
        f"Compose {platform.compose}"
    )
    versions = _minor(platform.version), _minor(platform.compose)
    key = (platform.kind, *versions, platform.storage, platform.users)
    if key in TRIED:
        return [Finding("ok", "platform", f"{fact}: tried")]
    hint = "run 'inv drill' before you rely on a backup; docs/platforms.md lists what was tried"
    return [Finding("warning", "platform", f"Quiesce was not tried on {fact}", hint)]


def _minor(version: str) -> str:
    """Return the first two numbers of a version."""
    found = re.match(r"\d+\.\d+", version)
    return found[0] if found else version
