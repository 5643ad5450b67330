"""Static files: the package's assets, collected into a folder at every start."""

import hashlib
import json
import os
from pathlib import Path

from .messages import Answer, Refused, Request

ASSETS = Path(__file__).parent / "assets"
LISTING = "staticfiles.json"


def collect_static(static: Path) -> None:
    """Write every asset, and a listing with their sums, into the folder; what else is there stays.

    A file that is already there with the same content is left alone, with its time.
    """
    static.mkdir(parents=True, exist_ok=True)
    sums = {}
    for asset in sorted(ASSETS.iterdir()):
        content = asset.read_bytes()
        sums[asset.name] = hashlib.sha256(content).hexdigest()
        write(static / asset.name, content)
    write(static / LISTING, json.dumps({"files": sums}, indent=2).encode() + b"\n")


def write(path: Path, content: bytes) -> None:
    """Let a file have this content, whole at any moment."""
    if path.is_file() and path.read_bytes() == content:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.rename(path)


def get_static(static: Path, request: Request) -> Answer:
    """Answer with a static file; only names that are in the folder itself."""
    name = request.parts["name"]
    path = static / name
    if name.startswith(".") or path.is_symlink() or not path.is_file():
        raise Refused(404, f"no static file {name}")
    return Answer(file=path)
