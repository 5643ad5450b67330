"""Roots of Debian suites that hold an engine, its client and its Compose, cached on the machine."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from . import debian
from .machine import Unavailable, cache_directory, run, say
from .named import NamedEngine

_EXCLUDED = ("doc", "info", "locale", "man")
#: Changes whenever a root is made in another way.
_MADE = "1"


def engines_directory() -> Path:
    """Return the folder of the roots and the data of the engines in them."""
    folder = cache_directory() / "engines"
    folder.mkdir(mode=0o711, exist_ok=True)
    return folder


def root_of(engine: NamedEngine) -> Path:
    """Return where the root of an engine is or would be; engines of the same packages share it."""
    recipe = "\0".join((_MADE, engine.suite, *engine.packages))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    return engines_directory() / f"root-{engine.suite}-{engine.program}-{key}"


def ensure_root(engine: NamedEngine, *, provision: bool) -> Path:
    """Return the engine's root; with `provision` make it if it is missing.

    It appears whole or not at all. Raise `Unavailable` with the reason.
    """
    root = root_of(engine)
    if root.is_dir():
        return root
    if not provision:
        raise Unavailable(f"{engine.name} has no root yet; use --provision as root")
    debian.refuse_unless_installable()
    debian.install_packages(["mmdebstrap"])
    say(f"making a {engine.suite} root for {engine.name} (about a minute)")
    # What a run that was killed left behind: the caller holds the lock.
    for left in engines_directory().glob("build-*"):
        shutil.rmtree(left)
    source = debian.later_release_source(engine.suite)
    with tempfile.TemporaryDirectory(prefix="build-", dir=engines_directory()) as scratch:
        part = Path(scratch) / "root"
        # A mount namespace of its own: whatever happens, no /proc or /dev stays mounted below a
        # folder that is about to be removed.
        command = ["unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=essential"]
        command += ["--format=directory", f"--include={','.join(engine.packages)}"]
        command += [f"--aptopt={line}" for line in debian.route_settings()]
        command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED]
        command += ["--dpkgopt=force-unsafe-io", engine.suite, str(part), source]
        run(command, timeout=900, extra_environment={"TMPDIR": scratch})
        part.chmod(0o755)
        part.rename(root)
    return root
