"""Images of MariaDB: stand-ins for the official one, built when a test asks for one.

Each has a Debian root of its own, because MariaDB differs between Debian's releases.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from . import debian
from .images import LABEL, RECIPES
from .machine import Unavailable, cache_directory, run, say

#: Versions of MariaDB, and the releases of Debian that have them.
RELEASES = {"10.11": "bookworm", "11.8": "trixie"}
_PACKAGES = ("mariadb-server", "mariadb-client", "zstd", "tini")
_EXCLUDED = ("doc", "info", "locale", "man", "mysql-test", "lintian")


def mariadb_image(version: str, *, may_bootstrap: bool) -> str:
    """Return the name of the image of this version, built if it is missing or stale.

    Raise Unavailable if it cannot be built here.
    """
    name, recipe = f"quiesce-test/mariadb:{version}", _recipe(version)
    listed = run(["docker", "image", "ls", "--no-trunc", "--quiet", name]).split()
    if listed:
        form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
        if run(["docker", "image", "inspect", "--format", form, name]).strip() == recipe:
            return name
    root = f"quiesce-test/mariadb-root:{version}"
    say(f"building {name}")
    run(["docker", "import", str(_root(version, may_bootstrap=may_bootstrap)), root], timeout=300)
    command = ["docker", "build", "--quiet", "--force-rm", "--build-arg", f"ROOT={root}"]
    command += ["--label", f"{LABEL}={recipe}", "--tag", name, str(RECIPES / "mariadb")]
    run(command, timeout=600, extra_environment={"DOCKER_BUILDKIT": "0"})
    return name


def _recipe(version: str) -> str:
    digest = hashlib.sha256(repr((RELEASES[version], _PACKAGES)).encode())
    for path in sorted((RECIPES / "mariadb").iterdir()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _root(version: str, *, may_bootstrap: bool) -> Path:
    """Return the root file system as a tar file; it appears whole or not at all."""
    key = hashlib.sha256(repr((RELEASES[version], _PACKAGES)).encode()).hexdigest()[:16]
    cached = cache_directory() / f"mariadb-{version}-{key}.tar"
    if cached.exists():
        return cached
    if not may_bootstrap:
        raise Unavailable(
            f"the image of MariaDB {version} is missing and cannot be built without --provision"
        )
    debian.refuse_unless_installable()
    debian.install_packages(["mmdebstrap"])
    say(f"making a root with MariaDB {version} (about a minute)")
    part = cached.with_name(f".{cached.name}.partial")
    command = ["unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=essential"]
    command += ["--format=tar", f"--include={','.join(_PACKAGES)}"]
    command += [f"--aptopt={line}" for line in debian.route_settings()]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED]
    command += ["--dpkgopt=force-unsafe-io", "--dpkgopt=force-confold"]
    release = RELEASES[version]
    command += [release, str(part), debian.later_release_source(release)]
    with tempfile.TemporaryDirectory(prefix="build-", dir=cached.parent) as scratch:
        run(command, timeout=900, extra_environment={"TMPDIR": scratch})
    part.replace(cached)
    return cached
