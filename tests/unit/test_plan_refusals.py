"""What planners refuse, with a hint for each; and plans and sentences that no golden file shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from quiesce.errors import RequestError
from quiesce.exclusion import LeftOut
from quiesce.model import Command, Database, Secret, Stack
from quiesce.observed import Mount, Observed
from quiesce.plan import prune, retention
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup, select
from quiesce.plan.backup_db import BackupDbRequest, plan_backup_db
from quiesce.plan.clean import plan_nuke
from quiesce.plan.cold import plan_cold
from quiesce.plan.describe import describe
from quiesce.plan.naming import run_id
from quiesce.plan.outcome import downtime_words
from quiesce.plan.paused import resume_command
from quiesce.plan.pending import describe_leftover
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.rows import RowsTarget
from quiesce.plan.schedule import NotATiming, arguments, parse, with_block
from quiesce.plan.services import plan_start, plan_up
from quiesce.plan.shutdown import ShutdownRequest, plan_stop_all
from tests.support.builders import (
    NOW,
    RUN,
    a_cold_set,
    a_set,
    a_stack,
    a_world,
)

NOTHING = RestoreInputs()


def backup(
    *only: str, stack: Stack | None = None, world: Observed | None = None, **fields: Any
) -> s.Plan:
    """The plan of a backup of the example stack."""
    request = BackupRequest(only=only, **fields)
    return plan_backup(stack or a_stack(), world or a_world(), request, RUN, "core-1")


def cold(*only: str, stack: Stack | None = None, world: Observed | None = None) -> s.Plan:
    """The plan of a cold backup."""
    request = BackupRequest(only=only, mode="cold")
    return plan_cold(stack or a_stack(), world or a_world(), request, RUN, "core-1")


def restore(
    request: RestoreRequest,
    source: Any = None,
    inputs: RestoreInputs = NOTHING,
    world: Observed | None = None,
) -> s.Plan:
    """The plan of a restore into the example stack."""
    source = source or a_set()
    return plan_restore(a_stack(), world or a_world(), source, request, inputs, RUN, "core-2")


def marked(**backups: str) -> Stack:
    """The example stack with other values of `backup:`."""
    stack = a_stack()
    kept = {key.replace("_", "-"): value for key, value in backups.items()}
    volumes = tuple(replace(v, backup=kept.get(v.key, v.backup)) for v in stack.volumes)  # type: ignore[arg-type]
    return replace(stack, volumes=volumes)


def ordered_by(*names: str) -> Stack:
    """The example stack with this start order."""
    stack = a_stack()
    return replace(stack, restart=replace(stack.restart, order=names))


NO_VOLUMES = a_world(missing_volumes=[v.key for v in a_stack().volumes])
DOWN = a_world({"db": "exited"})
REMEDY = replace(
    DOWN, databases=tuple(replace(d, remedy="start it by hand") for d in DOWN.databases)
)

REFUSALS: dict[str, tuple[Callable[[], object], str, str]] = {
    "a volume that is backed up otherwise": (
        lambda: backup("postgres-data"),
        "volume postgres-data is marked 'backup: by-dump'",
        "name databases, volumes or paths: rulesdb, memorydb, redis-data",
    ),
    "a volume that is never backed up": (
        lambda: backup("rulesdb", "proxy-logs"),
        "volume proxy-logs is marked 'backup: never'",
        "name databases, volumes or paths: ",
    ),
    "an unknown name": (
        lambda: backup("rulesd"),
        "there is no database, volume or path rulesd",
        "rulesdb",
    ),
    "a volume in a backup of databases": (
        lambda: backup("rulesdb", "redis-data", kind="data"),
        "a data backup contains databases only, not redis-data",
        "leave redis-data out",
    ),
    "a volume that is not there": (
        lambda: backup("redis-data", world=a_world(missing_volumes=["redis-data"])),
        "volume redis-data does not exist yet",
        "run 'inv up' first",
    ),
    "nothing": (
        lambda: backup(stack=replace(a_stack(), databases=()), world=NO_VOLUMES),
        "there is nothing to back up",
        "run 'inv up' first",
    ),
    "a server that is down": (
        lambda: backup(world=DOWN),
        "database rulesdb cannot be reached: db is not running",
        "run 'inv up --service db', then try again",
    ),
    "a server with a remedy of its own": (
        lambda: backup(world=REMEDY),
        "database rulesdb cannot be reached",
        "start it by hand",
    ),
    "a database that is not there": (
        lambda: backup(world=a_world(missing_databases=["memorydb"])),
        "database memorydb does not exist on db",
        "create it, or remove it",
    ),
    "files of a server": (
        lambda: backup(stack=marked(postgres_data="files")),
        "db is a database server and writes to volume postgres-data",
        "mark volume postgres-data 'backup: by-dump' in stack.yaml",
    ),
    "one database in a cold backup": (
        lambda: cold("rulesdb"),
        "a cold backup contains whole servers, not database rulesdb alone",
        "name volumes: postgres-data, redis-data, backend-media, backend-static;",
    ),
    "an unknown volume in a cold backup": (
        lambda: cold("redis-dat"),
        "there is no volume or path redis-dat to back up",
        "redis-data",
    ),
    "a volume that is not there in a cold backup": (
        lambda: cold("redis-data", world=a_world(missing_volumes=["redis-data"])),
        "volume redis-data does not exist yet",
        "run 'inv up' first",
    ),
    "nothing in a cold backup": (
        lambda: cold(world=NO_VOLUMES),
        "there is nothing to back up",
        "run 'inv up' first",
    ),
    "by-dump without a server": (
        lambda: cold("redis-data", stack=marked(redis_data="by-dump")),
        "volume redis-data is marked 'backup: by-dump', but no database's service uses it",
        "correct databases in stack.yaml",
    ),
    "files of a server in a cold backup": (
        lambda: cold("postgres-data", stack=marked(postgres_data="files")),
        "db is a database server and writes to volume postgres-data",
        "mark volume postgres-data",
    ),
    "a file of a database that is not there": (
        lambda: plan_backup_db(
            a_stack(),
            a_world(missing_databases=["memorydb"]),
            BackupDbRequest(("memorydb",)),
            RUN,
            NOW,
            (),
        ),
        "database memorydb does not exist on db",
        "create it, or remove it",
    ),
    "nuke without a volume of databases": (
        lambda: plan_nuke(marked(postgres_data="never"), a_world(), RUN, force=False),
        "no volume is marked as containing databases",
        "'backup: by-dump' in stack.yaml",
    ),
    "a source without what is asked": (
        lambda: restore(RestoreRequest(only=("backend-static",))),
        "does not contain backend-static",
        "",
    ),
    "a source with what is not declared": (
        lambda: restore(RestoreRequest(), a_set(volumes=("redis-data", "old"), databases=())),
        "contains old, which stack.yaml does not declare",
        "choose with --only redis-data",
    ),
    "rows of a volume": (
        lambda: restore(RestoreRequest(only=("redis-data",), data_only=True)),
        "--data-only restores rows, and redis-data is a volume",
        "omit redis-data",
    ),
    "a restore to a server that is down": (
        lambda: restore(RestoreRequest(), world=DOWN),
        "database server db cannot be reached: db is not running",
        "run 'inv up --service db', then try again",
    ),
    "a restore to a server with a remedy of its own": (
        lambda: restore(RestoreRequest(), world=REMEDY),
        "database server db cannot be reached",
        "start it by hand",
    ),
    "files and databases of one server": (
        lambda: restore(RestoreRequest(), a_set(volumes=("postgres-data",))),
        "db is the server of a database to restore, and also uses volume postgres-data",
        "--only postgres-data",
    ),
    "a start order with an unknown name": (
        lambda: plan_up(ordered_by("db", "backen"), a_world(), RUN, ()),
        "restart.order names backen, which is not a service of the stack",
        "correct or remove it in stack.yaml; ",
    ),
    "an unknown service": (
        lambda: plan_start(a_stack(), a_world(), RUN, ("backen",)),
        "there is no service backen",
        "backend",
    ),
    "a service without a container": (
        lambda: plan_start(a_stack(), a_world({"db": None, "redis": None}), RUN, ()),
        "db, redis has no container yet",
        "run 'inv up --service db,redis'",
    ),
    "keeping what needs another": (
        lambda: plan_stop_all(
            a_stack(), a_world(), ShutdownRequest(force=True, keep_running=("backend",)), RUN
        ),
        "backend cannot keep running without db, redis",
        "use --keep-running backend,db,redis",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_done_is_refused_with_a_hint(name: str) -> None:
    """Before anything is touched."""
    plan, fact, hint = REFUSALS[name]
    with pytest.raises(RequestError) as caught:
        plan()
    assert fact in caught.value.fact
    assert hint in caught.value.hint


def test_what_is_named_is_all_that_is_chosen() -> None:
    """A volume that is not there is left out unless it is named."""
    world = a_world(missing_volumes=["redis-data"])
    everything = select(a_stack(), world, (), "full")
    assert [v.key for v in everything.volumes] == ["backend-media", "backend-static"]
    named = select(a_stack(), world, ("backend-media",), "full")
    assert ([v.key for v in named.volumes], named.databases) == (["backend-media"], ())
    data = select(a_stack(), world, ("memorydb",), "data")
    assert ([d.key for d in data.databases], data.volumes) == (["memorydb"], ())


def kinds(plan: s.Plan) -> list[str]:
    """The kinds of its steps, in order."""
    return [type(step).__name__ for _, step in s.steps_of(plan.nodes)]


def test_a_host_needs_no_watch_and_commands_run_where_nothing_stops() -> None:
    """Only Quiesce starts services there."""
    world = a_world()
    host = replace(world, engine=replace(world.engine, kind="host"))
    assert "WatchStarts" in kinds(backup(world=world))
    assert "WatchStarts" not in kinds(backup(world=host))
    command = Command("db", ("true",), 5.0)
    stack = replace(a_stack(), before=(command,), after=(command,))
    quiet = a_world(dict.fromkeys(("redis", "backend", "frontend", "proxy"), "exited"))
    found = kinds(backup(stack=stack, world=quiet))
    assert "StopServices" not in found
    assert found.count("RunCommand") == 2
    assert found.index("RunCommand") < found.index("ExportSnapshot")


def test_the_dumps_are_in_the_window_only_if_asked_and_something_stops() -> None:
    """Without services that stop there is no window."""
    quiet = a_world(dict.fromkeys(("redis", "backend", "frontend", "proxy"), "exited"))
    for world, in_window, inside in (
        (a_world(), "the standby lags", True),
        (a_world(), "", False),
        (quiet, "the standby lags", False),
    ):
        plan = backup(world=world, in_window=in_window)
        steps = [step for _, step in s.steps_of(plan.nodes)]
        dumps = [step for step in steps if isinstance(step, s.DumpDatabase)]
        assert len(dumps) == 2
        assert (dumps[0].why == in_window) == inside
        found = kinds(plan)
        if world is not quiet:
            assert (found.index("DumpDatabase") < found.index("StartServices")) == inside


def test_roles_of_several_servers_have_a_file_each() -> None:
    """Those of one have the short name."""
    other = Database("third", "third", "redis", "postgres", Secret("s"), 5432, None)
    stack = marked(redis_data="never")
    stack = replace(stack, databases=(*stack.databases, other))
    world = a_world(stack=stack)
    files = [
        step.file
        for _, step in s.steps_of(backup(stack=stack, world=world).nodes)
        if isinstance(step, s.DumpGlobals)
    ]
    assert files == ["databases/globals-db.sql", "databases/globals-redis.sql"]


IN_PLACE = RestoreRequest(only=("rulesdb",), data_only=True, in_place=True)


def test_rows_in_place_are_replaced_between_a_safety_set_and_the_start() -> None:
    """In one transaction of the live database; the safety set holds the database alone."""
    inputs = RestoreInputs(rows=(RowsTarget("rulesdb", (), "", ("public.rules",)),))
    plan = restore(IN_PLACE, inputs=inputs)
    found = kinds(plan)
    assert found[-1] == "DiscardStaging"
    ends = [found.index(kind) for kind in ("StopServices", "OpenSet", "SealSet", "ReplaceRows")]
    assert ends == sorted(ends)
    assert found.index("ReplaceRows") < found.index("StartServices")
    (step,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.ReplaceRows))
    assert (step.name, step.file) == ("rulesdb", "databases/rulesdb.dump")
    assert step.counted == ("public.rules",)
    (opened,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.OpenSet))
    assert (opened.safety, opened.pinned, opened.mode) == (True, False, "consistent")
    assert plan.request == "restore the rows of rulesdb in core-20261120-020000 in place"
    bare = kinds(restore(replace(IN_PLACE, safety=False, restart=False), inputs=inputs))
    assert not {"OpenSet", "StartServices"} & set(bare)
    (bracket, discard) = plan.nodes
    assert isinstance(bracket, s.Bracket)
    assert bracket.on_failure == (discard,)


def test_rows_beside_are_loaded_into_the_live_schema_where_there_are_no_migrations() -> None:
    """And migrated on only where the code is newer."""
    request = RestoreRequest(only=("rulesdb",), data_only=True)
    target = RowsTarget("rulesdb", (), "", ())
    copied = kinds(restore(request, inputs=RestoreInputs(rows=(target,))))
    assert copied.index("CreateDatabase") < copied.index("CopySchema")
    assert copied.index("CopySchema") < copied.index("ReplaceRows")
    assert "MigrateDatabase" not in copied
    target = RowsTarget("rulesdb", ("0001", "0002"), "0003", ())
    plan = restore(request, inputs=RestoreInputs(rows=(target,)))
    migrated = kinds(plan)
    assert "CopySchema" not in migrated
    assert migrated.count("MigrateDatabase") == 3
    last = [step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.MigrateDatabase)][-1]
    assert last.revision == "0003"
    assert "0001, 0002" in last.why


def test_the_server_of_a_cold_set_is_the_one_that_writes_to_its_volume() -> None:
    """Not one that reads it, nor one of another volume: its shutdown is checked."""
    world = a_world()
    reader = replace(
        world.service("proxy"),
        mounts=(
            Mount("postgres-data", "app-postgres-data", "/data", False),
            Mount("proxy-logs", "app-proxy-logs", "/logs", True),
        ),
    )
    services = (reader, *(one for one in world.services if one.name != "proxy"))
    plan = restore(RestoreRequest(), a_cold_set(), world=replace(world, services=services))
    checked = [step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.CheckShutdown)]
    assert [(step.service, step.volume) for step in checked] == [("db", "postgres-data")]
    (opened,) = (step for step in s.with_parts(plan.nodes) if isinstance(step, s.OpenSet))
    assert (opened.mode, opened.safety, opened.pinned) == ("cold", True, False)
    missing = a_world(missing_volumes=["postgres-data"])
    assert "CheckShutdown" not in kinds(restore(RestoreRequest(), a_cold_set(), world=missing))


# ----------------------------------------------------------------------------------- sets, pins


def a_candidate(name: str, days: int, **fields: Any) -> retention.Candidate:
    """A good set, so many days old, of the example stack's databases."""
    group = ("core", "full", ("memorydb", "rulesdb"), False)
    made = retention.Candidate(name, group, NOW - timedelta(days=days))
    return replace(made, **fields)


