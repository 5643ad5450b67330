"""Which members of an archive are refused, and that odd but harmless ones are not."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from quiesce.adapters.volumes.tar_check import Header, Judge, check_archives, read_headers
from quiesce.errors import QuiesceError
from quiesce.execute.unpacking import most_unpacked
from quiesce.model import ImportedVolume, VolumeRecord
from quiesce.ports import VolumeSize


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """One member."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def make_archive(path: Path, *members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> Path:
    """Write an archive of these members."""
    with tarfile.open(path, "w", format=form) as archive:
        for info in members:
            content = io.BytesIO(bytes(info.size)) if info.isreg() else None
            archive.addfile(info, content)
    return path


def check(*archives: Path, allow_devices: bool = False) -> tuple[str, ...]:
    """What is refused in these archives."""
    return check_archives(archives, allow_devices=allow_devices)


FILE, HARD, LINK, FOLDER = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE

UNSAFE = {
    "an absolute name": ([member("/etc/passwd")], "is absolute"),
    "a name that leads out": ([member("../x")], "points outside"),
    "a name that leads out from deeper": ([member("./a/../../x")], "points outside"),
    "a name that ends in dots": ([member("./a/..", FOLDER)], "points outside"),
    "a file through a link": ([member("./l", LINK, "/etc"), member("./l/x")], "'l'"),
    "a folder through a link": ([member("l", LINK, ".."), member("./l/x/", FOLDER)], "'l'"),
    "a file through a link, said twice": ([member("l", LINK, "a"), member(".//l/./x")], "'l'"),
    "a link through a link": ([member("l", LINK, ".."), member("l/m", LINK, "x")], "'l'"),
    "deep through a link": ([member("a/l", LINK, ".."), member("a/l/b/c")], "'a/l'"),
    "through a hard link to a link": (
        [member("l", LINK, "/etc"), member("h", HARD, "l"), member("h/x")],
        "'h'",
    ),
    "a hard link to an absolute name": ([member("h", HARD, "/etc/passwd")], "target is absolute"),
    "a hard link that leads out": ([member("h", HARD, "../../x")], "target points outside"),
    "a hard link through a link": (
        [member("l", LINK, "/etc"), member("h", HARD, "l/passwd")],
        "target passes through",
    ),
    "a character device": ([member("null", tarfile.CHRTYPE)], "device"),
    "a block device": ([member("disk", tarfile.BLKTYPE)], "device"),
    "our own folder": ([member("./.quiesce-20260101000000-0001/old/x")], "reserved for Quiesce"),
    "a root that is a link": ([member(".", LINK, "/etc")], "is the root"),
    "a root that is a file": ([member("./")], "is the root"),
    "an unknown type": ([member("x", b"Z")], "unknown type"),
}


@pytest.mark.parametrize("case", UNSAFE)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_an_unsafe_member_is_refused_with_its_reason(tmp_path: Path, case: str, form: int) -> None:
    """Each kind of archive, and the members before it are not named."""
    members, reason = UNSAFE[case]
    found = check(make_archive(tmp_path / "a.tar", member("fine"), *members, form=form))
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_long_name_is_judged_whole(tmp_path: Path, form: int) -> None:
    """Names beyond 100 bytes are in headers of their own."""
    long = "x" * 120
    names = [member(f"{long}/../../{long}"), member("h", HARD, f"{long}/../../x")]
    assert len(check(make_archive(tmp_path / "a.tar", *names, form=form))) == 2


def test_harmless_members_are_not_refused(tmp_path: Path) -> None:
    """Links may point anywhere; dots within names are names."""
    members = [
        member(".", FOLDER),
        member("./current", LINK, "../x"),
        member("./absolute", LINK, "/etc/passwd"),
        member("./..hidden"),
        member("./a..b/...", FILE),
        member("./a b/ c"),
        member("./deep/.quiesce-mine"),
        member("./pipe", tarfile.FIFOTYPE),
        member("./to-link", HARD, "./current"),
    ]
    assert check(make_archive(tmp_path / "a.tar", *members)) == ()


def test_a_link_that_was_replaced_is_no_link_any_more(tmp_path: Path) -> None:
    """Level 1 may have a folder where level 0 had a link, but the folder must come first."""
    zero = make_archive(tmp_path / "0.tar", member("./x", LINK, "/etc"))
    good = make_archive(tmp_path / "1.tar", member("./x", FOLDER), member("./x/file"))
    bad = make_archive(tmp_path / "2.tar", member("./x/file"), member("./x", FOLDER))
    assert check(zero, good) == ()
    assert len(check(zero, bad)) == 1


def test_devices_may_be_allowed(tmp_path: Path) -> None:
    """Only devices."""
    path = make_archive(tmp_path / "a.tar", member("null", tarfile.CHRTYPE), member("../x"))
    assert len(check(path)) == 2
    assert len(check(path, allow_devices=True)) == 1


