"""Builders of valid objects with overridable fields: the example stack, observed and declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from quiesce.model import (
    BackupSet,
    ClusterRecord,
    Database,
    DatabaseRecord,
    Downtime,
    Instance,
    Manifest,
    Member,
    PathEntry,
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
    Condition,
    DatabaseState,
    Dependency,
    Engine,
    Mount,
    Observed,
    Service,
    Unit,
    UnitState,
    VolumeState,
)
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.steps import MakeSafetySet, steps_of

RUN = "20261121020000-abc123"
LATER_RUN = "20261121030000-def456"
NOW = datetime(2026, 11, 21, 1, 0, 0, tzinfo=UTC)
ORDER = ("db", "redis", "backend", "frontend", "proxy")
_NEEDS: dict[str, dict[str, Condition]] = {
    "db": {},
    "redis": {},
    "backend": {"db": "healthy", "redis": "healthy"},
    "frontend": {"backend": "healthy"},
    "proxy": {"backend": "healthy", "frontend": "healthy"},
}
_MOUNTS: dict[str, tuple[str, ...]] = {
    "db": ("postgres-data",),
    "redis": ("redis-data",),
    "backend": ("backend-media", "backend-static"),
    "frontend": ("frontend-node-modules",),
    "proxy": ("proxy-logs",),
}


def a_volume(key: str, **fields: object) -> Volume:
    """A declared volume that is backed up file by file."""
    volume = Volume(key, key.replace("-", " "), "critical", "files", None, (), None)
    return replace(volume, **fields)  # type: ignore[arg-type]


def a_stack(folder: Path = Path("/stack"), **fields: object) -> Stack:
    """The example stack, as stack.yaml of this repository declares it."""
    secret = Secret("s3cret")
    stack = Stack(
        file=folder / "stack.yaml",
        digest="0" * 64,
        timezone="Europe/Berlin",
        instance=Instance(
            "core", "compose", "core", folder, None, (), None, "development", (), folder, {}
        ),
        instance_names=("core",),
        databases=(
            Database("rulesdb", "rulesdb", "db", "postgres", secret, 5432, folder / "alembic.ini"),
            Database(
                "memorydb", "memorydb", "db", "postgres", secret, 5432, folder / "alembic_m.ini"
            ),
        ),
        excluded_databases=(),
        volumes=(
            a_volume("postgres-data", backup="by-dump"),
            a_volume("redis-data", priority="important"),
            a_volume("backend-media"),
            a_volume("backend-static", priority="regenerable"),
            a_volume("frontend-node-modules", priority="regenerable", backup="never"),
            a_volume("proxy-logs", priority="optional", backup="never"),
        ),
        excluded_volumes=(),
        paths=(),
        writers=(),
        ignored_writers=(),
        restart=Restart(ORDER, 60.0, 120.0, ()),
        retention=Retention("development", keep_last=3),
        host_services=(),
        max_downtime=None,
        lock_patience=5.0,
        helper_image=None,
    )
    return replace(stack, **fields)  # type: ignore[arg-type]


def a_cleanable_stack(folder: Path = Path("/stack"), **fields: object) -> Stack:
    """The example stack with its cache, its logs and the backend's log folder marked."""
    marks = {"redis-data": "cache", "proxy-logs": "logs"}
    stack = a_stack(folder)
    volumes = tuple(replace(v, clean=marks.get(v.key)) for v in stack.volumes)  # type: ignore[arg-type]
    logs = PathEntry("backend-logs", folder / "backend" / "logs", "never", "logs")
    return replace(stack, volumes=volumes, paths=(logs,), **fields)  # type: ignore[arg-type]


def a_stack_with_folders(folder: Path = Path("/stack"), **fields: object) -> Stack:
    """The example stack with folders besides its volumes: one that is kept, one that is also a
    cache, one of a database server, and one that is neither."""
    photos = Path("/mnt/photos")
    return replace(
        a_stack(folder),
        volumes=(
            a_volume("redis-data"),
            a_volume("photos", folder=photos, priority="critical"),
            a_volume("previews", folder=folder / "previews", clean="cache"),
            a_volume("pgdata", folder=folder / "pgdata", backup="by-dump"),
        ),
        paths=(
            PathEntry("photos", photos, "files", None),
            PathEntry("previews", folder / "previews", "files", "cache"),
            PathEntry("pgdata", folder / "pgdata", "by-dump", None),
            PathEntry("code", folder, "never", None),
        ),
        **fields,  # type: ignore[arg-type]
    )


def a_world_with_folders(states: Mapping[str, UnitState | None] | None = None) -> Observed:
    """The stack of `a_stack_with_folders`: the backend writes to a part of the kept folder, the
    proxy reads it, the database server has its own."""
    stack = a_stack_with_folders()
    world = a_world(states, stack=stack)
    mounts = {
        "redis": (Mount("redis-data", "app-redis-data", "/data", True),),
        "db": (Mount("pgdata", "/stack/pgdata", "/var/lib/postgresql/data", True),),
        "backend": (
            Mount("photos", "/mnt/photos/new", "/new", True),
            Mount("previews", "/stack/previews", "/previews", True),
        ),
        "proxy": (Mount("photos", "/mnt/photos", "/photos", False),),
    }
    return replace(
        world,
        services=tuple(replace(s, mounts=mounts.get(s.name, ())) for s in world.services),
        volumes=tuple(
            replace(state, name=str(volume.folder), driver="bind") if volume.folder else state
            for state, volume in zip(world.volumes, stack.volumes, strict=True)
        ),
    )


