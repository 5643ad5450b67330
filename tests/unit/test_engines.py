"""What an engine of databases cannot do is refused by name, when planning and in stack.yaml."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest

from quiesce.adapters.compose.server_containers import sensitive_servers
from quiesce.codec import decode, encode
from quiesce.commands import doctor
from quiesce.config import load_stack
from quiesce.errors import ConfigError, RequestError
from quiesce.execute.comparison import differences
from quiesce.model import (
    BackupSet,
    Capability,
    DatabaseRecord,
    DatabaseSwap,
    ImportedDatabase,
    ImportSource,
    RestoreSource,
    SetKind,
    Stack,
)
from quiesce.plan import staging
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.backup_db import BackupDbRequest, plan_backup_db
from quiesce.plan.cold import plan_cold
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest, choose
from quiesce.plan.shutdown import ShutdownRequest, plan_shutdown
from quiesce.plan.steps import Plan, steps_of
from quiesce.ports import DatabaseContents
from tests.support.builders import RUN, a_database_record, a_set, a_stack, a_world
from tests.support.engines import LESSER, add_engine, on

NAME = "core-20261121-020000"
NOW = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)


def mixed(*keys: str) -> Stack:
    """The example stack with these databases on the lesser engine, in a service of its own."""
    stack = on(LESSER, a_stack(), *keys)
    databases = (
        replace(one, service="redis") if one.engine == LESSER else one for one in stack.databases
    )
    return replace(
        stack,
        databases=tuple(databases),
        volumes=tuple(v for v in stack.volumes if v.key != "redis-data"),
    )


def lesser_set() -> BackupSet:
    """A set in which `rulesdb` is of the lesser engine."""
    whole = a_set(volumes=())
    first, second = whole.manifest.databases
    records = (replace(first, engine=LESSER), second)
    return replace(whole, manifest=replace(whole.manifest, databases=records))


def backup(stack: Stack, request: BackupRequest) -> Plan:
    """Plan a backup of the example stack."""
    return plan_backup(stack, a_world(stack=stack), request, RUN, NAME)


def kinds(plan: Plan) -> list[str]:
    """The steps of a plan that are of interest here, in order; a repeated one once."""
    found = [
        f"{type(step).__name__} {getattr(step, 'database', getattr(step, 'service', ''))}".strip()
        for _, step in steps_of(plan.nodes)
        if isinstance(step, s.DumpDatabase | s.DumpGlobals | s.StopServices | s.StartServices)
    ]
    return [step for step, _ in groupby(found)]


def test_a_database_without_snapshots_is_dumped_while_services_are_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one afterwards, and only its server has roles."""
    add_engine(monkeypatch)
    plan = backup(mixed("rulesdb"), BackupRequest())
    assert kinds(plan) == [
        "StopServices",
        "DumpDatabase rulesdb",
        "StartServices",
        "DumpDatabase memorydb",
        "DumpGlobals db",
    ]
    files = [step.file for _, step in steps_of(plan.nodes) if isinstance(step, s.DumpDatabase)]
    assert files == ["databases/rulesdb.lesser", "databases/memorydb.dump"]


def test_one_database_alone_stops_its_services_if_it_has_no_snapshots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a snapshot it is consistent by itself."""
    add_engine(monkeypatch)
    only = BackupRequest(only=("rulesdb",))
    assert "StopServices" in kinds(backup(mixed("rulesdb"), only))
    assert "StopServices" not in kinds(backup(a_stack(), only))


@pytest.mark.parametrize(
    ("request_", "fact"),
    [
        (BackupRequest(mode="live"), "Lesser has no snapshots"),
        (BackupRequest(kind="data"), "Lesser has no backups and restores of rows only"),
    ],
)
def test_a_backup_that_an_engine_cannot_make_is_refused(
    request_: BackupRequest, fact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the key of the database and the name of the engine; without that database it works."""
    add_engine(monkeypatch)
    with pytest.raises(RequestError, match=f"database rulesdb: {fact}"):
        backup(mixed("rulesdb"), request_)
    backup(mixed("rulesdb"), replace(request_, only=("memorydb",)))
    add_engine(monkeypatch, "snapshots", "rows")
    backup(mixed("rulesdb"), request_)


