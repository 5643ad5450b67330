"""What level 1 takes, decided from records alone; tar's own list, read exactly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from quiesce.adapters.volumes.changes import (
    Difference,
    Listed,
    exchanged,
    level_zero_records,
    listing_records,
    parse_listing,
    records,
    unquote,
)
from quiesce.exclusion import Exclusion

T0 = 1_700_000_000


def entry(
    path: str,
    kind: str = "f",
    *,
    size: int = 1,
    mtime: int = T0 - 1000,
    ctime: int = T0 - 1000,
    inode: int = 7,
    links: int = 1,
    device: int = 1,
) -> bytes:
    """One record of a scan."""
    text = f"{ctime}.0000000000 {links} {kind} {size} {mtime}.0000000000 {device} {inode} "
    return text.encode() + exchanged(path.encode())


def in_level_zero(*entries: bytes, attributes: bool = False) -> list[bytes]:
    """The records of a level 0 in which tar saw just what the scan before it saw."""
    mark = b"0 x " if attributes else b"0 0 "
    listed = [mark + record.split(b" ", 2)[2] for record in entries]
    return list(level_zero_records(listed, entries))


def compare(
    before: list[bytes], now: list[bytes], *exclude: str
) -> tuple[list[str], list[str], Difference]:
    """What is taken and what is dropped, as paths, and all that was found."""
    taken: list[bytes] = []
    dropped: list[bytes] = []
    difference = Difference(taken.append, dropped.append)
    difference.compare(before, now, T0 - 2, Exclusion(exclude))
    both = sorted([*taken, *difference.linked()])
    return (
        [exchanged(path).decode() for path in both],
        [exchanged(path).decode() for path in dropped],
        difference,
    )


ROOT = entry(".", "d", inode=2)
SAME = entry("./a")

# Their modification time was set by hand: it is newer than the change of the file.
DATED_LATE, DATED_THEN, DATED_BEFORE = (
    entry("./a", mtime=T0 + offset) for offset in (10**6, -2, -3)
)

RULES = {
    "nothing changed": (SAME, SAME, [], []),
    "changed in the last moment before T0": (SAME, entry("./a", ctime=T0 - 2), ["./a"], []),
    "changed just before that": (SAME, entry("./a", ctime=T0 - 3), [], []),
    "written after T0": (SAME, entry("./a", ctime=T0 + 9, mtime=T0 + 9), ["./a"], []),
    "only its attributes changed": (SAME, entry("./a", ctime=T0 + 9), ["./a"], []),
    "dated in the future": (SAME, entry("./a", mtime=T0 + 10**6), ["./a"], []),
    "dated after T0, as before": (DATED_LATE, DATED_LATE, ["./a"], []),
    "dated in the last moment before T0": (DATED_THEN, DATED_THEN, ["./a"], []),
    "dated just before that": (DATED_BEFORE, DATED_BEFORE, [], []),
    "another size": (SAME, entry("./a", size=2), ["./a"], []),
    "another inode": (SAME, entry("./a", inode=8), ["./a"], []),
    "another device": (SAME, entry("./a", device=9), ["./a"], []),
    "dated back": (SAME, entry("./a", mtime=T0 - 5000), ["./a"], []),
    "another type": (SAME, entry("./a", "l"), ["./a"], ["./a"]),
    "new, however old": (entry("./b"), entry("./a"), ["./a"], ["./b"]),
    "gone": (SAME, entry("./b"), ["./b"], ["./a"]),
    "now a socket": (SAME, entry("./a", "s"), [], ["./a"]),
}


@pytest.mark.parametrize("case", RULES)
def test_level_1_takes_by_the_t0_rule(case: str) -> None:
    """Every directory, and of the rest what rule 12 names."""
    before, now, taken, dropped = RULES[case]
    found = compare(in_level_zero(ROOT, before), [ROOT, now])
    assert [".", *taken] == found[0]
    assert dropped == found[1]


def test_what_tar_saw_otherwise_than_the_scan_is_taken_again() -> None:
    """The file was another one for a while, exactly when tar read it."""
    listed = [b"0 0 " + entry("./a", size=5).split(b" ", 2)[2]]
    before = list(level_zero_records(listed, [SAME]))
    assert compare(before, [SAME])[0] == ["./a"]
    assert compare(list(level_zero_records(listed, [])), [SAME])[0] == ["./a"]


def test_what_tar_did_not_see_is_taken() -> None:
    """It vanished while tar looked, and came back by a rename that left its times."""
    assert compare(list(level_zero_records([], [SAME])), [SAME])[0] == ["./a"]


def test_what_only_tar_saw_is_gone() -> None:
    """Made after the scan, archived, removed before level 1."""
    listed = in_level_zero(ROOT, SAME)
    before = list(level_zero_records(listed, [ROOT]))
    assert compare(before, [ROOT])[1] == ["./a"]


def test_all_names_of_a_file_are_taken_with_one_of_them() -> None:
    """A folder with one of them was renamed; the other one's times say nothing."""
    first, other = entry("./a/x", links=2), entry("./z", links=2)
    moved = entry("./b/x", links=2)
    folders = [entry("./a", "d", inode=3), entry("./b", "d", inode=3)]
    before = in_level_zero(ROOT, folders[0], first, other)
    taken, dropped, _ = compare(before, [ROOT, folders[1], moved, other])
    assert [".", "./b", "./b/x", "./z"] == taken
    assert ["./a", "./a/x"] == dropped
    assert compare(in_level_zero(ROOT, first, other), [ROOT, first, other])[0] == ["."]


