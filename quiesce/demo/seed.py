"""Realistic data for the demo: rules, memories with vectors, uploads. Always the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_WORDS = (
    "never always prefer avoid review commit naming error retry timeout secret schema query index "
    "backup restore volume snapshot migration release rollback cache queue worker session token "
    "upload report draft customer invoice payment order shipment search ranking embedding model "
    "label owner policy region cluster node service proxy"
).split()
_DIMENSIONS = 384


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much data to create. `upload_bytes` is the size of one upload."""

    projects: int = 40
    rules: int = 6000
    sessions: int = 25
    memories: int = 1500
    uploads: int = 60
    upload_bytes: int = 150_000


def rules_sql(amounts: Amounts) -> Iterator[str]:
    """Yield psql input that fills the migrated rulesdb, line by line."""
    chance = random.Random(2026)
    yield "BEGIN;\n"
    yield "COPY projects (name) FROM stdin;\n"
    for number in range(amounts.projects):
        yield f"{_phrase(chance, 2)} {number}\n"
    yield "\\.\n"
    yield "COPY rules (project_id, severity_id, title, slug, body, definition) FROM stdin;\n"
    for number in range(amounts.rules):
        title = f"{_phrase(chance, 4)} {number}"
        slug = title.replace(" ", "-")
        project = number % amounts.projects + 1
        severity = chance.choice((1, 1, 1, 2, 2, 3, 4))
        definition = f'{{"pattern": "{_phrase(chance, 2)}", "weight": {chance.randrange(100)}}}'
        fields = (project, severity, title, slug, _phrase(chance, 30), definition)
        yield "\t".join(map(str, fields)) + "\n"
    yield "\\.\nCOMMIT;\n"


def memories_sql(amounts: Amounts) -> Iterator[str]:
    """Yield psql input that fills the migrated memorydb, line by line."""
    chance = random.Random(384)
    sessions = [f"00000000-0000-4000-8000-{number:012x}" for number in range(amounts.sessions)]
    yield "BEGIN;\n"
    yield "COPY sessions (id, name) FROM stdin;\n"
    for session in sessions:
        yield f"{session}\tsession about {_phrase(chance, 3)}\n"
    yield "\\.\n"
    yield "COPY memories (session_id, content, embedding, metadata) FROM stdin;\n"
    for _ in range(amounts.memories):
        vector = ",".join(f"{chance.gauss(0, 1):.5f}" for _ in range(_DIMENSIONS))
        metadata = f'{{"topic": "{chance.choice(_WORDS)}", "stars": {chance.randrange(6)}}}'
        session = chance.choice(sessions)
        yield f"{session}\t{_phrase(chance, 20)}\t[{vector}]\t{metadata}\n"
    yield "\\.\nCOMMIT;\n"


def write_uploads(folder: Path, amounts: Amounts) -> None:
    """Write folders of incompressible files, and one sparse file."""
    chance = random.Random(5)
    for number in range(amounts.uploads):
        file = folder / _WORDS[number % 7] / f"{_phrase(chance, 2)} {number}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(chance.randbytes(amounts.upload_bytes))
    with (folder / "sparse.img").open("wb") as file_of_holes:
        file_of_holes.truncate(4_000_000)
    (folder / "newest").symlink_to("sparse.img")


def _phrase(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(words))
