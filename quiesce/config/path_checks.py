"""Rules for `paths` in `stack.yaml`: folders of the machine, which services mount.

A restore replaces folders that are backed up, and clean tasks empty folders that are marked
`clean`. So such a folder must not contain files of the stack itself, and its path must not contain
a link, which a service could have made.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from quiesce.config.findings import Findings, YamlPath, clip, is_there
from quiesce.config.scalars import Unresolved, show
from quiesce.config.schema import PathSection, StackFile


def check_paths(
    stack: StackFile,
    databases: Sequence[str],
    directory: Path,
    own: Sequence[Path],
    findings: Findings,
) -> None:
    """Report mistakes in `paths`. `own` are files and folders of the stack and of Quiesce."""
    seen: dict[str, Path] = {}
    for key, entry in stack.paths.items():
        path: YamlPath = ("paths", key)
        _check_key(stack, key, findings)
        if entry.backup == "by-dump":
            check_by_dump(entry.clean is not None, databases, path, "path", findings)
        if isinstance(entry.path, Unresolved):
            continue
        folder = Path(os.path.normpath(directory / entry.path))
        if _changes(entry):
            _check_folder(entry, folder, directory, own, (*path, "path"), findings)
        for other, place in seen.items():
            _check_pair(stack, (other, place), (key, folder), findings)
        seen[key] = folder


def check_by_dump(
    cleaned: bool,  # noqa: FBT001
    databases: Sequence[str],
    path: YamlPath,
    noun: str,
    findings: Findings,
) -> None:
    """Report declarations that contradict `backup: by-dump`."""
    if not databases:
        fact = f"'by-dump' without any declared database: this {noun} would not be backed up"
        hint = "declare its databases in 'databases:', or use 'backup: files'"
        findings.add((*path, "backup"), fact, hint)
    if cleaned:
        fact = f"the {noun} of a database cannot be cleaned"
        findings.add((*path, "clean"), fact, "remove 'clean'")


def _changes(entry: PathSection) -> bool:
    """Whether any task changes this folder."""
    return entry.backup != "never" or entry.clean is not None


def _check_key(stack: StackFile, key: str, findings: Findings) -> None:
    for section, keys in (
        ("volumes", list(stack.volumes)),
        ("exclude_volumes", stack.exclude_volumes),
    ):
        if key in keys:
            line = findings.line((section, key))
            fact = f"is also in '{section}' in line {line}"
            findings.add(("paths", key), fact, f"give the path another key, such as {key}-folder")


def _check_folder(
    entry: PathSection,
    folder: Path,
    directory: Path,
    own: Sequence[Path],
    path: YamlPath,
    findings: Findings,
) -> None:
    what = "kept" if entry.backup != "never" else "cleaned"
    text = show(entry.path)
    if entry.path.startswith("~"):
        findings.add(path, f"{text} starts with '~'", "write the whole path of the folder")
        return
    for other in own:
        if folder == other or folder in other.parents or other in folder.parents:
            fact = f"{text} cannot be {what} without '{clip(other.name)}'"
            hint = "give a folder that contains data only, such as './data'"
            findings.add(path, f"{fact}: one contains the other", hint)
            return
    above = {directory, *directory.parents}
    links = [part for part in (folder, *folder.parents) if part not in above]
    if any(is_there(part.is_symlink) for part in links):
        hint = f"write the folder that it leads to: {os.path.realpath(folder)}"
        findings.add(path, f"{text} contains a symbolic link", hint)


def _check_pair(
    stack: StackFile, one: tuple[str, Path], other: tuple[str, Path], findings: Findings
) -> None:
    """Report two paths if one contains the other, unless no task changes the outer one, or neither
    is backed up."""
    (outer, around), (inner, within) = one, other
    if around.is_relative_to(within) and around != within:
        (outer, around), (inner, within) = other, one
    if not within.is_relative_to(around):
        return
    outer_entry, inner_entry = stack.paths[outer], stack.paths[inner]
    if not _changes(outer_entry) or outer_entry.backup == inner_entry.backup == "never":
        return
    hint = "keep one of them"
    if around != within:
        # No 'exclude' of the outer one: its restore would delete what that leaves out.
        hint = f"move the folder of '{inner}' out of the folder of '{outer}'"
        if outer_entry.backup == "files" and inner_entry.backup != "by-dump":
            hint = f"remove '{inner}', because sets contain it with '{outer}'; or {hint}"
        elif inner_entry.backup == "by-dump":
            hint += f"; or replace '{outer}' by the other folders in it that are to be backed up"
    key = other[0]
    line = findings.line(("paths", one[0]))
    findings.add(
        ("paths", key, "path"),
        f"one of {show(str(stack.paths[key].path))} and path '{one[0]}' in line {line} contains "
        "the other",
        hint,
    )
