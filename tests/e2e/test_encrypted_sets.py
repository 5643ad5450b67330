"""Sets that are encrypted where they lie, by the commands people type."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from quiesce.model import BackupSet
from tests.support.byhand import paste
from tests.support.counting import Counting
from tests.support.kills import mark, marks
from tests.support.postgres import PostgresServer, installed
from tests.support.programs import require_programs

SETTING = "hunter2-in-a-setting"
WORD = "seen-by-nobody-else"
#: What the program age does with `--decrypt --identity KEY --output OUT IN`.
AGE = """\
#!{python}
import pathlib, pyrage, sys
key, out, sealed = sys.argv[3], sys.argv[5], sys.argv[6]
identity = pyrage.x25519.Identity.from_str(pathlib.Path(key).read_text().strip())
pathlib.Path(out).write_bytes(pyrage.decrypt(pathlib.Path(sealed).read_bytes(), [identity]))
"""


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key that decrypts, somewhere else; beside it one that does not."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("key", "other"):
        (folder / f"{name}.txt").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    return folder / "key.txt"


@pytest.fixture(scope="module")
def counting(identity: Path) -> Iterator[Counting]:
    """Two databases and a volume that all hold a word, and an encrypted set of them."""
    with Counting.temporary() as made:
        key = pyrage.x25519.Identity.from_str(identity.read_text().strip()).to_public()
        made.declare(f"encrypt: {{age: [{key}], where: everywhere}}")
        made.begin()
        mark(made, WORD)
        # Where some applications keep secrets: it is no row, and in no dump.
        with made.connect("rulesdb") as connection, connection.cursor() as cursor:
            cursor.execute("ALTER DATABASE rulesdb SET app.jwt_secret = %s", [SETTING])
            cursor.execute("COMMENT ON DATABASE rulesdb IS %s", [SETTING])
        done = made.inv("backup")
        assert done.returncode == 0, done.stderr
        yield made


@pytest.fixture
def backup(counting: Counting) -> BackupSet:
    """The first set."""
    return counting.sets()[0]


def _setting(counting: Counting) -> str:
    (row,) = counting.sql("rulesdb", "SELECT current_setting('app.jwt_secret', true)")
    return str(row[0])


def _restored(counting: Counting, *arguments: str) -> subprocess.CompletedProcess[str]:
    return counting.inv("restore", "--yes", *arguments)


def test_nothing_of_the_data_lies_in_the_clear(backup: BackupSet, counting: Counting) -> None:
    """Neither in the set nor where it was made; what a list needs can be read."""
    assert backup.manifest.encryption == "age"
    assert {member.file.rpartition(".")[2] for member in backup.manifest.members} == {"age"}
    for path in (counting.folder / "backups").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert WORD.encode() not in content
            assert SETTING.encode() not in content, path
            assert not content.startswith((b"PGDMP", b"\x28\xb5\x2f\xfd"))
            assert path.stat().st_mode & 0o077 == 0
    readable = b"".join(path.read_bytes() for path in backup.path.rglob("*") if path.is_file())
    assert b"retention:" not in readable, "stack.yaml is as somebody wrote it"
    # A guess at a short secret could be tried with a sum or a digest.
    assert {member.plain.sha256 for member in backup.manifest.members if member.plain} == {""}
    assert not any(t.digest for record in backup.manifest.databases for t in record.tables)
    assert counting.inv("backups").returncode == 0
    assert counting.inv("verify", "--all").returncode == 0


def test_without_the_key_nothing_is_touched(
    backup: BackupSet, counting: Counting, identity: Path
) -> None:
    """No key, or the wrong one: exit 2 with the reason, and everything goes on running."""
    before = counting.number()
    for keys, reason in (
        ([], "there is no identity"),
        (["--identity", str(identity.with_name("other.txt"))], "is not encrypted for the identity"),
    ):
        ended = _restored(counting, "--file", backup.name, *keys)
        assert ended.returncode == 2, ended.stderr
        assert reason in ended.stderr
        assert "HINT: give the file with --identity" in ended.stderr
    assert counting.number() >= before
    assert list((counting.folder / "backups" / ".staging").iterdir()) == []


@pytest.mark.core
def test_with_the_key_it_comes_back_and_goes_back(
    backup: BackupSet, counting: Counting, identity: Path
) -> None:
    """The safety set is encrypted like any other; undoing needs the key, too."""
    mark(counting, "later")
    with counting.connect("rulesdb") as connection, connection.cursor() as cursor:
        cursor.execute("ALTER DATABASE rulesdb RESET app.jwt_secret")
    ended = _restored(counting, "--file", backup.name, "--identity", str(identity))
    assert ended.returncode == 0, ended.stderr
    assert marks(counting) == {WORD}
    assert _setting(counting) == SETTING
    assert counting.sets()[-1].manifest.encryption == "age"
    undone = counting.inv("undo-restore", "--yes", "--identity", str(identity))
    assert undone.returncode == 0, undone.stderr
    assert marks(counting) == {"later"}
    mark(counting, WORD)


def test_a_deep_look_needs_the_key_and_says_so(
    backup: BackupSet, counting: Counting, identity: Path
) -> None:
    """Without it only the sums count."""
    only_sums = counting.inv("verify", "--file", backup.name, "--deep")
    assert only_sums.returncode == 0
    assert "only checksums were verified of encrypted members" in only_sums.stderr
    assert counting.sets()[0].state.verified_level == "sums"
    tried = counting.inv("verify", "--file", backup.name, "--restore")
    assert tried.returncode == 2, tried.stderr
    assert "there is no identity" in tried.stderr
    assert counting.sets()[0].state.verified_good
    deep = counting.inv("verify", "--file", backup.name, "--deep", "--identity", str(identity))
    assert deep.returncode == 0, deep.stderr
    assert counting.sets()[0].state.verified_level == "deep"


def test_a_member_that_was_cut_is_refused_by_name(
    backup: BackupSet, counting: Counting, identity: Path
) -> None:
    """Before anything is decrypted."""
    member = backup.path / backup.manifest.members[0].file
    whole = member.read_bytes()
    member.write_bytes(whole[:-1])
    try:
        verified = counting.inv("verify", "--file", backup.name)
        ended = _restored(counting, "--file", backup.name, "--identity", str(identity))
    finally:
        member.write_bytes(whole)
    assert (verified.returncode, ended.returncode) == (7, 2)
    assert member.name in verified.stderr
    assert member.name in ended.stderr
    assert counting.inv("verify", "--file", backup.name).returncode == 0


def test_its_own_page_says_how_to_decrypt_by_hand(
    backup: BackupSet, identity: Path, tmp_path: Path
) -> None:
    """The commands of RESTORE.md, by age itself, give the members that were encrypted."""
    require_programs(["age"], ["age"])
    folder = shutil.copytree(backup.path, tmp_path / "set")
    text = (folder / "RESTORE.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("age --decrypt")]
    assert len(lines) == len(backup.manifest.members)
    for line in lines:
        command = re.sub(r"KEY\.txt", str(identity), line)
        subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    for member in backup.manifest.members:
        assert member.plain is not None
        assert (folder / member.plain.file).stat().st_size == member.plain.bytes


def test_its_own_page_restores_it_by_hand(
    backup: BackupSet, counting: Counting, identity: Path, tmp_path: Path
) -> None:
    """Pasted beside the key and an empty server: decrypted, roles made, databases and files."""
    folder = shutil.copytree(backup.path, tmp_path / "set")
    shutil.copy(identity, folder / "KEY.txt")
    programs = tmp_path / "programs"
    programs.mkdir()
    age = programs / "age"
    age.write_text(AGE.format(python=sys.executable))
    age.chmod(0o755)
    server = PostgresServer(installed()[max(installed())])
    try:
        paste(folder, server, programs)
        for database in ("rulesdb", "memorydb"):
            assert server.run("SELECT word FROM marked", database) == [(WORD,)]
            assert server.run("SELECT n FROM counted", database) != []
    finally:
        server.remove()
    assert (folder / "restored" / "numbers" / "number").exists()


def test_single_files_are_encrypted_and_restored_too(counting: Counting, identity: Path) -> None:
    """`backup-db` leaves no database in the clear either."""
    done = counting.inv("backup-db", "--database", "rulesdb")
    assert done.returncode == 0, done.stderr
    (file,) = (counting.folder / "backups").glob("rulesdb-*.sql.age")
    assert file.read_bytes().startswith(b"age-encryption.org/")
    counting.sql("rulesdb", "DELETE FROM marked")
    without = _restored(counting, "--file", file.name, "--database", "rulesdb")
    assert without.returncode == 2, without.stderr
    keys = ["--identity", str(identity)]
    ended = _restored(counting, "--file", file.name, "--database", "rulesdb", *keys)
    assert ended.returncode == 0, ended.stderr
    assert counting.sql("rulesdb", "SELECT word FROM marked") == [(WORD,)]


@pytest.mark.parametrize("task", ["backup", "restore"])
def test_a_key_that_is_not_known_is_refused_before_anything_stops(
    counting: Counting, identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """For gpg, the keys are those of this machine. A restore needs it for its safety set, which is
    made when nothing can be refused any more."""
    (tmp_path / "gnupg").mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "gnupg"))
    file = counting.folder / "stack.yaml"
    text = file.read_text()
    kept = [line for line in text.splitlines() if not line.startswith("encrypt:")]
    gpg = "encrypt: {gpg: [nobody@example.org], where: everywhere}"
    file.write_text("\n".join([*kept, gpg, ""]))
    before = len(counting.sets())
    options = ["--file", "latest", "--yes", "--identity", str(identity)]
    try:
        ended = counting.inv(task, *(options if task == "restore" else []))
    finally:
        file.write_text(text)
    assert ended.returncode == 2, ended.stderr
    assert "nobody@example.org cannot be used as a recipient" in ended.stderr
    assert len(counting.sets()) == before


def test_what_a_killed_restore_decrypted_is_removed(counting: Counting) -> None:
    """It died before its journal, so nothing is owed; what lies in the clear goes all the same."""
    folder = counting.folder / "backups" / ".staging" / "dead"
    (folder / ".decrypted").mkdir(parents=True, mode=0o700)
    (folder / ".holder").touch(mode=0o600)
    (folder / ".decrypted" / "rulesdb.dump").write_text(WORD)
    looked = counting.inv("recover", "--dry-run")
    assert looked.stdout == "remove leftovers of run dead\n"
    assert folder.is_dir()
    ended = counting.inv("recover")
    assert ended.returncode == 0, ended.stderr
    assert "removed the files of run dead, which died before it changed anything" in ended.stdout
    assert not folder.exists()
