"""The page in a real browser: on a phone, in the dark, on paper, for a screen reader, offline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from quiesce.report.page import render_page
from tests.support.page import half_a_year
from tests.support.programs import require_programs

#: Wide and narrow, in pixels of the page.
DESKTOP, PHONE = (1100, 900), (360, 740)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, as Debian packages it."""
    require_programs(["chromium"], ["chromium"])
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        opened = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a year of backups as a page."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(half_a_year()))
    return path


def opened(browser: Browser, file: Path, size: tuple[int, int], scheme: str = "light") -> Page:
    """The page at this size, in the light or in the dark."""
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.goto(file.as_uri())
    return page


def test_it_opens_without_a_complaint_and_asks_nobody(browser: Browser, file: Path) -> None:
    """Nothing is fetched but the file itself, and the browser has nothing to say."""
    page = browser.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri(), wait_until="networkidle")
    assert asked == [file.as_uri()]
    assert said == []
    assert page.title() == "Backups of core"
    assert page.locator("svg .dot").count() > 100


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    browser: Browser, file: Path, size: tuple[int, int], scheme: str
) -> None:
    """Contrast, names, headings, tables: the rules of WCAG that a program can check."""
    page = opened(browser, file, size, scheme)
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found] == []


def test_a_phone_scrolls_down_only_and_sees_today(browser: Browser, file: Path) -> None:
    """Wide tables scroll in themselves; the calendar fits, with its newest week in sight."""
    page = opened(browser, file, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    box = page.locator(".calendar tbody tr:first-child td:last-child").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= PHONE[0]
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('p, li, td, th, summary')]"
        ".filter(e => !e.closest('.calendar')).map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12


def test_on_paper_nothing_is_cut_off(browser: Browser, file: Path) -> None:
    """A4: some pages, white, and no table wider than the sheet."""
    page = opened(browser, file, (720, 1000))
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    document = page.pdf(format="A4")
    assert document.startswith(b"%PDF")
    assert len(document) > 20_000


def test_the_values_of_a_drawing_can_be_read_without_seeing_it(
    browser: Browser, file: Path
) -> None:
    """Each has a name, a summary, and a table that opens with the keyboard."""
    page = opened(browser, file, DESKTOP)
    drawings = page.get_by_role("img")
    assert drawings.count() == 3
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    row = page.locator("details[open] tbody tr").first
    assert "GiB" in row.inner_text()