@pytest.mark.parametrize("can", [(), ("scripts",), ("snapshots",)])
def test_a_file_needs_an_engine_with_scripts_and_snapshots(
    can: tuple[Capability, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both, because no service stops for `backup-db`."""
    stack = mixed("rulesdb")

    def plan(*keys: str, kind: SetKind = "full") -> Plan:
        request = BackupDbRequest(keys, kind)
        return plan_backup_db(stack, a_world(stack=stack), request, RUN, NOW, ())

    add_engine(monkeypatch, *can)
    with pytest.raises(RequestError, match="database rulesdb: Lesser has no"):
        plan()
    plan("memorydb")
    add_engine(monkeypatch, "scripts", "snapshots")
    plan()
    with pytest.raises(RequestError, match="Lesser has no backups and restores of rows only"):
        plan(kind="data")


def test_a_shutdown_makes_a_full_set_if_one_engine_cannot_restore_rows_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without being asked to: nothing is left out."""
    add_engine(monkeypatch)
    stack = mixed("rulesdb")
    plan = plan_shutdown(stack, a_world(stack=stack), ShutdownRequest(), RUN, NAME)
    (opened,) = [step for _, step in steps_of(plan.nodes) if isinstance(step, s.OpenSet)]
    assert opened.kind == "full"


def test_a_cold_copy_needs_a_data_directory_that_says_how_its_server_was_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other volumes are copied."""
    add_engine(monkeypatch)
    stack = on(LESSER, a_stack())

    def plan(*only: str) -> Plan:
        return plan_cold(stack, a_world(stack=stack), BackupRequest(only, "cold"), RUN, NAME)

    with pytest.raises(RequestError, match="Lesser has no data directories that say"):
        plan()
    plan("redis-data")
    add_engine(monkeypatch, "clusters")
    plan()


def test_only_servers_that_mind_orphans_are_treated_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of PostgreSQL, of which a health check in a shell can end all sessions."""
    add_engine(monkeypatch)
    assert sensitive_servers(mixed("rulesdb").databases) == {"db"}


def test_doctor_names_the_server_of_each_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its engine."""
    add_engine(monkeypatch)
    world = a_world()
    first, second = world.databases
    world = replace(world, databases=(replace(first, engine=LESSER), second))
    found = [finding.fact for finding in doctor._databases(world)]
    assert found == ["Lesser 17.5 answers", "PostgreSQL 17.5 answers"]


def test_what_is_held_is_of_the_kind_that_is_dumped() -> None:
    """A driver may begin its dump with it."""
    plan = backup(a_stack(), BackupRequest(kind="schema"))
    held = [step.kind for _, step in steps_of(plan.nodes) if isinstance(step, s.ExportSnapshot)]
    assert held == ["schema", "schema"]


A_FILE = ImportSource("a.sql", Path("/x"), (ImportedDatabase("rulesdb", "rulesdb.sql"),))


@pytest.mark.parametrize(
    ("source", "request_", "needed"),
    [
        (lesser_set(), RestoreRequest(data_only=True), "rows"),
        (A_FILE, RestoreRequest(), "scripts"),
        (lesser_set(), RestoreRequest(not_valid=True), "not-valid"),
        (lesser_set(), RestoreRequest(skip_broken=True), "skip-broken"),
        (lesser_set(), RestoreRequest(create_roles=True), "globals"),
        (lesser_set(), RestoreRequest(break_replication=True), "ties"),
    ],
)
def test_a_restore_that_an_engine_cannot_do_is_refused(
    source: RestoreSource,
    request_: RestoreRequest,
    needed: Capability,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the capability the same request is taken."""
    request_ = replace(request_, only=("rulesdb",))
    add_engine(monkeypatch)
    with pytest.raises(RequestError, match="database rulesdb: Lesser has no"):
        choose(mixed("rulesdb"), source, request_)
    add_engine(monkeypatch, needed)
    (chosen,) = choose(mixed("rulesdb"), source, request_).databases
    assert chosen.key == "rulesdb"


def test_an_option_for_some_databases_goes_to_those_that_can_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one is loaded without it."""
    add_engine(monkeypatch)
    request = RestoreRequest(not_valid=True, skip_broken=True)
    stack, source = mixed("rulesdb"), lesser_set()
    chosen = choose(stack, source, request)
    swaps = [DatabaseSwap(d.key, d.name, f"{d.name}_new", "") for d in chosen.databases]
    nodes = staging.dumps(chosen.databases, swaps, source, request, RestoreInputs())
    loads = [step for _, step in steps_of(nodes) if isinstance(step, s.LoadDump)]
    assert [(one.database, one.not_valid, one.skip_broken) for one in loads] == [
        ("rulesdb", False, False),
        ("memorydb", True, True),
    ]


def test_a_set_is_not_restored_into_a_database_of_another_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both are named, also an engine that only a newer version knows."""
    wanted = RestoreRequest(only=("rulesdb",))
    with pytest.raises(RequestError, match=r"one of lesser in .*, and one of PostgreSQL"):
        choose(a_stack(), lesser_set(), wanted)
    add_engine(monkeypatch)
    with pytest.raises(RequestError, match=r"one of Lesser in .*, and one of PostgreSQL"):
        choose(a_stack(), lesser_set(), wanted)
    with pytest.raises(RequestError, match=r"one of PostgreSQL in .*, and one of Lesser"):
        choose(mixed("rulesdb"), a_set(volumes=()), wanted)


# -------------------------------------------------------------------------------- what is written


def test_a_record_without_an_engine_is_of_postgresql() -> None:
    """Versions before did not write it."""
    record = a_database_record("rulesdb")
    written = encode(record)
    assert written.pop("engine") == "postgres"
    assert decode(DatabaseRecord, written) == record


def test_what_only_other_engines_have_is_not_written_for_postgresql() -> None:
    """Manifests and journals stay as versions before wrote them."""
    step = s.ExportSnapshot("rulesdb", "why")
    assert set(encode(step)) == {"step", "database", "why"}
    assert encode(replace(step, kind="schema"))["kind"] == "schema"
    assert decode(s.ExportSnapshot, encode(replace(step, kind="schema"))).kind == "schema"
    record = a_database_record("rulesdb")
    assert "objects" not in encode(record)
    other = replace(record, objects={"view totals": "1"})
    assert decode(DatabaseRecord, encode(other)) == other


def test_objects_besides_tables_are_compared() -> None:
    """Missing, different and additional ones."""
    record = a_database_record("rulesdb", objects={"view a": "1", "view b": "1", "view c": "1"})
    there = DatabaseContents(
        record.tables, (), record.revision, {"view a": "1", "view b": "2", "view d": "1"}
    )
    assert differences(record, there) == (
        "view c is missing",
        "view b is different",
        "view d is not in the set",
    )


# ------------------------------------------------------------------------------------ stack.yaml

STACK = """\
version: 1
instances:
  core: {retention: short%s}
retention:
  short: {keep_last: 3}
databases:
"""
SERVICES = "services:\n  db: {postgres: embedded}\n  other: {postgres: embedded}\n"


def problems(folder: Path, databases: str, instance: str = "", rest: str = "") -> list[str]:
    """The mistakes in a stack.yaml with these databases."""
    file = folder / "stack.yaml"
    file.write_text(STACK % instance + databases + rest)
    try:
        load_stack(file, None, {})
    except ConfigError as error:
        return [f"{one.path}: {one.fact} ({one.hint})" for one in error.problems]
    return []


def test_each_engine_has_its_own_user_and_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless stack.yaml says otherwise; without `engine` it is PostgreSQL."""
    add_engine(monkeypatch)
    file = tmp_path / "stack.yaml"
    file.write_text(
        (STACK % "")
        + "  a: {service: db}\n  b: {service: other, engine: lesser}\n"
        + "  c: {service: other, engine: lesser, user: me, port: 4000}\n"
    )
    found = [(d.engine, d.user, d.port) for d in load_stack(file, None, {}).databases]
    assert found == [
        ("postgres", "postgres", 5432),
        ("lesser", "root", 3306),
        ("lesser", "me", 4000),
    ]


@pytest.mark.parametrize("written", ["oracle", "redis", "x"])
def test_an_engine_that_is_not_supported_names_those_that_are(tmp_path: Path, written: str) -> None:
    """And what to do with such a server."""
    assert problems(tmp_path, f"  a: {{service: db, engine: {written}}}\n") == [
        f"databases.a.engine: '{written}' is not one of the supported engines: postgres, mariadb "
        "(remove this database, and give its server's volume 'backup: files' in 'volumes:'; a "
        "backup then stops the server)"
    ]


@pytest.mark.parametrize("written", ["postgresql", "postgress", "Postgres"])
def test_an_engine_that_is_misspelt_is_offered(tmp_path: Path, written: str) -> None:
    """The one that was probably meant."""
    assert problems(tmp_path, f"  a: {{service: db, engine: {written}}}\n") == [
        f"databases.a.engine: '{written}' is not one of the supported engines: postgres, mariadb "
        "(did you mean 'postgres'?)"
    ]


def test_what_an_engine_cannot_do_is_not_declared_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key, with what to write instead."""
    written = "{service: db, engine: lesser, migrations: alembic.ini, roles: with-passwords}"
    (tmp_path / "alembic.ini").write_text("")
    add_engine(monkeypatch)
    assert problems(tmp_path, f"  a: {written}\n") == [
        "databases.a.migrations: Lesser has no migrations by Alembic (remove 'migrations'; "
        "'before:' can run a command in a service)",
        "databases.a.roles: Lesser has no roles that a set contains (remove 'roles')",
    ]
    add_engine(monkeypatch, "migrations", "globals")
    assert problems(tmp_path, f"  a: {written}\n") == []


def test_a_host_runs_only_servers_that_it_can_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can start an embedded PostgreSQL."""
    add_engine(monkeypatch)
    host = ", runtime: host"
    assert problems(tmp_path, "  a: {service: db, engine: lesser}\n", host, SERVICES) == [
        "databases.a.engine: Lesser has no server that 'runtime: host' can start (use 'runtime: "
        "compose' for this instance)"
    ]
    assert problems(tmp_path, "  a: {service: db}\n", host, SERVICES) == []


def test_a_service_has_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one server."""
    add_engine(monkeypatch)
    two = "  a: {service: db}\n  b: {service: db, engine: lesser}\n"
    assert problems(tmp_path, two) == [
        "databases.b.engine: service 'db' has engine postgres for 'a' in line 7 (give all "
        "databases of a service one engine)"
    ]


@pytest.mark.parametrize(("able", "after"), [((), False), (("copies",), True)])
def test_a_safety_set_is_made_afterwards_only_of_copies_that_are_complete(
    monkeypatch: pytest.MonkeyPatch, able: tuple[Capability, ...], after: bool
) -> None:
    """Otherwise while services are stopped, also for the databases of other engines beside it."""
    add_engine(monkeypatch, *able)
    stack, source = mixed("rulesdb"), lesser_set()
    plan = plan_restore(
        stack, a_world(stack=stack), source, RestoreRequest(), RestoreInputs(), RUN, "core-1-safety"
    )
    kinds = [type(step).__name__ for _, step in steps_of(plan.nodes)]
    assert ("MakeSafetySet" in kinds) is after
    if not after:
        assert kinds.index("SealSet") < kinds.index("SwapDatabases")


@pytest.mark.parametrize("able", [(), ("closing",)])
def test_a_plan_says_of_an_exchange_only_what_the_engine_does(
    monkeypatch: pytest.MonkeyPatch, able: tuple[Capability, ...]
) -> None:
    """Each server by what its own engine can do."""
    add_engine(monkeypatch, *able)
    stack = mixed("rulesdb")
    plan = plan_restore(
        stack, a_world(stack=stack), lesser_set(), RestoreRequest(), RestoreInputs(), RUN, "core-1"
    )
    words = {
        step.service: step.sentence().partition(" rulesdb")[0].partition(" memorydb")[0]
        for _, step in steps_of(plan.nodes)
        if isinstance(step, s.BlockConnections)
    }
    closed = "terminate sessions and block connections to"
    assert words == {"db": closed, "redis": closed if able else "terminate sessions in"}
    whys = {
        one.service: one.why for _, one in steps_of(plan.nodes) if isinstance(one, s.SwapDatabases)
    }
    assert "transaction" in whys["db"]
    assert ("transaction" in whys["redis"]) is bool(able)
