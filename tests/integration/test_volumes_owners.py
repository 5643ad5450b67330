"""A file system on which root may not set owners, as NFS with root_squash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

STAGE = """
import sys
from pathlib import Path
from quiesce.adapters.volumes import swap
from quiesce.adapters.volumes.location import DirectPlace
from quiesce.errors import QuiesceError
try:
    swap.stage(DirectPlace("data", Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3], [], None)
except QuiesceError as error:
    print(error.fact, *error.details, error.hint, sep="\\n")
"""
RUN = "20261129010203-abcdef"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lose the right to set owners")
def test_a_restore_that_may_not_set_owners_says_what_to_change(tmp_path: Path) -> None:
    """Before anything is unpacked. Here the process lacks the right, there the server refuses."""
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir()
    work.mkdir()
    (data / "live").write_text("as before")
    os.chown(data, 1234, 1234)
    lesser = ("setpriv", "--bounding-set", "-chown", "--inh-caps", "-chown")
    ended = subprocess.run(
        [*lesser, sys.executable, "-c", STAGE, str(data), str(work), RUN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = ended.stdout.splitlines()
    assert said[0] == "unpacking volume data failed (exit code 1)", ended.stdout + ended.stderr
    assert "Operation not permitted" in said[1]
    assert said[-1] == (
        "its file system does not let root set owners: if it is NFS, export it to this machine "
        "with 'no_root_squash', then try again"
    )
    assert (data / "live").read_text() == "as before"
    assert not list(data.glob(".quiesce-*/new"))
