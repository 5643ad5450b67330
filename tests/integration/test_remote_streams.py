"""Bytes to and from an engine that cannot mount our folders: whole, or an error in words."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import APIClient
from docker.errors import NotFound

from quiesce.adapters.compose.engine import make_tls
from quiesce.adapters.files import make_empty
from quiesce.adapters.volumes.helper import STAGING, HelperEngine
from quiesce.adapters.volumes.location import ARCHIVE
from quiesce.adapters.volumes.remote import RemotePlace
from quiesce.errors import LostEngine, QuiesceError
from tests.support.front import Front, make_certificates

pytestmark = pytest.mark.engine

MEGABYTE = 1 << 20
COPY = ["dd", "bs=64k", "status=none"]


class Far:
    """An engine behind a front, and a volume on it."""

    def __init__(self, endpoint: str, folder: Path, *, tls: bool) -> None:
        keys = make_certificates(folder) if tls else None
        self.front = Front(Path(endpoint.removeprefix("unix://")), keys)
        pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
        self.api = APIClient(
            base_url=f"{'https' if tls else 'tcp'}://{self.front.address}",
            version="auto",
            tls=make_tls(pair, str(folder / "ca.pem"), verify=True) if tls else False,
            timeout=10,
        )
        self.run = f"20260101000000-{uuid.uuid4().hex[:8]}"
        self.volume = f"quiesce-{self.run}"
        self.api.create_volume(self.volume)
        self.scratch = folder / "scratch"

    def place(self) -> RemotePlace:
        engine = HelperEngine(
            api=lambda: self.api,
            images=lambda: (os.environ["TINY_IMAGE"],),
            is_local=lambda: False,
            labels=lambda key: {},
        )
        return RemotePlace(engine, self.run, self.volume, self.scratch, writable=True)

    def close(self) -> None:
        self.front.limit = None
        helpers = {"label": [f"quiesce.run={self.run}"]}
        for container in self.api.containers(all=True, filters=helpers):
            self.api.remove_container(container["Id"], force=True, v=True)
        self.api.remove_volume(self.volume)
        self.api.close()
        self.front.close()


@pytest.fixture(params=[False, True], ids=["tcp", "tls"])
def far(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Iterator[Far]:
    """Reached over a plain connection, and over TLS with a client's certificate."""
    made = Far(engine, tmp_path, tls=request.param)
    yield made
    made.close()


def test_what_goes_and_comes_is_the_same(far: Far, tmp_path: Path) -> None:
    """Streams of many frames, both ways, with any bytes in them; and nameless volumes end."""
    content = os.urandom(8 * MEGABYTE)
    sent, came = tmp_path / "sent", make_empty(tmp_path / "came")
    sent.write_bytes(content)
    place = far.place()
    mounts = far.api.inspect_container(place._container.id)["Mounts"]
    (nameless,) = (m["Name"] for m in mounts if m["Destination"] == STAGING)
    place.run(["tee", f"{place.root}/kept"], what="sending", reads=sent)
    place.run(["cat", f"{place.root}/kept"], what="fetching", writes=came)
    assert came.read_bytes() == content
    assert came.stat().st_mode & 0o777 == 0o600
    place.close()
    with pytest.raises(NotFound):
        far.api.inspect_volume(nameless)
    assert list(far.scratch.iterdir()) == []


def test_small_files_go_before_and_come_after(far: Far) -> None:
    """What we wrote is sent once, what the program wrote is here afterwards."""
    place = far.place()
    given, made = place.output("given"), place.output("made")
    given.write_bytes(b"b\0a\0")
    place.run(["sort", "-z", "-o", place.see(made), place.see(given)], what="sorting")
    assert made.read_bytes() == b"a\0b\0"
    place.run(["sh", "-c", 'cat "$1" >>"$2"', "sh", place.see(given), place.see(made)], what="more")
    assert made.read_bytes() == b"a\0b\0b\0a\0"
    place.close()


def test_exit_codes_and_errors_come_through(far: Far) -> None:
    """Also of a program that ends before it has read what it is sent."""
    place = far.place()
    large = place.output("large")
    large.write_bytes(bytes(32 * MEGABYTE))
    script = ["sh", "-c", "echo said; echo wrong >&2; exit 3"]
    ended = place.run(script, what="failing", accept=(3,), reads=large)
    assert (ended.exit_code, ended.output.read_bytes()) == (3, b"said\n")
    with pytest.raises(QuiesceError, match=r"failing failed \(exit code 3\)") as caught:
        place.run(script, what="failing")
    assert caught.value.details == ("wrong",)
    place.close()


def test_tar_is_told_to_use_the_stream(far: Far, tmp_path: Path) -> None:
    """`ARCHIVE` is the connection there."""
    archive = make_empty(tmp_path / "a.tar")
    place = far.place()
    place.run(["sh", "-c", f"echo here >{place.root}/file"], what="writing")
    place.run(["tar", "-c", ARCHIVE, "-C", place.root, "."], what="archiving", writes=archive)
    place.run(["rm", f"{place.root}/file"], what="removing")
    place.run(["tar", "-x", ARCHIVE, "-C", place.root], what="unpacking", reads=archive)
    assert place.run(["cat", f"{place.root}/file"], what="x").output.read_bytes() == b"here\n"
    place.close()


@pytest.mark.parametrize("size", [2 * MEGABYTE, 4 * MEGABYTE + 10])
def test_a_stream_that_breaks_is_no_end(far: Far, tmp_path: Path, size: int) -> None:
    """However much has come by then; the next try works."""
    came = make_empty(tmp_path / "came")
    place = far.place()
    place.run(["sh", "-c", f"head -c 4194304 /dev/zero >{place.root}/kept"], what="making")
    far.front.limit = size
    with pytest.raises(LostEngine):
        place.run(["cat", f"{place.root}/kept"], what="fetching", writes=came)
    far.front.limit = None
    place.run(["cat", f"{place.root}/kept"], what="fetching", writes=came)
    assert came.stat().st_size == 4 * MEGABYTE
    place.close()