def test_a_prune_says_why_each_set_goes() -> None:
    """Accepted ones first, then what an earlier run has begun, then the oldest."""
    sets = [a_candidate("new", 1), a_candidate("b", 5), a_candidate("a", 5), a_candidate("c", 9)]
    reasons = {"new": ("newest",), "a": (), "b": (), "c": ()}
    plan = prune.plan_prune(
        a_stack(), RUN, sets, reasons, accepted=("new",), half_removed=("half",)
    )
    assert describe(plan) == (
        "plan: prune of core\n"
        "  accept that set new contains less than the previous set — accepted with --force\n"
        "  remove set half — an earlier removal was interrupted\n"
        "  remove set c — no rule of retention development keeps it\n"
        "  remove set a — no rule of retention development keeps it\n"
        "  remove set b — no rule of retention development keeps it\n"
    )
    assert plan.engine == ""
    nothing = prune.plan_prune(a_stack(), RUN, sets[:1], reasons)
    assert describe(nothing) == "plan: prune of core\n  nothing to do\n"


def test_a_pin_is_a_plan_of_its_own() -> None:
    """Its task is `keep` or `unkeep`."""
    kept = prune.plan_pin(a_stack(), RUN, "a", pinned=True)
    assert (kept.verb, describe(kept)) == (
        "keep", "plan: keep a\n  pin set a — retention never removes it\n"
    )  # fmt: skip
    freed = prune.plan_pin(a_stack(), RUN, "a", pinned=False)
    assert (freed.verb, describe(freed)) == (
        "unkeep", "plan: unkeep a\n  unpin set a — retention may remove it again\n"
    )  # fmt: skip


