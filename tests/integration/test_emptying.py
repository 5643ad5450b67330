"""Emptying a folder in which services write as other users, by somebody in group docker."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.volumes.empty_folder import NotPermitted
from quiesce.adapters.volumes.helper import HelperEngine
from quiesce.adapters.volumes.io import VolumeFiles
from tests.integration.volumes_support import as_user, is_root

pytestmark = pytest.mark.skipif(not is_root(), reason="only root may become another user")
USER = 4321


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def a_folder_of_others(base: Path) -> Path:
    """A stack's folder of ours with a log folder in it that root made and a service fills."""
    stack = base / "stack"
    logs = stack / "backend" / "logs"
    (logs / "deep").mkdir(parents=True)
    (logs / "deep" / "app.log").write_text("x")
    (logs / "app.log").write_text("x")
    for path in (stack, stack / "backend"):
        os.chown(path, USER, USER)
    for path in (logs / "deep", logs / "app.log", logs / "deep" / "app.log"):
        os.chown(path, 10001, 10001)
    return stack


@pytest.mark.engine
def test_a_user_of_the_engine_can_empty_what_services_wrote(engine: str, open_folder: Path) -> None:
    """Through a helper that leaves the folder itself as it was, and nothing of itself."""
    import docker

    stack = a_folder_of_others(open_folder)
    group = os.stat(engine.removeprefix("unix://")).st_gid

    def work() -> str:
        api = docker.APIClient(base_url=engine, version="auto")
        helper = HelperEngine(
            api=lambda: api,
            images=lambda: (os.environ["TINY_IMAGE"],),
            is_local=lambda: True,
            labels=lambda key: {},
        )
        files = VolumeFiles(
            run="r-emptying", staging=stack / "staging", direct=lambda _: None,
            helper=helper,
        )  # fmt: skip
        count = files.empty_folder(stack, Path("backend/logs"))
        left = api.containers(all=True, filters={"label": "quiesce.run=r-emptying"})
        api.close()
        return f"{count} {len(left)}"

    assert as_user(USER, work, groups=[group]) == "3 0"
    logs = stack / "backend" / "logs"
    assert list(logs.iterdir()) == []
    assert logs.stat().st_uid == 0


def test_without_an_engine_it_is_refused_with_a_way_out(open_folder: Path) -> None:
    """Nothing is removed, and the hint says who may."""
    stack = a_folder_of_others(open_folder)

    def work() -> str:
        files = VolumeFiles(run="r-emptying", staging=stack / "staging", direct=lambda _: None)
        try:
            files.empty_folder(stack, Path("backend/logs"))
        except NotPermitted as error:
            return error.hint
        return "it was emptied"

    assert "as root" in as_user(USER, work)
    assert (stack / "backend" / "logs" / "app.log").exists()
