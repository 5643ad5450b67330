"""An engine over SSH, through a real sshd: the way most people reach another machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.commands.backup import run_backup
from quiesce.commands.restore import run_restore
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from tests.integration.volumes_support import needs_root
from tests.support.checkout import free_ports
from tests.support.counting import Counting, wait_until
from tests.support.kills import mark, marks, require_kept
from tests.support.programs import require_programs

pytestmark = [pytest.mark.engine, pytest.mark.long, needs_root]

SERVER = """\
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
SetEnv PATH={path}
"""
CLIENT = """\
Host *
  IdentityFile {folder}/user
  UserKnownHostsFile {folder}/known
  StrictHostKeyChecking accept-new
  BatchMode yes
  ControlMaster auto
  ControlPath {folder}/%C
  ControlPersist 60
"""


@pytest.fixture(scope="module")
def host(engine: str) -> Iterator[str]:
    """The engine of this machine as a machine far away has it: `ssh://root@…`."""
    require_programs(["openssh-server", "openssh-client"], ["sshd", "ssh"])
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "sshd"
    folder = Path(tempfile.mkdtemp(prefix="qssh-"))
    for name in ("host", "user"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    (port,) = free_ports(1)
    settings = SERVER.format(folder=folder, path=os.environ["PATH"])
    (folder / "sshd_config").write_text(f"Port {port}\n{settings}")
    (folder / "config").write_text(CLIENT.format(folder=folder))
    # ssh looks for its files in the home of the user's entry, whatever HOME says.
    wrapper = folder / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    wrapper.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log
    )
    log.close()
    name = f"ssh://root@127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
        patch.setenv("DOCKER_HOST", name)
        try:
            reach = ["docker", "version", "--format", "{{.Server.Version}}"]
            wait_until(
                lambda: not subprocess.run(reach, capture_output=True, check=False).returncode,
                "the engine over ssh",
            )
            yield name
        finally:
            server.terminate()
            server.wait()
            shutil.rmtree(folder)


def test_backup_and_restore_over_ssh(host: str, tmp_path: Path) -> None:
    """Streamed both ways; one number in all three places; the old state comes back."""
    counting = Counting.make(tmp_path / "app", on_engine=True)
    try:
        counting.begin()
        made = run_backup(counting.session(), BackupRequest())
        assert made is not None
        numbers = counting.numbers_in(made, tmp_path / "set")
        assert len(set(numbers.values())) == 1, numbers
        mark(counting, "newer than the set")
        run_restore(counting.session(), made.name, RestoreRequest())
        assert marks(counting) == {""}
        require_kept(counting, {})
    finally:
        counting.destroy()
