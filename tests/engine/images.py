"""The images: stand-ins for the official ones, built on one Debian root."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import debian
from .machine import Unavailable, cache_directory, run, say

RECIPES = Path(__file__).parent / "recipes"
LABEL = "quiesce.test.recipe"
BASE = "quiesce-test/base:trixie"

# The variable of the compose files, the image's name and its folder of recipes.
_IMAGES = (
    ("POSTGRES_IMAGE", "quiesce-test/postgres:17", "postgres"),
    ("REDIS_IMAGE", "quiesce-test/redis:7", "redis"),
    ("NGINX_IMAGE", "quiesce-test/nginx:1", "nginx"),
    ("PYTHON_IMAGE", "quiesce-test/python:3", "python"),
    ("NODE_IMAGE", "quiesce-test/node:22", "node"),
    ("TINY_IMAGE", "quiesce-test/tiny:latest", "tiny"),
)
VARIABLES = tuple(variable for variable, _, _ in _IMAGES)
_CACHED_ROOT = re.compile(r"root-[0-9a-f]{16}\.tar|\.root-[0-9a-f]{16}\.tar\.partial")
_NO_BUILDKIT = {"DOCKER_BUILDKIT": "0"}


def ensure_images(*, may_bootstrap: bool) -> dict[str, str]:
    """Build what is missing or stale; return the image of each variable.

    A variable set in the environment wins: its image is taken as it is and not looked at.
    `may_bootstrap` allows the root to be made with the machine's own packages.
    """
    wanted = [row for row in _IMAGES if not os.environ.get(row[0])]
    present = _recipes_present([BASE, *(name for _, name, _ in _IMAGES)])
    stale = [row for row in wanted if present.get(row[1], ("", ""))[1] != _recipe(row[2])]
    replaced: list[str] = []
    if stale:
        if present.get(BASE, ("", ""))[1] != _recipe("base"):
            _build_base(may_bootstrap=may_bootstrap)
            if BASE in present:
                replaced.append(present[BASE][0])
        say(f"building {' '.join(name for _, name, _ in stale)}")
        with ThreadPoolExecutor(max_workers=3) as pool:
            list(pool.map(lambda row: _build(row[1], row[2]), stale))
        replaced = [present[name][0] for _, name, _ in stale if name in present] + replaced
    for identity in replaced:
        _remove_replaced(identity)
    return {variable: os.environ.get(variable) or name for variable, name, _ in _IMAGES}


def _recipe(folder: str) -> str:
    """Return the key of a recipe: it changes with each file the image is made of."""
    digest = hashlib.sha256()
    for name in dict.fromkeys(("base", folder)):
        for path in sorted((RECIPES / name).iterdir()):
            digest.update(f"{name}/{path.name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _recipes_present(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return id and recipe of the images that exist, by name."""
    found = {}
    for name in names:
        listed = run(["docker", "image", "ls", "--no-trunc", "--quiet", name]).split()
        if listed:
            form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
            label = run(["docker", "image", "inspect", "--format", form, listed[0]]).strip()
            found[name] = (listed[0], label)
    return found


def _build_base(*, may_bootstrap: bool) -> None:
    recipe = _recipe("base")
    cached = cache_directory() / f"root-{recipe}.tar"
    if not cached.exists() and not may_bootstrap:
        say("building the base from a registry's debian image")
        try:
            _build(BASE, "base")
        except Unavailable as error:
            reason = "the test images are missing and cannot be built without --provision"
            raise Unavailable(f"{reason} ({error})") from error
        return
    if not cached.exists():
        _bootstrap_root(cached)
    say(f"importing {BASE}")
    change = f"LABEL {LABEL}={recipe}"
    run(["docker", "import", "--change", change, str(cached), BASE], timeout=300)


def _bootstrap_root(cached: Path) -> None:
    """Make the root file system as one tar file; it appears whole or not at all."""
    debian.refuse_unless_installable()
    debian.install_packages(["mmdebstrap"])
    say(f"making a {debian.RELEASE} root (about half a minute)")
    folder = cached.parent
    for path in folder.iterdir():
        if _CACHED_ROOT.fullmatch(path.name):
            path.unlink()
    part = folder / f".{cached.name}.partial"
    packages = (RECIPES / "base/packages").read_text().split()
    excluded = ("doc", "info", "locale", "man")
    # A mount namespace of its own: whatever happens, no /proc or /dev stays mounted below a
    # folder that is about to be removed.
    command = ["unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=essential"]
    command += ["--format=tar", f"--include={','.join(packages)}"]
    command += [f"--aptopt={line}" for line in debian.route_settings()]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in excluded]
    command += ["--dpkgopt=path-include=/usr/share/locale/locale.alias"]
    command += ["--dpkgopt=force-unsafe-io", "--dpkgopt=force-confold"]
    setting = "$1/etc/postgresql-common"
    command += [f'--essential-hook=mkdir -p "{setting}"']
    quiet = f'echo "create_main_cluster = false" > "{setting}/createcluster.conf"'
    command += [f"--essential-hook={quiet}"]
    command += [f'--customize-hook=sh {RECIPES}/base/tidy.sh "$1"']
    command += [debian.RELEASE, str(part), debian.later_release_source()]
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as scratch:
        run(command, timeout=900, extra_environment={"TMPDIR": scratch})
    part.replace(cached)


def _build(name: str, folder: str) -> None:
    label = f"{LABEL}={_recipe(folder)}"
    command = ["docker", "build", "--quiet", "--force-rm", "--label", label, "--tag", name]
    # The classic builder is in every engine; BuildKit needs a plugin that may not be there.
    run([*command, str(RECIPES / folder)], timeout=600, extra_environment=_NO_BUILDKIT)


def _remove_replaced(identity: str) -> None:
    try:
        run(["docker", "image", "rm", identity])
    except Unavailable:
        say(f"the replaced image {identity[7:19]} is still in use and stays")