def test_a_new_set_is_compared_with_the_newest_good_one_of_its_kind() -> None:
    """Not with one of another group, one that is damaged, or one of the future."""
    sets = [
        *(a_candidate(f"old-{days}", days) for days in (9, 8, 7, 6)),
        a_candidate("damaged", 5, verified=False),
        a_candidate("unknown", 5, verified=None),
        a_candidate("other", 4, group=("core", "data", ("memorydb", "rulesdb"), False)),
        a_candidate("future", -1),
        a_candidate("just-now", 0),
    ]

    def after(sets: list[retention.Candidate]) -> tuple[s.Node, ...]:
        contents = ["rulesdb", "memorydb"]
        zone = ZoneInfo("UTC")
        return prune.after_backup(a_stack(), sets, "new", "full", contents, NOW, zone)

    (step,) = after(sets[:-1])
    assert isinstance(step, s.RemoveExpired)
    assert step.before == "old-6"
    (step,) = after(sets)
    assert isinstance(step, s.RemoveExpired)
    assert (step.before, step.new) == ("just-now", "new")
    assert step.sets == ("old-9", "old-8", "old-7")
    assert after(sets[:2]) == ()


# ------------------------------------------------------------------------------------- sentences

UNIT = a_world().running[0]
PARTS = (LeftOut("*.tmp", 2, 20), LeftOut("cache", 1, 5))


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (s.CheckAddresses((UNIT,), (UNIT, UNIT), ""), "check whether db ×2 may still use"),
        (s.CreateRoles("a", "db", "f", ("x",), True, ""), "create role x on the server in db"),
        (s.CreateRoles("a", "db", "f", ("x", "y"), True, ""), "create roles x, y on"),
        (s.WriteScript("a", "data", "a.sql", True, ""), "write database a (data) to a.sql"),
        (s.CopySchema("a", "b", ""), "copy the live schema of a to b"),
        (s.RemoveExpired((), "n", "b", ""), "remove no set"),
        (s.RemoveExpired(("x", "y"), "n", "b", ""), "x, y, unless n contains far less than b"),
        (s.PushSet("a", "nas", ""), "push set a to nas"),
        (s.PullSet("a", "nas", ""), "pull set a from nas"),
        (s.PruneStore("nas", ""), "remove expired sets from nas"),
        (
            s.ArchiveVolume("a", "v", 0, "f", "", left_out=PARTS),
            "everything except *.tmp: 2 entries, 20 bytes; cache: 1 entries, 5 bytes",
        ),
        (s.ArchiveVolume("a", "v", 1, "f", ""), "archive volume v, level 1 (changes)"),
        (s.ArchiveVolume("a", "v", 0, "f", ""), "archive volume v, level 0 (everything)"),
        (s.LoadDump("a", "d", "n", "f", ""), "load"),
        (s.WaitServices((), 1.0, ""), "wait until healthy: every service"),
    ],
)
def test_a_step_says_what_it_does(step: s.Step, sentence: str) -> None:
    """In one line, for the plan and the report."""
    assert sentence in step.sentence()


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (s.RemoveExpired(("x",), "n", "", ""), "remove x"),
        (s.WaitServices(("a",), 1.0, "", answering=("a",)), "wait until answering SQL: a"),
        (
            s.WaitServices(("a", "b", "c"), 1.0, "", answering=("a",), running=("b",)),
            "wait until healthy: c; answering SQL: a; running: b",
        ),
    ],
)
def test_a_step_says_no_more_than_it_does(step: s.Step, sentence: str) -> None:
    """There may be no earlier set, and a service without a health check is not called healthy."""
    assert step.sentence() == sentence


