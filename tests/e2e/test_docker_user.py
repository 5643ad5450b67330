"""The main job as the commonest user: an ordinary one, in group docker."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.commands.backup import run_backup
from quiesce.commands.restore import run_restore
from quiesce.errors import Busy
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from tests.integration.volumes_support import as_user, needs_root
from tests.support.counting import Counting, wait_until
from tests.support.kills import mark, marks, require_kept

pytestmark = [pytest.mark.engine, needs_root]
USER = 4242


@pytest.fixture(scope="module")
def counting(engine: str) -> Iterator[Counting]:
    """A stack in containers, in a folder that belongs to that user."""
    with Counting.temporary(on_engine=True) as made:
        made.begin()
        # Once as root as well: the forked child may not be able to read our own modules.
        first = run_backup(made.session(), BackupRequest())
        assert first is not None
        run_restore(made.session(), first.name, RestoreRequest())
        shutil.rmtree(made.folder / "backups")
        for path in (made.folder, *made.folder.rglob("*")):
            os.chown(path, USER, USER)
        yield made


def _groups(engine: str) -> list[int]:
    return [Path(engine.removeprefix("unix://")).stat().st_gid]


def test_backup_and_restore_without_being_root(
    counting: Counting, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number in all three places; every file is the user's own; the old state comes back."""
    monkeypatch.setenv("HOME", str(counting.folder))

    def back_up() -> str:
        made = run_backup(counting.session(), BackupRequest())
        return made.name if made else "nothing"

    counting.wait_until_it_counts()
    name = as_user(USER, back_up, _groups(engine))
    assert name.startswith("core-"), name
    for path in (counting.folder / "backups").rglob("*"):
        assert path.lstat().st_uid == USER, path
        assert path.lstat().st_mode & 0o077 == 0, path
    (made,) = (found for found in counting.sets() if found.name == name)
    numbers = counting.numbers_in(made, tmp_path / "set")
    assert len(set(numbers.values())) == 1, numbers
    mark(counting, "newer than the set")
    wait_until(lambda: counting.number() > numbers["file"] + 500, "the number to grow")

    def restore() -> str:
        run_restore(counting.session(), name, RestoreRequest())
        return "restored"

    assert as_user(USER, restore, _groups(engine)) == "restored"
    assert marks(counting) == {""}
    require_kept(counting, {})


def test_a_mark_from_where_one_may_not_look_is_somebody_elses(
    counting: Counting, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a copy of that folder, which has the journal of the run that made the mark."""
    monkeypatch.setenv("HOME", str(counting.folder))

    def back_up() -> str:
        try:
            run_backup(counting.session(), BackupRequest())
        except Busy as busy:
            return busy.fact
        return "it was let in"

    assert as_user(USER, back_up, _groups(engine)) == "it was let in"
    tmp_path.chmod(0o700)
    elsewhere = f"{platform.node()}:{tmp_path / 'backups'}"
    journal = max(runs_folder(counting.session().stack).glob("*.jsonl"))
    labels = [f"quiesce.claim={elsewhere}", f"quiesce.claim.run={journal.stem}"]
    name = f"quiesce-claim-{counting.project}"
    options = [word for label in labels for word in ("--label", label)]
    counting.docker("volume", "create", *options, name)
    try:
        said = as_user(USER, back_up, _groups(engine))
    finally:
        counting.docker("volume", "rm", name)
    assert f"is being changed from {elsewhere}" in said
