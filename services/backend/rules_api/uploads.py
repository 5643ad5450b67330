"""Uploaded files: each is on disk, whole and under its name, before its upload is answered."""

import hashlib
import os
import secrets
from pathlib import Path

from .messages import Answer, Refused, Request

CHUNK = 1024 * 1024
LARGEST_UPLOAD = 4 * 1024**3


def list_uploads(media: Path, request: Request) -> Answer:
    """Answer with every file, sorted by path; names with a leading dot are not uploads."""
    uploads = []
    for folder, folders, files in os.walk(media):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if name.startswith(".") or path.is_symlink():
                continue
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue  # deleted since the folder was read
            uploads.append({"path": path.relative_to(media).as_posix(), "bytes": size})
    return Answer(document={"uploads": sorted(uploads, key=lambda upload: upload["path"])})


def get_upload(media: Path, request: Request) -> Answer:
    """Answer with the file."""
    return Answer(file=find_upload(media, request.parts["path"]))


def put_upload(media: Path, request: Request) -> Answer:
    """Store the body: a temporary file in the same folder, synced, renamed, and the folder synced.

    Whoever copies the folder at any moment finds the old file or the new one under the name.
    """
    if request.body.length > LARGEST_UPLOAD:
        raise Refused(413, f"uploads end at {LARGEST_UPLOAD} bytes")
    target = find_place(media, request.parts["path"])
    make_folder(target.parent)
    if target.is_dir():
        raise Refused(409, "there is a folder of that name")
    temporary = target.with_name(f".upload-{secrets.token_hex(8)}")
    digest = hashlib.sha256()
    try:
        with temporary.open("xb") as file:
            while chunk := request.body.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
            file.flush()
            os.fsync(file.fileno())
        replaced = target.exists()
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return Answer(
        200 if replaced else 201,
        {"path": request.parts["path"], "bytes": request.body.length, "sha256": digest.hexdigest()},
    )


def delete_upload(media: Path, request: Request) -> Answer:
    """Remove the file; its folder stays."""
    path = find_upload(media, request.parts["path"])
    path.unlink(missing_ok=True)
    sync_folder(path.parent)
    return Answer(204)


def find_upload(media: Path, name: str) -> Path:
    """Return the path of an upload that exists, or refuse with 404."""
    path = find_place(media, name)
    if path.is_symlink() or not path.is_file():
        raise Refused(404, f"no upload {name}")
    return path


def find_place(media: Path, name: str) -> Path:
    """Return where an upload of this name lies, or refuse a name that leads anywhere else."""
    parts = name.split("/")
    for part in parts:
        if not part or part.startswith(".") or len(part.encode()) > 200:
            raise Refused(400, "a part of the path is empty, too long, or begins with a dot")
        if not part.isprintable() or "\\" in part:
            raise Refused(400, "a part of the path holds a character that is not allowed")
    path = media.joinpath(*parts)
    # a symbolic link among the folders, which no upload makes, would lead out all the same
    if not path.parent.resolve().is_relative_to(media.resolve()):
        raise Refused(400, "the path leads out of the uploads")
    return path


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each synced into its parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise Refused(409, "there is a file of that name") from None
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk: a rename alone would not survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
