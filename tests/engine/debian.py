"""Debian's own packages: install some, and borrow from a later release without adding it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .machine import Unavailable, find_program, run, say

RELEASE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
COMPOSE_PLUGIN = Path("/usr/local/lib/docker/cli-plugins/docker-compose")

_APT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_APT_GET = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")
# Settings of the machine that say how to reach its mirror; the rest of Acquire is apt's own.
_ROUTE_SETTINGS = ("Check-Valid-Until", "Check-Date", "Retries", "ForceIPv4", "ForceIPv6")
_ROUTE_PROTOCOLS = ("http", "https")


def refuse_unless_installable() -> None:
    """Raise `Unavailable` unless packages can be installed here: root, on Debian."""
    if os.geteuid() != 0:
        raise Unavailable("no Docker Engine answers, and installing one needs root")
    if _read_release().get("ID") != "debian" or find_program("apt-get") is None:
        raise Unavailable("no Docker Engine answers, and it is only installed on Debian")


def _read_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip().strip('"') for key, value in pairs}


def install_packages(names: Sequence[str]) -> None:
    """Install the packages that are missing, without what they only recommend."""
    missing = [name for name in names if not _is_installed(name)]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    install = [*_APT_GET, "install", "--yes", "--no-install-recommends", *missing]
    if all(has_candidate(name) for name in missing):
        try:
            run(install, timeout=600, extra_environment=_APT)
            return
        except Unavailable:
            say("the package lists may be old; fetching them")
    update_lists()
    run(install, timeout=600, extra_environment=_APT)


def update_lists() -> None:
    """Fetch the package lists; a third party's source that fails is no reason to stop."""
    try:
        run([*_APT_GET, "update"], timeout=300, extra_environment=_APT)
    except Unavailable as error:
        say(f"{error}; going on with what came")


def _is_installed(name: str) -> bool:
    status = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    return status.stdout == "installed"


def has_candidate(name: str) -> bool:
    """Tell whether apt knows a version of the package to install."""
    policy = run(["apt-cache", "policy", name], extra_environment=_APT)
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def later_release_source(release: str = RELEASE) -> str:
    """Return the one line of apt source for a later release, on the machine's own mirror."""
    codename = _read_release().get("VERSION_CODENAME", "")
    wanted = "$(REPO_URI)|$(RELEASE)|$(CODENAME)|$(COMPONENT)|$(LABEL)"
    command = ["apt-get", "indextargets", "Created-By: Packages", "--format", wanted]
    for line in run(command, extra_environment=_APT).splitlines():
        uri, suite, name, component, label = line.split("|")
        if (label, component) == ("Debian", "main") and codename in (suite, name):
            signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
            return f"deb {signed}{uri} {release} main"
    raise Unavailable("the machine's apt sources name no Debian mirror")


def route_settings() -> list[str]:
    """Return the machine's settings of how to reach the mirror, each as a line for apt."""
    lines = run(["apt-config", "dump", "Acquire"], extra_environment=_APT).splitlines()
    chosen = []
    for line in lines:
        name, _, value = line.partition(" ")
        part = name.removeprefix("Acquire::")
        if value.rstrip(";") == '""':
            continue
        if part in _ROUTE_SETTINGS or part.split("::")[0] in _ROUTE_PROTOCOLS:
            chosen.append(line)
    return chosen


def install_compose() -> None:
    """Put the later release's Compose v2 where each docker client finds plugins, at any HOME.

    Only the plugin is taken out of the package, so the package database stays as it was.
    """
    say("fetching Compose v2")
    # apt's download user must reach the folder.
    with tempfile.TemporaryDirectory(prefix="quiesce-compose-") as name:
        folder = Path(name)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "source.list").write_text(later_release_source() + "\n")
        private = [
            *_APT_GET,
            *("-o", f"Dir::Etc::SourceList={folder}/source.list"),
            *("-o", "Dir::Etc::SourceParts=/dev/null"),
            *("-o", f"Dir::State::Lists={folder}/lists"),
            *("-o", f"Dir::Cache={folder}"),
            *("-o", "APT::Sandbox::User=root"),
        ]
        run([*private, "update"], timeout=300, extra_environment=_APT)
        fetch = 'cd "$1" && shift && exec "$@" download docker-compose'
        run(["sh", "-c", fetch, "sh", name, *private], timeout=300, extra_environment=_APT)
        (package,) = folder.glob("docker-compose_*.deb")
        run(["dpkg-deb", "-x", str(package), f"{name}/content"])
        plugin = folder / "content/usr/libexec/docker/cli-plugins/docker-compose"
        COMPOSE_PLUGIN.parent.mkdir(parents=True, exist_ok=True)
        # install(1) writes beside the target; the rename shows it whole or not at all.
        part = COMPOSE_PLUGIN.with_name(".docker-compose.partial")
        run(["install", "-m", "0755", str(plugin), str(part)])
        part.replace(COMPOSE_PLUGIN)
