"""Installs the user's systemd timers: writes units and calls `systemctl`.

Root uses the system's manager; other users their own user manager.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quiesce.adapters import files
from quiesce.adapters.process import program
from quiesce.errors import QuiesceError, RequestError
from quiesce.file_errors import hint_for, reason

_HINT = "check that systemd is running here; 'inv schedule --install' can use cron instead"
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Manager:
    """A service manager: the folder of its units, its command line, and its boot target."""

    folder: Path
    options: tuple[str, ...]
    boot_target: str


def manager(environ: Mapping[str, str]) -> Manager:
    """Return the manager that runs this user's timers."""
    if os.geteuid() == 0:
        return Manager(Path("/etc/systemd/system"), (), "multi-user.target")
    home = Path(environ.get("HOME", "~")).expanduser()
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return Manager(config / "systemd" / "user", ("--user",), "default.target")


def lingers(user: str) -> bool:
    """Whether the user's timers run while nobody is logged in."""
    return os.geteuid() == 0 or Path("/var/lib/systemd/linger", user).exists()


def installed(where: Manager, mark: str) -> dict[str, str]:
    """Return the text of every unit whose first line is `mark`, by its name."""
    found = {}
    for path in sorted(where.folder.glob("quiesce-*")) if where.folder.is_dir() else ():
        if path.is_symlink() or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if text.partition("\n")[0] == mark:
            found[path.name] = text
    return found


def replace(where: Manager, mark: str, wanted: Mapping[str, str]) -> bool:
    """Make `wanted` the installed units with `mark`, and start them; return whether anything
    changed.

    Raise RequestError if a name is taken by another unit, QuiesceError if systemd rejects one.
    """
    there = installed(where, mark)
    for name in wanted:
        if name not in there and (where.folder / name).exists():
            raise RequestError(
                f"unit {name} already exists and does not belong to Quiesce",
                f"inspect {where.folder / name}, and move it away",
            )
    gone = [name for name in there if name not in wanted]
    if gone:
        _systemctl(where, "disable", "--now", *gone)
        for name in gone:
            (where.folder / name).unlink(missing_ok=True)
    changed = {name: text for name, text in wanted.items() if there.get(name) != text}
    where.folder.mkdir(parents=True, exist_ok=True)
    for name, text in changed.items():
        _write(where.folder / name, text)
    if gone or changed:
        _systemctl(where, "daemon-reload")
    timers = [name for name in wanted if name.endswith(".timer")]
    if timers:
        _systemctl(where, "enable", "--now", *timers)
        # Enabled, not started: it runs after a boot.
        _systemctl(where, "enable", *(n for n in wanted if n.endswith("-recover.service")))
        again = [name for name in changed if name.endswith(".timer") and name in there]
        if again:
            _systemctl(where, "restart", *again)
    return bool(gone or changed)


def active(where: Manager, name: str) -> bool:
    """Whether this unit is active now."""
    ended = program.run(
        ["systemctl", *where.options, "is-active", "--quiet", name],
        accept=range(256),
        timeout=30,
        what="systemctl is-active",
        hint=_HINT,
    )
    return ended.exit_code == 0


def _systemctl(where: Manager, verb: str, *units: str) -> None:
    argv = ["systemctl", *where.options, "--no-ask-password", verb, *units]
    program.run(argv, timeout=120, what=f"systemctl {verb}", hint=_HINT)


def _write(path: Path, text: str) -> None:
    try:
        files.replace_synced(path, text.encode("utf-8", "surrogateescape"))
        # The schedule may be world-readable; units contain no secrets.
        path.chmod(_MODE)
    except OSError as error:
        raise QuiesceError(
            f"{path} cannot be written: {reason(error)}", hint_for(error, path)
        ) from error
