"""Every page can be reached from the README, and every decision from their index."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"


def unlinked(index: Path, pages: list[Path]) -> list[str]:
    """The pages to which the index has no link."""
    text = index.read_text(encoding="utf-8")
    names = [page.relative_to(index.parent).as_posix() for page in pages]
    return [name for name in names if f"({name})" not in text]


def test_the_readme_links_every_page() -> None:
    """A page that nobody links is found by nobody."""
    assert unlinked(ROOT / "README.md", sorted((ROOT / "docs").glob("*.md"))) == []


def test_the_index_links_every_decision() -> None:
    """By topic, so that they need not be searched by date."""
    pages = sorted(page for page in DECISIONS.glob("*.md") if page.name != "README.md")
    assert unlinked(DECISIONS / "README.md", pages) == []
