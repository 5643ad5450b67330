"""Files that are no sets, on the real stack: SQL in every wrapping, and an older archive."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout

pytestmark = pytest.mark.engine
SMALL_STACK = True


@pytest.fixture(scope="module")
def before(core: Checkout) -> dict[str, Any]:
    """What is in the stack when the files are made."""
    core.write("first")
    return core.contents()


@pytest.fixture(scope="module")
def script(core: Checkout, before: dict[str, Any]) -> Path:
    """A file as the old Makefile made it: pg_dump's output, redirected."""
    (container,) = core.containers("label=com.docker.compose.service=db")
    dumped = core.docker("exec", container, "pg_dump", "-U", "postgres", "rulesdb")
    path = core.folder / "backups" / "rulesdb-20240101-010101.sql"
    path.write_text(dumped + "\n")
    return path


def rules(core: Checkout) -> Any:
    """What a user sees of rulesdb."""
    contents = core.contents()
    return contents["projects"], contents["rules"]


@pytest.mark.parametrize(
    "form",
    [
        "sql",
        pytest.param("gz", marks=pytest.mark.long),
        pytest.param("zst", marks=pytest.mark.long),
        "custom",
    ],
)
def test_a_file_is_built_beside_and_swapped_in(
    core: Checkout, before: dict[str, Any], script: Path, form: str, tmp_path: Path
) -> None:
    """Which database it is of, its name says, or `--database`; undo goes back."""
    core.write(f"for-{form}")
    written = core.contents()
    file, named = script, []
    if form == "gz":
        file = tmp_path / "x.sql.gz"
        file.write_bytes(gzip.compress(script.read_bytes()))
        named = ["--database", "rulesdb"]
    elif form == "zst":
        file = tmp_path / "x.sql.zst"
        subprocess.run(["zstd", "-q", script, "-o", file], check=True)
        named = ["--database", "rulesdb"]
    elif form == "custom":
        (made, *_) = [path for path in core.sets() if "safety" not in path.name] or [None]
        if made is None:
            core.succeed("backup", "--only", "rulesdb")
            made = next(path for path in core.sets() if "safety" not in path.name)
        file = made / "databases" / "rulesdb.dump"
        named = ["--database", "rulesdb"]
        expected = rules(core)
        core.write("after-the-dump")
    plan = core.succeed("restore", "--file", str(file), *named, "--dry-run").out
    assert "as a role without privileges" in plan
    core.succeed("restore", "--file", str(file), *named, "--yes")
    if form != "custom":
        expected = (before["projects"], before["rules"])
    assert rules(core) == expected
    assert core.leftovers() == []
    roles = core.sql(
        "postgres", "SELECT rolname FROM pg_roles WHERE rolname ~ 'quiesce_(loader|reader)'"
    )
    assert roles == []
    if form == "sql":
        core.succeed("undo-restore", "--yes")
        assert rules(core) == (written["projects"], written["rules"])


def test_rows_alone_go_onto_the_migrated_schema(
    core: Checkout, before: dict[str, Any], script: Path
) -> None:
    """A data-only file as the old Makefile made them: its own revision, seed rows replaced."""
    core.succeed("restore", "--file", str(script), "--yes")
    core.succeed("backup-db", "--database", "rulesdb", "--data-only")
    (file,) = (core.folder / "backups").glob("rulesdb-data-*.sql")
    core.write("later")
    core.succeed("restore", "--file", file.name, "--yes")
    assert rules(core) == (before["projects"], before["rules"])


def test_an_archive_of_the_older_script_is_restored(
    core: Checkout, before: dict[str, Any], script: Path, tmp_path: Path
) -> None:
    """Database, uploads and static files in one tar, as it packed them."""
    media = io.BytesIO()
    with tarfile.open(fileobj=media, mode="w:gz") as tar:
        content = b"an old upload"
        entry = tarfile.TarInfo("./old/upload.txt")
        entry.size, entry.uid, entry.gid = len(content), 10001, 10001
        folder = tarfile.TarInfo("./old")
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, 10001, 10001
        root = tarfile.TarInfo(".")
        root.type, root.mode, root.uid, root.gid = tarfile.DIRTYPE, 0o755, 10001, 10001
        tar.addfile(root)
        tar.addfile(folder)
        tar.addfile(entry, io.BytesIO(content))
    full = tmp_path / "full_backup_20251025_143022.tar.gz"
    with tarfile.open(full, "w:gz") as tar:
        tar.add(script, "db_backup_20251025_143022.sql")
        inner = tarfile.TarInfo("media_backup_20251025_143022.tar.gz")
        inner.size = len(media.getvalue())
        tar.addfile(inner, io.BytesIO(media.getvalue()))
    core.write("after-the-archive")
    core.succeed("restore", "--file", str(full), "--yes")
    contents = core.contents()
    assert (contents["projects"], contents["rules"]) == (before["projects"], before["rules"])
    assert contents["uploads"] == {"old/upload.txt": "an old upload"} or set(
        contents["uploads"]
    ) == {"old/upload.txt"}
    core.succeed("undo-restore", "--yes")
    assert set(core.contents()["uploads"]) > set(before["uploads"])


WRONG = {
    "cut": lambda text: text[: len(text) // 2],
    "a program": lambda text: text.replace(
        b"\nCREATE TABLE", b"\nCOPY x FROM PROGRAM 'id';\nCREATE TABLE", 1
    ),
    "empty": lambda _: b"",
    "carriage returns": lambda text: text.replace(b"\n", b"\r\n"),
    "several": lambda text: b"\\connect other\n" + text,
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused_and_nothing_stops(
    core: Checkout, script: Path, what: str, tmp_path: Path
) -> None:
    """Exit 2, a line number where there is one, and everything as it was."""
    file = tmp_path / "rulesdb-wrong.sql"
    file.write_bytes(WRONG[what](script.read_bytes()))
    started, contents = core.started(), core.contents()
    result = core.inv("restore", "--file", str(file), "--yes")
    assert result.code == 2, result.err
    assert "HINT: " in result.err
    assert (core.started(), core.contents()) == (started, contents)
    assert core.leftovers() == []