def test_a_link_with_content_is_refused(tmp_path: Path) -> None:
    """One reader would skip the content, the other would read members from it."""
    hidden = member("./l", LINK, "x")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        hidden.size = 1024
        archive.fileobj.write(hidden.tobuf())  # type: ignore[union-attr]
        archive.fileobj.write(member("../x").tobuf() + bytes(512))  # type: ignore[union-attr]
    assert any("content" in reason for reason in check(tmp_path / "a.tar"))


def test_no_more_than_a_thousand_reasons_are_kept(tmp_path: Path) -> None:
    """And the others are counted."""
    path = make_archive(tmp_path / "a.tar", *[member(f"../{n}") for n in range(1200)])
    found = check(path)
    assert found[-1] == "and 200 more"
    assert len(found) == 1001


@pytest.mark.parametrize(
    "options", [["--sparse-version=0.0"], ["--sparse-version=0.1"], ["--sparse-version=1.0"], []]
)
def test_sparse_files_of_every_version_are_read_past(tmp_path: Path, options: list[str]) -> None:
    """Their real name is in another header, and their map must not be taken for a member."""
    form = "--format=posix" if options else "--format=gnu"
    source = tmp_path / "source"
    source.mkdir()
    with (source / "holes").open("wb") as stream:
        for number in range(60):
            stream.seek(number * 65536)
            stream.write(b"data")
    (source / "last").write_text("x")
    command = ["tar", "-c", "-f", tmp_path / "a.tar", "--sparse", form, *options]
    subprocess.run([*command, "-C", source, "./holes", "./last"], check=True)
    with (tmp_path / "a.tar").open("rb") as stream:
        names = [header.name for header in read_headers(stream)]
    assert names == [b"./holes", b"./last"]
    assert check(tmp_path / "a.tar") == ()


@pytest.mark.parametrize("suffix", ["zst", "gz", "tar"])
def test_every_compression_is_told_by_content_not_by_name(tmp_path: Path, suffix: str) -> None:
    """A name says what somebody called it."""
    plain = make_archive(tmp_path / "plain", member("../x"))
    path = tmp_path / "archive.whatever"
    if suffix == "zst":
        subprocess.run(["zstd", "-q", plain, "-o", path], check=True)
    elif suffix == "gz":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        plain.rename(path)
    assert len(check(path)) == 1


def cut(content: bytes) -> bytes:
    """Lose the second half."""
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """Change one byte in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("packed", ["zst", "gz"])
def test_a_damaged_archive_is_an_error(
    tmp_path: Path, damage: Callable[[bytes], bytes], packed: str
) -> None:
    """Read to the end: the damage may lie behind the last header."""
    big = tmp_path / "noise"
    big.write_bytes(os.urandom(300_000))
    path = tmp_path / "a"
    command = ["tar", "-c", "-f", path, "--zstd" if packed == "zst" else "--gzip"]
    subprocess.run([*command, "-C", tmp_path, "noise"], check=True)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(QuiesceError, match="not a readable tar archive"):
        check(path)


@pytest.mark.parametrize("length", [0, 100, 512, 700, 1024, 1536, 1600, 2048])
def test_a_plain_archive_that_is_cut_off_is_an_error(tmp_path: Path, length: int) -> None:
    """Anywhere before the empty block that ends it."""
    info = member("a")
    info.size = 600
    path = make_archive(tmp_path / "a", info, form=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:length])
    if length == 2048:
        assert check(path) == ()
        return
    with pytest.raises(QuiesceError, match="not a readable tar archive"):
        check(path)


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    """Text, and a file that is not there."""
    path = tmp_path / "text"
    path.write_text("hello" * 500)
    with pytest.raises(QuiesceError, match=r"checksum|a number in a header is invalid"):
        check(path)
    with pytest.raises(QuiesceError, match="cannot be read"):
        check(tmp_path / "absent")


NAMES = some.text(some.sampled_from("ab./\u00e9"), min_size=1, max_size=130)
KINDS = some.sampled_from([FILE, HARD, LINK, FOLDER, tarfile.FIFOTYPE])


@given(some.lists(some.tuples(NAMES, KINDS, NAMES), max_size=6), some.sampled_from([0, 1, 2]))
def test_headers_are_read_as_the_standard_library_reads_them(
    entries: list[tuple[str, bytes, str]], form: int
) -> None:
    """Names and types of every format, long ones included."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, kind, link in entries:
            info = member(name, kind, link if kind in (HARD, LINK) else "")
            info.size = 700 if kind == FILE else 0
            try:
                archive.addfile(info, io.BytesIO(bytes(700)) if kind == FILE else None)
            except ValueError:  # too long for ustar
                return
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        expected = [(m.type, m.name.rstrip("/").encode(), m.linkname.encode()) for m in archive]
    stream.seek(0)
    actual = [(h.type, h.name.rstrip(b"/"), h.link) for h in read_headers(stream)]
    assert expected == actual


PARTS = some.lists(some.sampled_from([b"a", b"b", b"..", b".", b""]), min_size=1, max_size=4)


