"""What stack.yaml does not mention is in no set, and everybody is told until it is decided."""

from __future__ import annotations

import json

import pytest

from tests.support.checkout import Checkout
from tests.support.listener import a_listener

pytestmark = pytest.mark.engine
MORE = """\
services:
  redis:
    volumes:
      - redis-data:/data
      - forgotten:/forgotten
      - ./uploads:/uploads
volumes:
  forgotten:
"""


@pytest.fixture(scope="module")
def stack(core: Checkout) -> Checkout:
    """The example stack, with a volume, a folder and a database that stack.yaml does not
    mention."""
    (core.folder / "uploads").mkdir()
    (core.folder / "uploads" / "photo").write_text("x")
    (core.folder / "more.yml").write_text(MORE)
    file = core.folder / "stack.yaml"
    files = "files: [docker-compose.yml, more.yml]"
    file.write_text(file.read_text().replace("files: [docker-compose.yml]", files))
    core.succeed("up", "--service", "redis", "--yes")
    core.sql("postgres", "CREATE DATABASE stray")
    core.sql("stray", "CREATE TABLE precious AS SELECT 1 AS n")
    return core


def _missing(core: Checkout) -> set[tuple[str, str]]:
    folder = str(core.folder / "uploads")
    return {("volume", "forgotten"), ("path", folder), ("database", "stray")}


@pytest.mark.core
def test_the_set_is_published_then_the_backup_ends_with_7(stack: Checkout) -> None:
    """The set is good, names what it lacks, and everything runs again."""
    running, expected = stack.running(), _missing(stack)
    ended = stack.inv("backup", "--json")
    assert ended.code == 7, ended.err
    assert stack.running() == running
    made = ended.document["set"]
    assert {(one["kind"], one["name"]) for one in made["undeclared"]} == expected
    assert ended.document["ok"] is False
    assert all(name in ended.document["error"]["fact"] for _, name in expected)
    newest = stack.sets()[-1]
    recorded = json.loads((newest / "manifest.json").read_text())["undeclared"]
    assert {(one["kind"], one["name"]) for one in recorded} == expected
    instructions = (newest / "RESTORE.md").read_text()
    lacking = instructions[instructions.index("MISSING") :]
    assert all(name in lacking for _, name in expected)
    stack.succeed("verify", "--file", made["name"])


def test_everybody_is_told(stack: Checkout) -> None:
    """The terminal, a message, the report of the run, the list and the page."""
    file = stack.folder / "stack.yaml"
    text = file.read_text()
    with a_listener() as listener:
        file.write_text(text + 'notify: [{url: "${NOTIFY_URL}", on: [failure]}]\n')
        told = stack.inv("backup", NOTIFY_URL=f"json://{listener.url}/notify")
        file.write_text(text)
        assert told.code == 7
        (_, body) = listener.heard[-1]
        assert all(f"NOT in the set: {kind} " in body for kind, _ in _missing(stack))
    assert "NOT in the set: volume forgotten" in told.out
    assert "HINT: add to volumes: forgotten:" in told.err
    report = max(stack.folder.glob("backups/.reports/core/*-backup.txt")).read_text()
    assert "NOT in it volume forgotten" in report
    assert "set      core-" in report
    assert "NOT complete" in " ".join(stack.succeed("backups").out.split())
    stack.succeed("report", "--html")
    page = (stack.folder / "backups/.reports/core/report.html").read_text()
    assert page.count("NOT DECLARED") == len(_missing(stack))


def test_a_set_is_complained_of_for_what_it_is_for(stack: Checkout) -> None:
    """Whoever asks for one thing gets that, and sets of rows are for databases."""
    stack.succeed("backup", "--only", "rulesdb")
    data = stack.inv("backup", "--data-only")
    assert data.code == 7
    assert "stray" in data.err
    assert "forgotten" not in data.err


def test_a_restore_says_what_it_did_not_bring_back(stack: Checkout) -> None:
    """And touches none of it."""
    ended = stack.succeed("restore", "--file", stack.sets()[0].name, "--yes", "--json")
    left = "\n".join(ended.document["restored"]["left_behind"])
    assert all(name in left for _, name in _missing(stack))
    assert stack.sql("stray", "SELECT n FROM precious") == ["1"]


def test_a_shutdown_says_it_and_ends_well(stack: Checkout) -> None:
    """What is left out is still on the disk of the machine that is switched off."""
    assert "NOT in the set: database stray" in stack.succeed("shutdown").out
    stack.succeed("up")


def test_what_was_decided_is_in_the_set_or_no_longer_mentioned(stack: Checkout) -> None:
    """Declared, excluded, or `backup: never`."""
    text = (stack.folder / "stack.yaml").read_text()
    for old, new in (
        ("exclude_databases: [postgres]", "exclude_databases: [postgres, stray]"),
        ("\nvolumes:\n", "\nvolumes:\n  forgotten: {purpose: Kept now, priority: critical}\n"),
        ("\npaths:\n", "\npaths:\n  uploads: {path: uploads, backup: never}\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    (stack.folder / "stack.yaml").write_text(text)
    made = stack.succeed("backup", "--json").document["set"]
    assert made["undeclared"] == []
    assert "forgotten" in {volume["key"] for volume in made["volumes"]}