def test_a_kind_of_step_without_a_sentence_is_noticed() -> None:
    """It could not be shown."""
    with pytest.raises(NotImplementedError):
        s.Step.sentence(UNIT)  # type: ignore[arg-type]


def test_kinds_of_steps_are_known_by_their_names_of_now_and_of_before() -> None:
    """For journals of earlier versions."""
    try:

        class NewStep(s.Step):
            former = "OldStep"

        assert s.Step.kinds["NewStep"] is s.Step.kinds["OldStep"] is NewStep
    finally:
        for name in ("NewStep", "OldStep"):
            s.Step.kinds.pop(name, None)
    assert "" not in s.Step.kinds


@pytest.mark.parametrize(
    ("step", "what", "how"),
    [
        (s.DropDatabase("d", 'a"b', "x", ""), 'database a"b', 'DROP DATABASE "a""b" WITH (FORCE);'),
        (s.UnmarkDatabase("d", "a", ""), "the marker of run r in the comment of a", "not needed"),
        (s.FinishSwap("v", ""), "folder .quiesce-r in volume v", "as root, rm -r .quiesce-r in"),
        (
            s.ReleaseSnapshot("d", ""),
            "a session of run r in database d",
            "not needed, because it ends",
        ),
        (s.DiscardStaging(""), "folder /my b/.staging/r", "rm -r '/my b/.staging/r'"),
    ],
)
def test_what_could_not_be_tidied_up_can_be_by_hand(step: s.Step, what: str, how: str) -> None:
    """To the letter."""
    found, remedy = describe_leftover(step, "r", "/my b")
    assert found == what
    assert remedy.startswith(how)