def test_a_hard_link_in_tars_list_is_judged_by_its_inode() -> None:
    """Tar says neither its type nor its size."""
    name = entry("./a", links=2, size=9)
    line = b"0 0 h 0 %d.0000000000 0 0 %s" % (T0 - 1000, exchanged(b"./a"))
    assert compare(list(level_zero_records([line], [name])), [name])[0] == []
    other = entry("./a", links=2, size=9, mtime=T0 - 999)
    taken, dropped, _ = compare(list(level_zero_records([line], [other])), [other])
    assert (["./a"], ["./a"]) == (taken, dropped)


def test_a_folder_that_had_attributes_is_made_anew_when_it_changed() -> None:
    """With all that is in it, and nothing beside it whose name begins alike."""
    folder = entry("./a", "d", inode=3)
    inside, beside = entry("./a/x", inode=4), entry("./a.b", inode=5)
    before = in_level_zero(folder, inside, beside, attributes=True)
    changed = entry("./a", "d", inode=3, ctime=T0)
    taken, dropped, _ = compare(before, [changed, inside, beside])
    assert (["./a", "./a/x"], ["./a"]) == (taken, dropped)
    assert compare(before, [folder, inside, beside])[:2] == (["./a"], [])


def test_counts_are_those_of_what_a_restore_will_have() -> None:
    """Without the root and sockets; each name of a file counts with its bytes."""
    now = [
        ROOT,
        entry("./a", size=10),
        entry("./b", "d", size=4096),
        entry("./b/c", size=5, links=2),
        entry("./b/d", size=5, links=2),
        entry("./e", "l", size=3),
        entry("./f", "s", size=3),
        entry("./g.tmp", size=100),
    ]
    difference = compare([], now, "*.tmp")[2]
    assert (5, 20) == (difference.files, difference.size)


def test_an_excluded_entry_that_level_0_had_is_gone() -> None:
    """Both levels follow the same list."""
    assert compare(in_level_zero(SAME), [entry("./a", ctime=T0)], "a")[:2] == ([], ["./a"])


def test_device_nodes_are_named() -> None:
    """By the path the user knows."""
    assert compare([], [entry("./d/null", "c")])[2].devices == [b"./d/null"]


def test_tars_list_is_read_exactly(tmp_path: Path) -> None:
    """Names of every byte, types, sizes, times to the nanosecond, attributes, link targets."""
    names = [bytes([byte]) * 2 for byte in range(1, 256) if byte != ord("/")]
    names = [name for name in names if name != b".."] + [b"a b", b" a", b"a ", b"a\\nb"]
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tree), name))).write_bytes(name)
    os.utime(tree / "aa", ns=(1, 1_234_567_890_120_000_000))
    os.utime(tree / "bb", ns=(1, 1_234_567_890_000_000_000))
    os.utime(tree / "cc", ns=(1, 7))
    os.setxattr(tree / "dd", "user.x", b"1")
    (tree / "ee").unlink()
    (tree / "ee").symlink_to("some where")
    (tree / "zzz").hardlink_to(tree / "ff")
    os.mkfifo(tree / "yyy")
    command = "tar --xattrs -vv --full-time --utc --quoting-style=escape -cf /dev/null --sort=name"
    environment = {**os.environ, "LC_ALL": "C"}
    said = subprocess.check_output([*command.split(), "-C", tree, "."], env=environment)
    found = {listed.path: listed for listed in parse_listing(said.splitlines(keepends=True))}
    assert {b".", b"./zzz", b"./yyy", *[b"./" + name for name in names]} == found.keys()
    for path, listed in found.items():
        status = os.lstat(os.path.join(os.fsencode(tree), path))
        seconds, rest = divmod(status.st_mtime_ns, 10**9)
        assert listed.mtime == b"%d.%09d0" % (seconds, rest)
        assert listed.size == (status.st_size if listed.type == b"f" else 0)
        assert listed.has_attributes is (path == b"./dd")
    assert (b"l", b"some where") == (found[b"./ee"].type, found[b"./ee"].target)
    assert (b"h", b"./ff") == (found[b"./zzz"].type, found[b"./zzz"].target)
    assert (b"d", b"p") == (found[b"."].type, found[b"./yyy"].type)


