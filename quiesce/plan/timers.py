"""`schedule:` as systemd timers: calendar expressions and the text of units. Pure.

In a unit, a percent sign begins a specifier, a dollar sign a variable, and quotes and backslashes
in a command are as in C. See systemd.time(7), systemd.service(5), systemd.syntax(7).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quiesce.plan import schedule

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
#: After SIGTERM, restarting services takes their stop and health timeouts, not systemd's 90 s.
STOP_TIMEOUT = "15min"


@dataclass(frozen=True, slots=True)
class Call:
    """A command of a unit: its arguments, the variables it gets, and where it runs."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What the units belong to: the instance, the stack's folder, and the log file.

    `wanted_by` is the target that starts the recovery after a boot.
    """

    instance: str
    folder: str
    log: str
    wanted_by: str

    @property
    def mark(self) -> str:
        """The first line of every unit written by Quiesce. Other units are never touched."""
        return f"# quiesce: {self.instance} in {self.folder}"

    @property
    def stem(self) -> str:
        """The prefix of unit names, unique even if two stacks use the same instance name."""
        place = hashlib.sha256(self.folder.encode("utf-8", "surrogateescape")).hexdigest()[:6]
        return f"quiesce-{re.sub(r'[^A-Za-z0-9_]', '-', self.instance)}-{place}"


def on_calendar(cron: str) -> tuple[str, ...]:
    """Return the calendar expressions equivalent to a cron expression.

    Two if a day and a weekday are given: for cron either is enough, systemd needs both.
    """
    minutes, hours, days, months, weekdays = schedule.fields(cron)
    _, _, day_text, _, weekday_text = cron.split()
    date = f"*-{_listed(months, 1, 12)}"
    clock = f"{_listed(hours, 0, 23)}:{_listed(minutes, 0, 59)}:00"
    by_day = f"{date}-{_listed(days, 1, 31)} {clock}"
    names = ",".join(DAYS[number] for number in sorted(weekdays))
    by_weekday = f"{names} {date}-* {clock}"
    if weekday_text.startswith("*") and len(weekdays) == len(DAYS):
        return (by_day,)
    if day_text.startswith("*") or weekday_text.startswith("*"):
        return (f"{names} {by_day}",)
    return (by_day, by_weekday)


def unit_files(
    place: Place, timed: Sequence[tuple[str, str, Call]], recover: Call
) -> dict[str, str]:
    """Return the text of every unit by its name.

    `timed` are entries as they were written, their cron expressions and their commands. Each gets
    a service and its timer; `recover` runs after each and once after a boot.
    """
    files: dict[str, str] = {}
    for number, (text, cron, call) in enumerate(timed, 1):
        name = f"{place.stem}-{number}-{call.argv[1]}"
        files[f"{name}.service"] = _service(place, text, call, after=recover)
        files[f"{name}.timer"] = _timer(place, text, cron)
    files[f"{place.stem}-recover.service"] = _recovery(place, recover)
    return files


def quoted(argument: str) -> str:
    """Return an argument quoted for ExecStart=. Raise ValueError if that is impossible."""
    if not argument.isprintable():
        raise ValueError(f"a systemd unit cannot contain {argument!r}")
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"'.replace("%", "%%")


def _listed(numbers: frozenset[int], least: int, most: int) -> str:
    if len(numbers) == most - least + 1:
        return "*"
    return ",".join(f"{number:02d}" for number in sorted(numbers))


def _timer(place: Place, text: str, cron: str) -> str:
    return "\n".join(
        [
            place.mark,
            "[Unit]",
            f"Description={_described(place, text)}",
            "",
            "[Timer]",
            *(f"OnCalendar={expression}" for expression in on_calendar(cron)),
            # Runs missed while the machine was off start after the next boot.
            "Persistent=true",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _service(place: Place, text: str, call: Call, after: Call) -> str:
    return "\n".join(
        [
            *_head(place, _described(place, text)),
            f"ExecStart={_command(call)}",
            # systemd ends the guard with the run, so it does the guard's work.
            f"ExecStopPost={_command(after)}",
            "",
        ]
    )


def _recovery(place: Place, call: Call) -> str:
    return "\n".join(
        [
            *_head(place, _described(place, "recovery after a boot")),
            # The engine may answer only some time after its unit has started.
            "Restart=on-failure",
            "RestartSec=20",
            f"ExecStart={_command(call)}",
            "",
            "[Install]",
            f"WantedBy={place.wanted_by}",
            "",
        ]
    )


def _head(place: Place, description: str) -> list[str]:
    return [
        place.mark,
        "[Unit]",
        f"Description={description}",
        "After=docker.service network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={place.folder.replace('%', '%%')}",
        "UMask=0077",
        f"StandardOutput=append:{place.log.replace('%', '%%')}",
        "StandardError=inherit",
        # SIGTERM goes to the run only: the run needs its child processes to start services again.
        "KillMode=mixed",
        f"TimeoutStopSec={STOP_TIMEOUT}",
    ]


def _described(place: Place, text: str) -> str:
    return f"Quiesce {place.instance}: {text}".replace("%", "%%")


def _command(call: Call) -> str:
    variables = [f"{name}={value}" for name, value in call.environment.items()]
    return " ".join(map(quoted, ("/usr/bin/env", *variables, *call.argv)))
