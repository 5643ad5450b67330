"""The database engines that `stack.yaml` may name, and the capabilities of each. Pure.

Planners and checks of `stack.yaml` use this table to refuse what an engine cannot do. The drivers
are in `adapters/`; their table is in `app/wiring.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

#: The capabilities that only some engines have. The comments say what each one provides.
Capability = Literal[
    # A dump made later shows the moment at which its snapshot was exported. Without this, dumps are
    # made while services are stopped.
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
    # A database that an exchange has replaced can be dumped as it was; otherwise the safety set is
    # made before the exchange, while services are stopped.
    "copies",
    # Entries of a dump that cannot be restored are left out: `--skip-broken`.
    "skip-broken",
    # One database refuses connections while it is exchanged; otherwise its sessions are ended, and
    # clients that are no services of the stack can come back.
    "closing",
]

#: The words for each capability in messages: "MariaDB has no …".
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
        "copies": "complete dumps of databases that a restore has replaced",
        "skip-broken": "restores that leave entries out",
        "closing": "databases that refuse connections for a while",
    }
)


@dataclass(frozen=True, slots=True)
class DatabaseEngine:
    """One engine of databases.

    `key` is its name in `stack.yaml`, `title` its name in messages, `port` and `user` are the
    defaults of `databases:`. `own` are databases that every server of this engine has. `suffix` is
    the suffix of its dumps. `minds_orphans`: if its server is PID 1 of a container, it mistakes the
    exit of an orphaned process that it inherited for a crash.
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
    DatabaseEngine(
        key="mariadb",
        title="MariaDB",
        port=3306,
        user="root",
        own=("information_schema", "mysql", "performance_schema", "sys"),
        suffix=".sql.zst",
        capabilities=frozenset({"snapshots", "globals", "copies"}),
    ),
)
#: Every engine that has a driver, by its name in `stack.yaml`. Other modules use the functions
#: below.
ENGINES: Mapping[str, DatabaseEngine] = MappingProxyType({engine.key: engine for engine in _ALL})


def engines() -> tuple[str, ...]:
    """Return the names of engines in `stack.yaml`."""
    return tuple(ENGINES)


def engine_of(key: str) -> DatabaseEngine:
    """Return an engine that a valid `stack.yaml` names."""
    return ENGINES[key]


def is_default(key: str) -> bool:
    """Whether stack.yaml need not name this engine."""
    return key == DEFAULT_ENGINE


def title_of(key: str) -> str:
    """Return the name of an engine for messages, even if this version does not know the engine."""
    return ENGINES[key].title if key in ENGINES else key


def lacks(key: str, capability: Capability) -> str:
    """Return the message that an engine lacks a capability."""
    return f"{title_of(key)} has no {WORDS[capability]}"
