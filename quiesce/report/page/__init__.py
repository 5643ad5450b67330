"""The HTML report: one self-contained file, without scripts and network access.

`values` is its input, `calendar` and `plot` compute what is drawn, `page.html` is the template.
Every text is escaped by the template.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from quiesce.report import words
from quiesce.report.page.calendar import make_calendar
from quiesce.report.page.plot import Point, make_plot
from quiesce.report.page.sentences import drill_sentence, headline, set_verdict
from quiesce.report.page.values import PageFacts

if TYPE_CHECKING:
    from jinja2 import Template

#: Weeks of the calendar: half a year fits a phone's width.
WEEKS = 26
#: Rows of the list of runs; all of them are in `backups/.reports/`.
SHOWN_RUNS = 30

__all__ = ["PageFacts", "render_page"]


def render_page(facts: PageFacts) -> str:
    """Return the page as HTML. The same facts give the same text, byte for byte."""
    zone = facts.zone

    def moment(when: object) -> str:
        return f"{when.astimezone(zone):%Y-%m-%d %H:%M}" if when else "never"  # type: ignore[attr-defined]

    full = [made for made in facts.made if made.kind == "full"]
    return _template().render(
        facts=facts,
        headline=headline(facts),
        calendar=make_calendar(facts, WEEKS),
        sizes=make_plot(
            [Point(made.at, float(made.bytes), made.name) for made in full], "bytes", zone
        ),
        downtimes=make_plot(
            [Point(m.at, m.downtime, m.name) for m in full if m.downtime is not None],
            "seconds",
            zone,
        ),
        durations=make_plot(
            [Point(m.at, m.seconds, m.name) for m in full if m.seconds is not None],
            "seconds",
            zone,
        ),
        drill=drill_sentence(facts),
        verdict=lambda backup: set_verdict(backup, facts.now),
        runs=facts.runs[:SHOWN_RUNS],
        age=lambda when: words.age(when, facts.now) if when else "never",
        moment=moment,
        size=words.size,
        duration=words.duration,
        counted=words.counted,
    )


@cache
def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        # Names of sets, services and files are untrusted.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _source(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")
