"""The engines of databases that `stack.yaml` may name, and what each of them can do. Pure.

Plans and checks of `stack.yaml` ask here, and refuse by name what an engine cannot do. The drivers
are in `adapters/`; `app/wiring.py` has the table of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

#: What only some engines can do. The comments say what is lost without it.
Capability = Literal[
    # What a driver holds stays as it was while services write again; otherwise dumps are written
    # while services are stopped.
    "snapshots",
    # Users or roles that belong to the server are written to `globals.sql` and created from it.
    "globals",
    # Rows are dumped and restored without the schema: `--data-only`.
    "rows",
    # Plain SQL files are written and restored: `backup-db`, `restore --file x.sql`.
    "scripts",
    # Slots, subscriptions and prepared transactions are found; `--break-replication` drops them.
    "ties",
    # Alembic migrates its databases.
    "migrations",
    # Constraints that rows violate are restored for new rows only: `--not-valid`.
    "not-valid",
    # The host runtime can start its server.
    "embedded",
    # Its data directories say whether the server was shut down cleanly; otherwise `--mode cold` is
    # refused for them.
    "clusters",
    # Entries of a dump that cannot be restored are left out: `--skip-broken`.
    "skip-broken",
]

#: How messages call what an engine cannot do: "MariaDB has no …".
WORDS: Mapping[Capability, str] = MappingProxyType(
    {
        "snapshots": "snapshots that outlive the restart of services",
        "globals": "roles that a set contains",
        "rows": "backups and restores of rows only",
        "scripts": "plain SQL files",
        "ties": "slots or subscriptions that a restore has to drop",
        "migrations": "migrations by Alembic",
        "not-valid": "constraints that are checked for new rows only",
        "embedded": "server that 'runtime: host' can start",
        "clusters": "data directories that say how the server was shut down",
        "skip-broken": "restores that leave entries out",
    }
)


@dataclass(frozen=True, slots=True)
class DatabaseEngine:
    """One engine of databases.

    `key` is its word in `stack.yaml`, `title` its name in messages, `port` and `user` are the
    defaults of `databases:`. `own` are databases that each of its servers has. `suffix` is that of
    its dumps. `minds_orphans`: as PID 1 of a container, its server takes the end of a process that
    it inherited for a crash.
    """

    key: str
    title: str
    port: int
    user: str
    own: tuple[str, ...]
    suffix: str
    minds_orphans: bool = False
    capabilities: frozenset[Capability] = field(default_factory=frozenset)

    def can(self, capability: Capability) -> bool:
        return capability in self.capabilities


DEFAULT_ENGINE = "postgres"

_ALL = (
    DatabaseEngine(
        key=DEFAULT_ENGINE,
        title="PostgreSQL",
        port=5432,
        user="postgres",
        own=("postgres", "template0", "template1"),
        suffix=".dump",
        minds_orphans=True,
        capabilities=frozenset(WORDS),
    ),
)
#: Every engine that has a driver, by its word in `stack.yaml`. Others ask the functions below.
ENGINES: Mapping[str, DatabaseEngine] = MappingProxyType({engine.key: engine for engine in _ALL})


def engines() -> tuple[str, ...]:
    """Return the words for engines in `stack.yaml`."""
    return tuple(ENGINES)


def engine_of(key: str) -> DatabaseEngine:
    """Return an engine that a valid `stack.yaml` names."""
    return ENGINES[key]


def title_of(key: str) -> str:
    """Return the name of an engine for messages, also of one that this version does not know."""
    return ENGINES[key].title if key in ENGINES else key


def lacks(key: str, capability: Capability) -> str:
    """Return in words that an engine cannot do this."""
    return f"{title_of(key)} has no {WORDS[capability]}"