@given(some.lists(some.tuples(PARTS, some.sampled_from([b"0", b"2", b"5"])), max_size=8))
def test_what_is_accepted_stays_inside(entries: list[tuple[list[bytes], bytes]]) -> None:
    """Followed by hand, no accepted member is outside or behind a link."""
    judge = Judge(allow_devices=False)
    links: set[tuple[bytes, ...]] = set()
    for parts, kind in entries:
        before = len(judge.verdict())
        judge.judge(Header(kind, b"/".join(parts), b"/anywhere", 0))
        if len(judge.verdict()) > before:
            continue
        place = tuple(part for part in parts if part not in (b"", b"."))
        assert b".." not in place
        assert not any(place[:depth] in links for depth in range(1, len(place)))
        links.discard(place)
        if kind == b"2":
            links.add(place)


def sized(name: str, size: int) -> tarfile.TarInfo:
    """A member with this many bytes of zeros."""
    info = member(name)
    info.size = size
    return info


def test_more_than_the_set_recorded_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """Bytes and entries, of all archives together; the root is no entry."""
    first = make_archive(tmp_path / "0", member("./", FOLDER), sized("./a", 600), member("./b"))
    second = make_archive(tmp_path / "1", member("./", FOLDER), sized("./a", 500))
    archives = [first, second]

    def refused(files: int, size: int) -> tuple[str, ...]:
        return check_archives(archives, allow_devices=False, most=VolumeSize(files, size))

    assert refused(3, 1100) == ()
    assert "3 entries and 1099 bytes" in refused(3, 1099)[0]
    assert "2 entries" in refused(2, 1100)[0]


def test_a_bomb_is_not_read_to_its_end(tmp_path: Path) -> None:
    """A small file that says it holds terabytes, of which not even the first is there."""
    info = sized("./bomb", 1 << 40)
    path = tmp_path / "bomb"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    (refused,) = check_archives([path], allow_devices=False, most=VolumeSize(1, 1000))
    assert "unpacks to more" in refused


@pytest.mark.parametrize("form", ["posix", "gnu"])
def test_a_file_of_holes_counts_as_what_it_becomes(tmp_path: Path, form: str) -> None:
    """It is stored in a few bytes and could fill whatever reads it."""
    with (tmp_path / "hollow").open("wb") as stream:
        stream.truncate(1 << 33)
    command = ["tar", "--create", "--sparse", f"--format={form}", "-C", tmp_path]
    subprocess.run([*command, "-f", tmp_path / "archive.tar", "./hollow"], check=True)
    with (tmp_path / "archive.tar").open("rb") as stream:
        (header,) = read_headers(stream)
    assert header.unpacked == 1 << 33
    most = VolumeSize(1, (1 << 33) - 1)
    assert check_archives([tmp_path / "archive.tar"], allow_devices=False, most=most)


@pytest.mark.thorough
def test_what_goes_on_without_end_is_damaged(tmp_path: Path) -> None:
    """Zeros behind the end, and headers that are about no member."""
    behind = make_archive(tmp_path / "behind", member("x"))
    with gzip.open(tmp_path / "behind.gz", "wb") as stream:
        stream.write(behind.read_bytes())
        for _ in range(65):
            stream.write(bytes(1 << 20))
    with pytest.raises(QuiesceError, match="data follows its end"):
        check(tmp_path / "behind.gz")
    about = member("x")
    about.mtime = 1.5
    record = about.tobuf(tarfile.PAX_FORMAT)[:1024]
    (tmp_path / "headers").write_bytes(record * 40)
    with pytest.raises(QuiesceError, match="in a row"):
        check(tmp_path / "headers")


@pytest.mark.parametrize(
    ("record", "room", "most"),
    [
        ((5, 50, 1, None, None), None, VolumeSize(5, 50)),
        ((5, 50, 2, "gone", (7, 70)), None, VolumeSize(12, 120)),
        ((5, 50, 1, "gone", (7, 70)), None, VolumeSize(12, 120)),
        ((5, 50, 1, None, (7, 70)), None, VolumeSize(5, 50)),
        # An older set does not say what level 0 held.
        ((5, 50, 2, "gone", None), None, None),
        ((5, 50, 2, "gone", None), 900, VolumeSize(1 << 62, 900)),
    ],
)
def test_the_bound_comes_from_the_record_or_is_the_room_there_is(
    record: tuple[int, int, int, str | None, tuple[int, int] | None],
    room: int | None,
    most: VolumeSize | None,
) -> None:
    """Level 1 is a part of what there was in the end; level 0 may have held what is gone."""
    files, size, levels, gone, level_0 = record
    names = tuple(map(str, range(levels)))
    known = VolumeRecord("v", "v", files, size, names, gone, "zstd", level_0=level_0)
    assert most_unpacked(known, room) == most


def test_an_archive_of_another_program_is_bound_by_the_room_alone() -> None:
    """Nothing says how much it holds."""
    imported = ImportedVolume("v", "v.tar.gz")
    assert most_unpacked(imported, 900) == VolumeSize(1 << 62, 900)
    assert most_unpacked(imported) is None