def test_a_list_that_is_not_understood_proves_nothing() -> None:
    """Another tar, another language: an error, never a guess."""
    with pytest.raises(ValueError, match="tar listed"):
        list(parse_listing([b"-rw-r--r-- root 3 Nov 21 ./x\n"]))


def test_a_link_with_a_name_like_a_link_may_be_any_of_its_names() -> None:
    """What is gone is removed whichever it was, and what is there is taken again."""
    line = b"lrwxrwxrwx  0/0 0 2023-11-14 22:00:00.5 ./a -> b -> c\n"
    (listed,) = parse_listing([line])
    assert ((b"./a", b"./a -> b"), b"b -> c") == ((listed.path, *listed.others), listed.target)
    before = list(level_zero_records(sorted(listing_records(listed)), []))
    assert [record.split(b" ", 7)[7] for record in before] == [
        exchanged(b"./a"),
        exchanged(b"./a -> b"),
    ]
    assert compare(before, [ROOT])[1] == ["./a", "./a -> b"]
    there = entry("./a -> b", "l")
    assert compare(before, [there])[:2] == (["./a -> b"], ["./a", "./a -> b"])


def test_a_name_that_is_certain_is_not_doubted_for_a_link_that_looks_alike() -> None:
    """The folder `a` is listed as one; its untouched content is not made anew."""
    folder, inside = entry("./a", "d", inode=3), entry("./a/x")
    listed = [b"0 0 " + record.split(b" ", 2)[2] for record in (folder, inside)]
    (link,) = parse_listing([b"lrwxrwxrwx  0/0 0 2023-11-14 22:00:00.5 ./a -> b -> c\n"])
    path = lambda record: record.split(b" ", 7)[7]  # noqa: E731
    before = sorted([*listed, *listing_records(link)], key=path)
    found = compare(list(level_zero_records(before, [folder, inside])), [folder, inside])
    assert found[:2] == (["./a"], ["./a -> b"])


def test_a_hard_link_with_a_name_like_one_is_read_right() -> None:
    """What it points to begins with `./`."""
    line = b"hrw-r--r--  0/0 0 2023-11-14 22:00:00.5 ./a link to b link to ./c link to d\n"
    (listed,) = parse_listing([line])
    assert (b"./a link to b", b"./c link to d") == (listed.path, listed.target)
    assert listed.others == ()


@given(some.binary(max_size=30))
def test_a_record_keeps_every_byte_of_a_path(name: bytes) -> None:
    """Spaces, newlines, the bytes that change places."""
    path = b"./" + name.replace(b"\0", b"")
    listed = Listed(b"f", 3, b"5.0000000000", path, b"", has_attributes=False)
    (record,) = listing_records(listed)
    assert exchanged(record.split(b" ", 7)[7]) == path


@given(some.binary())
def test_unquoting_undoes_what_tar_quotes(name: bytes) -> None:
    """Three octal digits or a letter, and a doubled backslash."""
    letters = {7: b"a", 8: b"b", 12: b"f", 10: b"n", 13: b"r", 9: b"t", 11: b"v", 92: b"\\"}
    quoted = b"".join(
        b"\\" + letters[byte]
        if byte in letters
        else bytes([byte])
        if 32 <= byte < 127
        else b"\\%03o" % byte
        for byte in name
    )
    assert unquote(quoted) == name


