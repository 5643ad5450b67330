"""A small stack with everything in it that a report can show, and a reporter without a clock."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from quiesce.model import (
    BackupSet,
    Database,
    DatabaseRecord,
    Downtime,
    Instance,
    Manifest,
    Restart,
    Retention,
    Secret,
    SetState,
    Stack,
    TableRecord,
    Volume,
    VolumeRecord,
)
from quiesce.observed import (
    DatabaseState,
    Engine,
    Mount,
    Observed,
    Service,
    Unit,
    VolumeState,
)
from quiesce.plan import steps as s
from quiesce.report import Reporter, make_reporter

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8", *, terminal: bool = True) -> None:
        super().__init__()
        self._encoding = encoding
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


@dataclass
class Watch:
    """A clock that only moves when told."""

    time: datetime = NOW
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds


@dataclass
class Room:
    """A reporter with its streams and its clock. `face` is terminal, plain or json."""

    renderer: str = "plain"
    columns: int = 100
    encoding: str = "utf-8"
    environ: dict[str, str] = field(default_factory=lambda: {"TERM": "xterm-256color"})
    stdin: io.StringIO | None = None
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        terminal = self.renderer == "terminal"
        self.out = Terminal(self.encoding, terminal=terminal)
        self.err = Terminal(self.encoding, terminal=terminal)
        self.reporter: Reporter = make_reporter(
            task="backup",
            json=self.renderer == "json",
            stdout=self.out,
            stderr=self.err,
            environ=self.environ,
            stdin=self.stdin,
            clock=self.watch,
            zone=BERLIN,
            columns=self.columns,
            background=False,
        )

    @property
    def stdout(self) -> str:
        return self.out.getvalue()

    @property
    def stderr(self) -> str:
        return self.err.getvalue()


def backup_set(
    name: str = "core-20261121-020000",
    created: datetime = datetime(2026, 11, 21, 1, 0, tzinfo=UTC),
    *,
    state: SetState | None = None,
    label: str = "",
    consistent: bool = True,
    kind: str = "full",
) -> BackupSet:
    """A set of two databases and one volume."""
    tables = tuple(TableRecord("public", f"t{i}", 1000 + i, "0") for i in range(3))
    databases = tuple(_database_record(key, tables) for key in ("rulesdb", "memorydb"))
    volumes = (VolumeRecord("backend-media", "core-media", 62569, 2_000_000_000, (), None, "zstd"),)
    manifest = Manifest(
        format=1,
        tool="quiesce 0",
        name=name,
        instance="core",
        project="core",
        engine="e",
        runtime="compose",
        created_at=created,
        mode="consistent",
        kind=kind,  # type: ignore[arg-type]
        label=label,
        pinned=False,
        consistent=consistent,
        inconsistency="" if consistent else "psql wrote to rulesdb after the stop",
        duration_seconds=75.25,
        downtime_seconds=Downtime(4.2, {"backend": 4.2, "proxy": 3.9}),
        services_running_before=("db", "backend", "proxy"),
        services_stopped=("proxy", "backend"),
        members=(),
        databases=databases,
        volumes=volumes if kind == "full" else (),
        images={},
    )
    good = SetState(verified_at=NOW, verified_level="sums", verified_good=True)
    return BackupSet(Path("/srv/core/backups") / name, manifest, state or good, 12_986_613)


def _database_record(key: str, tables: tuple[TableRecord, ...]) -> DatabaseRecord:
    return DatabaseRecord(
        key=key,
        name=key,
        service="db",
        server_version="17.2",
        client_version="17.2",
        revision=("ab12",),
        version_table="alembic_version",
        snapshot="1",
        wal_position="0/1",
        encoding="UTF8",
        collate="C",
        ctype="C",
        locale_provider="c",
        locale=None,
        owner="postgres",
        digest_algorithm="md5",
        tables=tables,
        sequences=(),
        extensions=(),
        roles=(),
        settings=(),
        large_objects=0,
    )


def several_sets() -> list[BackupSet]:
    """Pinned, damaged, unverified, labelled and inconsistent ones."""
    bad = SetState(verified_at=NOW - timedelta(days=3), verified_level="sums", verified_good=False)
    return [
        backup_set("core-20260901-020000", NOW - timedelta(days=81), state=SetState(pinned=True)),
        backup_set("core-20261118-020000", NOW - timedelta(days=3), state=bad, consistent=False),
        backup_set("core-20261120-153012", NOW - timedelta(hours=13), label="before the migration"),
        backup_set("core-20261121-025959", NOW - timedelta(hours=2), kind="data"),
    ]


def stack() -> Stack:
    """An instance with two databases and three volumes."""
    place = Path("/srv/core")
    password = Secret("hidden")
    return Stack(
        file=place / "stack.yaml",
        digest="d",
        timezone="Europe/Berlin",
        instance=Instance(
            name="core",
            runtime="compose",
            project="core",
            directory=place,
            env_file=None,
            files=(),
            context=None,
            retention="production",
            profiles=(),
            state=place / ".state",
            environment={},
        ),
        instance_names=("core",),
        databases=tuple(
            Database(key, key, "db", "postgres", password, 5432, None)
            for key in ("rulesdb", "memorydb")
        ),
        excluded_databases=(),
        volumes=(
            Volume("postgres-data", "PostgreSQL data", "critical", "by-dump", None, (), None),
            Volume("backend-media", "User uploads", "critical", "files", None, (), 1_000_000_000),
            Volume("redis-data", "Cache and queue", "important", "files", "cache", (), None),
        ),
        excluded_volumes=(),
        paths=(),
        writers=(),
        ignored_writers=(),
        restart=Restart((), 60, 120, ()),
        retention=Retention("production", keep_last=3),
        host_services=(),
        max_downtime=None,
        lock_patience=5,
        helper_image=None,
    )


def observed() -> Observed:
    """Services in every state; a server that is away; a volume that nobody declared."""
    return Observed(
        engine=Engine("e", "docker", "29.0.1", local=True),
        services=(
            _service("db", _unit("db", "healthy"), mount="postgres-data"),
            _service("backend", _unit("backend", "unhealthy"), mount="backend-media"),
            _service("worker", _unit("worker"), _unit("worker"), _unit("worker", state="paused")),
            _service("proxy", _unit("proxy", state="exited", exit_code=137)),
            _service("migrate", _unit("migrate", state="exited", exit_code=0)),
            _service("redis"),
        ),
        volumes=(
            _volume("postgres-data"),
            _volume("backend-media"),
            _volume("redis-data", exists=False),
            _volume("surprise"),
        ),
        databases=(
            DatabaseState("rulesdb", "rulesdb", True, True, "17.2", ("ab12",), 8_123_456),
            DatabaseState("memorydb", "memorydb", False, False, "", (), 0, "db does not run"),
        ),
        undeclared_databases=("scratch",),
        free_bytes=53_687_091_200,
    )


def _unit(
    service: str, health: str = "none", state: str = "running", exit_code: int | None = None
) -> Unit:
    begun = NOW - timedelta(hours=5) if state != "exited" else None
    return Unit(service, "1", f"core-{service}-1", state, health, exit_code, started_at=begun)  # type: ignore[arg-type]


def _service(name: str, *units: Unit, mount: str = "") -> Service:
    mounts = (Mount(mount, "x", f"/{mount}", writable=True),) if mount else ()
    return Service(name, (), mounts, units, "image", has_health=True)


def _volume(key: str, *, exists: bool = True) -> VolumeState:
    place = Path("/var/lib/docker/volumes") / f"core-{key}" / "_data"
    return VolumeState(key, f"core-{key}", exists, "local", {}, place if exists else None, ())


def plan() -> s.Plan:
    """A backup in miniature, brackets inside brackets."""
    backend = _unit("backend")
    name = "core-20261121-050000"
    quiet = s.Bracket(
        "services stopped",
        (s.StopServices((backend,), 60, "writes to backend-media"),),
        (s.ExportSnapshot("rulesdb", "the dump is made later, as of this moment"),),
        always=(
            s.StartServices((backend,), 60, "was running before"),
            s.WaitHealthy((backend,), 120, "until it is as healthy as before"),
        ),
    )
    opened = s.OpenSet(
        name, "full", "consistent", "", False, (), (), "it is published atomically when complete"
    )
    whole = s.Bracket(
        f"set {name}",
        (opened,),
        (
            s.ArchiveVolume(name, "backend-media", 0, "volumes/m", "services keep running"),
            quiet,
            s.SealSet(name, "every member is complete"),
        ),
        on_failure=(s.DiscardStaging("clean up after a failed run"),),
    )
    verified = s.VerifySet(name, "every member is read back and compared with the manifest")
    request = "full backup of core (consistent)"
    return s.Plan("r", "backup", "core", request, "d", "e", (whole, verified))
