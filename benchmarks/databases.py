"""`inv bench --databases`: a database alone, beside pg_dump and pg_restore with the same checks."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import machine
from benchmarks.contestants import Quiesce
from benchmarks.machine import output, pipe, seconds
from benchmarks.stack import Amounts, Bench
from quiesce.commands.backup import run_backup
from quiesce.commands.restore import run_restore
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest

SMALL = Amounts(0, 0, 100_000)
FULL = Amounts(0, 0, 900_000)
VECTORS = 20_000
NAME = "benchdb"

_TABLES = """
DROP TABLE filled;
CREATE TABLE kinds (id int PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO kinds SELECT g, 'kind ' || g FROM generate_series(1, 50) g;
CREATE TABLE events (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), kind int NOT NULL REFERENCES kinds,
  happened timestamptz NOT NULL DEFAULT now(), body jsonb NOT NULL, note text);
INSERT INTO events (kind, happened, body, note)
SELECT 1 + g % 50, timestamptz '2026-01-01' + g * interval '1 second',
       jsonb_build_object('number', g, 'tags', ARRAY[md5(g::text), md5((g / 7)::text)]),
       (SELECT string_agg(md5(g::text || s), '') FROM generate_series(1, 25) s)
  FROM generate_series(1, {rows}) g;
CREATE INDEX events_happened ON events (happened);
CREATE INDEX events_kind ON events (kind, happened);
CHECKPOINT;
"""
_VECTORS = """
CREATE EXTENSION vector;
CREATE TABLE vectors (id int PRIMARY KEY, embedding vector(384));
SELECT setseed(0.5);
INSERT INTO vectors SELECT g,
  (SELECT array_agg(random()) FROM generate_series(1, 384) WHERE g IS NOT NULL)::vector
  FROM generate_series(1, {rows}) g;
CREATE INDEX vectors_near ON vectors USING hnsw (embedding vector_cosine_ops);
CHECKPOINT;
"""
#: What Quiesce records of every table, too: one pass over all rows.
_DIGEST = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t"


def measure(folder: Path, *, full: bool, rounds: int, tell: Callable[[str], None]) -> Mapping[
    str, object
]:  # fmt: skip
    """Return the medians and ratios of backup, restore, and of rows with a vector index."""
    facts: dict[str, object] = {"machine": machine.describe(folder)}
    amounts = FULL if full else SMALL
    bench = Bench(folder, amounts)
    try:
        tell(f"filling a database with {amounts.rows} rows")
        bench.begin()
        bench.psql(_TABLES.format(rows=amounts.rows))
        facts["database bytes"] = int(bench.psql(f"SELECT pg_database_size('{NAME}')"))
        facts["whole"] = _whole(bench, rounds, tell)
        tell(f"filling {VECTORS} vectors")
        bench.psql("DROP TABLE events, kinds")
        bench.psql(_VECTORS.format(rows=VECTORS))
        facts["rows of vectors"] = _rows(bench, rounds, tell)
    finally:
        bench.destroy()
    facts["load_at_the_end"] = f"{os.getloadavg()[0]:.1f}"
    return facts


def _whole(bench: Bench, rounds: int, tell: Callable[[str], None]) -> Mapping[str, object]:
    ours, dump = Quiesce(bench), bench.folder / "plain.dump"
    everything = RestoreRequest((NAME,), safety=False)
    turns: dict[str, Callable[[], float]] = {
        "pg_dump and digests": lambda: seconds(lambda: _dump(bench, dump)),
        "backup": lambda: seconds(lambda: _back_up(ours)),
        "pg_restore -j2, digests, ANALYZE": lambda: seconds(lambda: _restore(bench, dump)),
        "restore": lambda: seconds(lambda: _bring_back(ours, everything)),
    }
    found = _in_turns(turns, rounds, tell)
    return {
        **found,
        "backup to pg_dump": round(found["backup"] / found["pg_dump and digests"], 2),
        "restore to pg_restore": round(
            found["restore"] / found["pg_restore -j2, digests, ANALYZE"], 2
        ),
    }


def _rows(bench: Bench, rounds: int, tell: Callable[[str], None]) -> Mapping[str, object]:
    ours, dump = Quiesce(bench), bench.folder / "vectors.dump"
    _dump(bench, dump, "--data-only", tables=("vectors",))
    _back_up(ours)
    request = RestoreRequest((NAME,), safety=False, data_only=True, in_place=True)
    phrase = f"REPLACE {ours.session().stack.instance.name}"
    found = _in_turns(
        {
            "rows with the index kept": lambda: seconds(lambda: _fill(bench, dump)),
            "restore of rows": lambda: seconds(lambda: _bring_back(ours, request, phrase)),
        },
        rounds,
        tell,
    )
    ratio = found["rows with the index kept"] / found["restore of rows"]
    return {**found, "index kept to ours": round(ratio, 2)}


def _in_turns(
    turns: Mapping[str, Callable[[], float]], rounds: int, tell: Callable[[str], None]
) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds):
        for name, turn in turns.items():
            times[name].append(turn())
            tell(f"round {number + 1}: {name}: {times[name][-1]:.2f} s")
    return {name: round(statistics.median(taken), 2) for name, taken in times.items()}


def _back_up(ours: Quiesce) -> None:
    ours.last = run_backup(ours.session(), BackupRequest(only=(NAME,)))


def _bring_back(ours: Quiesce, request: RestoreRequest, phrase: str | None = None) -> None:
    assert ours.last is not None
    run_restore(ours.session(confirm=phrase), ours.last.name, request)


def _dump(
    bench: Bench, target: Path, *more: str, tables: tuple[str, ...] = ("kinds", "events")
) -> None:
    clients = ["docker", "exec", bench.container("db"), "pg_dump", "-U", "postgres"]
    pipe([[*clients, "-Fc", "-Z", "zstd:1", *more, NAME]], target)
    for table in tables:
        bench.psql(_DIGEST.format(table=table))


def _restore(bench: Bench, dump: Path) -> None:
    container = bench.container("db")
    output("docker", "cp", str(dump), f"{container}:/tmp/plain.dump")
    inside = ["docker", "exec", container]
    output(*inside, "createdb", "-U", "postgres", "-T", "template0", "plain")
    output(*inside, "pg_restore", "-U", "postgres", "-j", "2", "-d", "plain", "/tmp/plain.dump")
    for table in ("kinds", "events"):
        statement = _DIGEST.format(table=table)
        output(*inside, "psql", "-XAtq", "-U", "postgres", "-d", "plain", "-c", statement)
    output(*inside, "psql", "-XAtq", "-U", "postgres", "-d", "plain", "-c", "ANALYZE")
    output(*inside, "dropdb", "-U", "postgres", "plain")


def _fill(bench: Bench, dump: Path) -> None:
    container = bench.container("db")
    output("docker", "cp", str(dump), f"{container}:/tmp/vectors.dump")
    bench.psql("TRUNCATE vectors")
    loads = ["pg_restore", "-U", "postgres", "--data-only", "-d", NAME, "/tmp/vectors.dump"]
    output("docker", "exec", container, *loads)
    bench.psql(_DIGEST.format(table="vectors"))