def test_a_folder_comes_right_before_what_is_in_it() -> None:
    """Tar dates a folder when it leaves it; another name in between would be too early."""
    paths = [b"./a", b"./a b", b"./a/x", b"./a-b", b"./a\x01", b"./a/x/y", b"./b"]
    ordered = [exchanged(path) for path in sorted(map(exchanged, paths))]
    assert ordered.index(b"./a/x") == ordered.index(b"./a") + 1
    assert ordered.index(b"./a/x/y") == ordered.index(b"./a/x") + 1


def test_records_that_are_cut_off_are_an_error(tmp_path: Path) -> None:
    """A list on a full disk."""
    path = tmp_path / "list"
    path.write_bytes(b"one\0two\0thr")
    with pytest.raises(ValueError, match="cut off"):
        list(records(path))
    path.write_bytes(b"x" * (1 << 20) + b"\0y\0")
    assert [len(record) for record in records(path)] == [1 << 20, 1]


def test_what_comes_after_an_excluded_entry_is_compared_all_the_same() -> None:
    """Only that entry is passed over."""
    now = [ROOT, entry("./a", inode=3), entry("./b", inode=4), entry("./c", inode=5)]
    taken, dropped, found = compare(in_level_zero(ROOT, SAME), now, "a")
    assert taken == [".", "./b", "./c"]
    assert dropped == ["./a"]
    assert (found.files, found.dropped) == (2, 1)
    (left_out,) = found.tally.result()
    assert (left_out.pattern, left_out.files, left_out.bytes) == ("a", 1, 1)


def test_what_was_open_for_writing_is_taken_whatever_its_times_are() -> None:
    """By device and inode."""
    taken: list[bytes] = []
    before = in_level_zero(SAME, entry("./b", inode=8))
    Difference(taken.append, taken.append).compare(
        before, [SAME, entry("./b", inode=8)], T0 - 2, Exclusion(()), {(b"1", b"8")}
    )
    assert taken == [exchanged(b"./b")]


def test_a_folder_with_attributes_that_was_replaced_is_made_anew() -> None:
    """With all that is in it; the root cannot be, and has no name to remove."""
    old = [entry(".", "d", inode=2), entry("./d", "d", inode=3), entry("./d/f", inode=4)]
    before = in_level_zero(*old, attributes=True)
    now = [entry(".", "d", inode=9), entry("./d", "d", inode=5), entry("./d/f", inode=4)]
    taken, dropped, _ = compare(before, now)
    assert dropped == ["./d"]
    assert taken == [".", "./d", "./d/f"]
    assert compare(before, old)[:2] == ([".", "./d"], [])


def test_a_line_of_tar_that_is_not_certain_is_no_proof() -> None:
    """Two paths may be meant; the certain line counts, whichever comes first."""
    known = b"f 1 %d.0000000000 0 0 " % (T0 - 1000) + exchanged(b"./a")
    unsure = b"0 0 ?" + known[1:]
    for listed in ([unsure, b"0 0 " + known], [b"0 0 " + known, unsure]):
        assert compare(list(level_zero_records(listed, [SAME])), [SAME])[:2] == ([], [])
    assert compare(list(level_zero_records([unsure], [SAME])), [SAME])[0] == ["./a"]
    link = b"0 0 h 0 5.0 0 0 " + exchanged(b"./gone")
    assert list(level_zero_records([link], [SAME])) == [b"0 0 ? 0 0 0 0 " + exchanged(b"./gone")]
    other = b"0 0 " + entry("./a", size=5).split(b" ", 2)[2]
    assert compare(list(level_zero_records([other], [SAME])), [SAME])[1] == []


def test_a_listing_says_folders_devices_and_attributes() -> None:
    """A device has no size; a link without a target is a name."""
    lines = [
        b"drwxr-xr-x  root/root 0 2026-11-21 01:02:03 ./sub/\n",
        b"drwxr-xr-x* root/root 0 2026-11-21 01:02:03 ./\n",
        b"crw-r--r--  root/root 1,3 2026-11-21 01:02:03 ./null\n",
        b"lrwxrwxrwx  root/root 0 2026-11-21 01:02:03 ./bare\n",
    ]
    sub, root, null, bare = parse_listing(lines)
    assert (sub.path, root.path) == (b"./sub", b".")
    assert (null.type, null.size) == (b"c", 0)
    assert (bare.path, bare.target) == (b"./bare", b"")
    assert [next(listing_records(one))[:3] for one in (sub, root)] == [b"0 0", b"0 x"]