def test_small_words() -> None:
    """Ids, units that are paused, a limit without an earlier set."""
    assert run_id(NOW, "abcd") == "20261121010000-abcd"
    unit = replace(UNIT, id="4711:99")
    assert resume_command(unit, "host") == "kill -CONT -4711"
    assert resume_command(unit, "compose") == f"docker unpause {unit.name}"
    assert downtime_words(5.0, ()) == "max_downtime; no earlier set to compare with"
    assert "may exceed" in downtime_words(5.0, (5.1,))
    assert "may exceed" not in downtime_words(5.0, (5.0, 4.0))


# -------------------------------------------------------------------------------------- schedule


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("hourly", "does not name a job"),
        ("weekly", "does not name a job"),
        ("monthly", "does not name a job"),
        ("0 2 * foo * full", "'foo' is not a valid month"),
        ("0 2 *-3 * * full", "'*-3' is not a valid day"),
        ("0 2 1+2 * * full", "'1+2' is not a valid day"),
        ("monthly 0 full", "not every month has a day 0"),
        ("monthly 29 full", "not every month has a day 29"),
        ("0 2 0 * * full", "'0' is not a valid day"),
        ("0 24 * * * full", "'24' is not a valid hour"),
    ],
)
def test_an_entry_that_is_no_timing_is_told_in_its_own_words(text: str, fact: str) -> None:
    """Not in those of Python."""
    with pytest.raises(NotATiming) as told:
        parse(text)
    assert fact in str(told.value)


def test_edges_of_a_schedule_are_taken() -> None:
    """The first and the last of each; a task's name in a list is a name."""
    assert parse("monthly 28 full").cron == "0 2 28 * *"
    assert parse("monthly 1 full").cron == "0 2 1 * *"
    assert parse("hourly full,rulesdb").what == ("full", "rulesdb")
    assert arguments(parse("daily full,rulesdb")) == ("backup", "--only", "full,rulesdb")
    assert arguments(parse("daily full")) == ("backup",)


def test_a_crontab_without_a_last_newline_gets_one() -> None:
    """Else the block's first line would belong to somebody's command."""
    block = with_block(b"", "core", ["x"])
    assert with_block(b"MAILTO=a", "core", ["x"]) == b"MAILTO=a\n" + block
    assert with_block(b"MAILTO=a", "core", []) == b"MAILTO=a"
    assert with_block(b"MAILTO=a\n", "core", ["x"]) == b"MAILTO=a\n" + block
