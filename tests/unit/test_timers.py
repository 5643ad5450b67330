"""The text of systemd's units: what a cron expression is there, and how words are quoted."""

from __future__ import annotations

import pytest

from quiesce.plan.timers import Call, Place, on_calendar, quoted, unit_files

PLACE = Place("core", "/srv/my stack 100%", "/srv/my stack 100%/backups/.log/core.log", "boot")
RECOVER = Call(("/srv/inv", "recover"), {"PATH": "/usr/bin"})


@pytest.mark.parametrize(
    ("cron", "expressions"),
    [
        ("0 2 * * *", ("*-*-* 02:00:00",)),
        ("5 3 * * 6", ("Sat *-*-* 03:05:00",)),
        ("0 2 15 * *", ("*-*-15 02:00:00",)),
        ("*/20 8-9 * * mon-fri", ("Mon,Tue,Wed,Thu,Fri *-*-* 08,09:00,20,40:00",)),
        ("0 2 1 jan,jul *", ("*-01,07-01 02:00:00",)),
        # Either is enough for cron.
        ("0 2 13 * 5", ("*-*-13 02:00:00", "Fri *-*-* 02:00:00")),
    ],
)
def test_a_cron_expression_is_one_calendar_expression_or_two(
    cron: str, expressions: tuple[str, ...]
) -> None:
    """In the words of systemd.time(7)."""
    assert on_calendar(cron) == expressions


def test_what_systemd_would_replace_is_quoted() -> None:
    """Specifiers, variables, quotes and backslashes are no more than characters."""
    assert quoted("a b") == '"a b"'
    assert quoted('%h $HOME "x" \\n') == '"%%h $$HOME \\"x\\" \\\\n"'
    with pytest.raises(ValueError, match="cannot contain"):
        quoted("a\nExecStart=/bin/evil")


def test_every_unit_says_whose_it_is() -> None:
    """So that only ours are ever replaced; and two folders never share a name."""
    timed = [("daily full", "0 2 * * *", Call(("/srv/inv", "backup"), {}))]
    units = unit_files(PLACE, timed, RECOVER)
    assert {name.rpartition("-")[2] for name in units} == {
        "backup.service", "backup.timer", "recover.service",
    }  # fmt: skip
    assert all(
        text.startswith("# quiesce: core in /srv/my stack 100%\n") for text in units.values()
    )
    other = Place("core", "/srv/other", "/x", "boot")
    assert not units.keys() & unit_files(other, timed, RECOVER).keys()