def a_service(name: str, state: UnitState | None = "running") -> Service:
    """A service of the example stack with one unit in this state (None: no container)."""
    unit = Unit(
        name,
        f"{name}-id",
        f"core-{name}-1",
        state or "created",
        "healthy" if state == "running" else "none",
        restart_policy="unless-stopped",
    )
    return Service(
        name,
        tuple(Dependency(other, condition) for other, condition in _NEEDS[name].items()),
        tuple(Mount(key, f"app-{key}", f"/{key}", True) for key in _MOUNTS[name]),
        (unit,) if state else (),
        f"image/{name}",
        True,
    )


def a_world(
    states: Mapping[str, UnitState | None] | None = None,
    *,
    stack: Stack | None = None,
    missing_volumes: Sequence[str] = (),
    missing_databases: Sequence[str] = (),
) -> Observed:
    """The example stack observed: everything runs, but for the services in `states`."""
    stack = stack or a_stack()
    services = tuple(a_service(name, (states or {}).get(name, "running")) for name in ORDER)
    db_runs = bool(services[0].running)
    return Observed(
        engine=Engine("ENGINE", "compose", "28.0", local=True),
        services=services,
        volumes=tuple(
            VolumeState(v.key, f"app-{v.key}", v.key not in missing_volumes, "local", {}, None, ())
            for v in stack.volumes
        ),
        databases=tuple(
            DatabaseState(
                d.key,
                d.name,
                db_runs,
                db_runs and d.key not in missing_databases,
                "17.5" if db_runs else "",
                ("0003",) if db_runs else (),
                10_000_000,
                "" if db_runs else "db is not running",
            )
            for d in stack.databases
        ),
        undeclared_databases=(),
        free_bytes=10**12,
    )


def an_undone_restore() -> MakeSafetySet:
    """The pending safety set of a restore of everything by `RUN`."""
    plan = plan_restore(
        a_stack(), a_world(), a_set(), RestoreRequest(), RestoreInputs(), RUN, "core-1-safety"
    )
    return next(step for _, step in steps_of(plan.nodes) if isinstance(step, MakeSafetySet))


def restarting_always(world: Observed) -> Observed:
    """The same, with units that the engine starts whenever it starts itself."""

    def held(service: Service) -> Service:
        units = (replace(unit, restart_policy="always") for unit in service.units)
        return replace(service, units=tuple(units))

    return replace(world, services=tuple(map(held, world.services)))


def a_database_record(key: str, **fields: object) -> DatabaseRecord:
    """A database with one table of two rows."""
    record = DatabaseRecord(
        key=key,
        name=key,
        service="db",
        server_version="17.5",
        client_version="17.5",
        revision=("0003",),
        version_table="public.alembic_version",
        snapshot="00000003-0000001B-1",
        wal_position="0/15D6B78",
        encoding="UTF8",
        collate="C.UTF-8",
        ctype="C.UTF-8",
        locale_provider="c",
        locale=None,
        owner="postgres",
        digest_algorithm="hashtextextended-sum/1",
        tables=(TableRecord("public", "rules", 2, "1234"),),
        sequences=(),
        extensions=(),
        roles=("postgres",),
        settings=(),
        large_objects=0,
    )
    return replace(record, **fields)  # type: ignore[arg-type]


def a_set(
    name: str = "core-20261120-020000",
    folder: Path = Path("/stack/backups"),
    *,
    databases: Sequence[str] = ("rulesdb", "memorydb"),
    volumes: Sequence[str] = ("redis-data", "backend-media"),
    **fields: object,
) -> BackupSet:
    """A published full set of the example stack."""
    members = [
        Member(f"{key}.dump", "database", key, f"databases/{key}.dump", 1000, "a" * 64)
        for key in databases
    ] + [
        Member(f"{key}.0.tar.zst", "volume", key, f"volumes/{key}.0.tar.zst", 500, "b" * 64)
        for key in volumes
    ]
    manifest = Manifest(
        format=1,
        tool="quiesce 0.1.0",
        name=name,
        instance="core",
        project="core",
        engine="ENGINE",
        runtime="compose",
        created_at=datetime(2026, 11, 20, 1, 0, 0, tzinfo=UTC),
        mode="consistent",
        kind="full",
        label="",
        pinned=False,
        consistent=True,
        inconsistency="",
        duration_seconds=12.5,
        downtime_seconds=Downtime(3.2, {"backend": 3.2}),
        services_running_before=ORDER,
        services_stopped=("backend",),
        members=tuple(members),
        databases=tuple(a_database_record(key) for key in databases),
        volumes=tuple(
            VolumeRecord(key, f"app-{key}", 3, 400, (f"volumes/{key}.0.tar.zst",), None, "zstd")
            for key in volumes
        ),
        images={"db": "pgvector/pgvector:pg17"},
    )
    manifest = replace(manifest, **fields)  # type: ignore[arg-type]
    return BackupSet(folder / name, manifest, SetState(), sum(m.bytes for m in members))


def a_cold_set() -> BackupSet:
    """A set of the database's volume and one of files, nothing dumped."""
    cluster = ClusterRecord("postgres-data", ".", "17", "shut down", False, "1234", "0/15D6B78")
    return a_set(
        databases=(), volumes=("postgres-data", "backend-media"), mode="cold", clusters=(cluster,)
    )
