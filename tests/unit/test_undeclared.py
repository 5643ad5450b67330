"""Data that stack.yaml neither names nor excludes: found, recorded in the set, and exit code 7."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quiesce.app.coverage import left_behind, undeclared_now
from quiesce.errors import CheckFailed, Interrupted, QuiesceError
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.instructions import restore_instructions
from quiesce.model import LeftOutFile, PathEntry, Stack, StackFiles, Undeclared
from quiesce.observed import Mount, Service, VolumeState
from quiesce.plan import coverage
from quiesce.plan import steps as s
from quiesce.plan.restore_request import RestoreRequest
from quiesce.ports import VolumeSize
from quiesce.report import views
from quiesce.undeclared import Contents, find_undeclared
from tests.support.builders import a_set, a_stack, a_world

STRAY = Undeclared("database", "stray", "exists", "add it")
KINDS = ("volume", "path", "file", "database")


def _service(name: str, *mounts: Mount) -> Service:
    return Service(name, (), mounts, (), "image", has_health=False)


def _bind(source: Path, *, writable: bool = True) -> Mount:
    return Mount(None, str(source), "/data", writable)


def _found(stack: Stack, *services: Service, **more: Any) -> list[tuple[str, str]]:
    given: dict[str, Any] = {"volumes": (), "databases": (), "local": True, "contents": None} | more
    return [(one.kind, one.name) for one in find_undeclared(stack, services, **given)]


def test_volumes_folders_and_databases_are_found(tmp_path: Path) -> None:
    """Only what somebody writes to, what contains something, and what nobody decided about."""
    stack = a_stack(tmp_path, excluded_databases=("known",), excluded_volumes=("cache",))
    for name in ("data", "code", "empty", "listed"):
        (tmp_path / name).mkdir()
    for name in ("data", "code", "listed"):
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "config.yml").write_text("x")
    stack = replace(stack, paths=(PathEntry("listed", tmp_path / "listed", "never", None),))
    web = _service(
        "web",
        *(_bind(tmp_path / name) for name in ("data", "empty", "listed", "config.yml", "none")),
        _bind(tmp_path / "code", writable=False),
    )
    world = a_world(stack=stack)
    first = world.volumes[0]
    volumes = (first, replace(first, key="more"), replace(first, key="cache"))
    found = _found(stack, web, volumes=volumes, databases=("stray", "known"))
    assert found == [("volume", "more"), ("path", f"{tmp_path}/data"), ("database", "stray")]
    # The folders of another machine cannot be read.
    assert _found(stack, web, local=False) == []


def test_a_volume_by_dump_of_which_no_database_is_declared_is_found() -> None:
    """Its files are not copied, and nobody dumps it."""
    stack = a_stack()
    (volume,) = [v for v in a_world(stack=stack).volumes if v.key == "postgres-data"]
    mount = Mount("postgres-data", "v", "/var/lib/postgresql/data", writable=True)
    assert _found(stack, _service("db", mount), volumes=[volume]) == []
    assert _found(stack, _service("other", mount), volumes=[volume]) == [
        ("volume", "postgres-data")
    ]


class _Contents:
    """Volumes by their real names with bytes, or an error; and the files that sets keep."""

    def __init__(self, volumes: dict[str, int | Exception], **files: str) -> None:
        self.sizes, self.files, self.asked = volumes, files, list[str]()

    def measure(self, volume: VolumeState) -> VolumeSize:
        self.asked.append(volume.name)
        size = self.sizes[volume.name]
        if isinstance(size, Exception):
            raise size
        return VolumeSize(1, size)

    def stack_files(self) -> StackFiles:
        kept = {f"files/{name}": b"x" for name, why in self.files.items() if not why}
        left = tuple(LeftOutFile(name, why) for name, why in self.files.items() if why)
        return StackFiles(kept, left)

    @property
    def contents(self) -> Any:
        given: Any = self
        return Contents(given, given)


FIRST, SECOND, EMPTY = "a" * 64, "b" * 64, "c" * 64


def _anonymous(name: str, target: str, *, writable: bool = True) -> Mount:
    return Mount(None, name, target, writable, f"/volumes/{name}")


def test_an_anonymous_volume_with_data_is_found_by_its_service_and_path() -> None:
    """Once per service and path; not an empty one, a cache, or a server that is dumped."""
    stack = a_stack(excluded_volumes=("web:/decided",))
    server = stack.databases[0].service
    inside = _Contents({FIRST: 3, SECOND: 3, EMPTY: 0})
    services = (
        _service("web", _anonymous(FIRST, "/data/"), _anonymous(SECOND, "/data")),
        _service("web", _anonymous(FIRST, "/decided"), _anonymous(FIRST, "/app/.cache")),
        _service("web", _anonymous(EMPTY, "/empty"), _anonymous(FIRST, "/ro", writable=False)),
        _service("web", Mount(None, "", "/not-yet", writable=True)),
        _service("web", Mount(None, "of-another-project", "/shared", writable=True)),
        _service(server, _anonymous(FIRST, "/var/lib/postgresql/data")),
        _service("idle", _anonymous(FIRST, "/var/lib/postgresql/data")),
    )
    found = find_undeclared(stack, services, (), (), local=False, contents=inside.contents)
    names = ["web:/data", "idle:/var/lib/postgresql/data"]
    assert [(one.kind, one.name) for one in found] == [("volume", name) for name in names]
    assert "add to exclude_volumes:  web:/data;" in found[0].hint
    assert _found(stack, *services) == []


def test_an_anonymous_volume_that_cannot_be_read_counts_as_one_with_data() -> None:
    """Unless the person wants to end."""
    mount = _anonymous(FIRST, "/data")
    inside = _Contents({FIRST: QuiesceError("no image has tar")})
    assert _found(a_stack(), _service("web", mount), contents=inside.contents) == [
        ("volume", "web:/data")
    ]
    inside.sizes[FIRST] = Interrupted(2)
    with pytest.raises(Interrupted):
        _found(a_stack(), _service("web", mount), contents=inside.contents)


def test_a_single_file_is_found_if_sets_do_not_contain_it(tmp_path: Path) -> None:
    """Not one that is kept with the stack, is never kept by rule, is empty or read-only."""
    home, away = tmp_path / "stack", tmp_path / "away"
    home.mkdir()
    away.mkdir()
    inside = _Contents({}, conf="", state="it is larger", env="an env file", secret="a secret")
    for name in ("conf", "state", "env", "secret", "fixed", "listed", "empty"):
        (home / name).write_text("" if name == "empty" else "x")
    (away / "state").write_text("x")
    stack = a_stack(home)
    stack = replace(stack, paths=(PathEntry("listed", home / "listed", "never", None),))
    web = _service(
        "web",
        *(_bind(home / name) for name in ("conf", "state", "env", "secret", "listed", "empty")),
        _bind(home / "fixed", writable=False),
        _bind(home / "none"),
        _bind(away / "state"),
        _bind(Path("/etc/passwd")),
    )
    found = find_undeclared(stack, [web], (), (), local=True, contents=inside.contents)
    assert [(one.kind, one.name) for one in found] == [
        ("file", f"{home}/state"),
        ("file", f"{away}/state"),
    ]
    assert found[0].fact.endswith("no set contains it: it is larger")
    assert "add to paths:  state: {path: ./state, backup: never}" in found[0].hint
    assert f"state-2: {{path: {away}/state, backup: never}}" in found[1].hint
    assert found[0].words == f"file {home}/state"
    # The files of another machine cannot be read.
    assert _found(stack, web, local=False, contents=inside.contents) == []


@pytest.mark.parametrize(
    ("kind", "mode", "only", "kinds"),
    [
        ("full", "consistent", (), KINDS),
        ("full", "live", (), KINDS),
        ("full", "cold", (), ("volume", "path", "file")),
        ("data", "consistent", (), ("database",)),
        ("schema", "consistent", (), ("database",)),
        ("full", "consistent", ("rulesdb",), ()),
    ],
)
def test_a_set_has_to_contain_everything_of_what_it_is_for(
    kind: Any, mode: Any, only: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    """Whoever asks for one database gets that; a cold copy has all databases of its servers."""
    assert coverage.kinds_of(kind, mode, only) == kinds


def test_a_temporary_copy_is_not_looked_at() -> None:
    """Its folders are elsewhere, and its original is looked at."""
    stack = a_stack()
    copy = replace(stack, instance=replace(stack.instance, throwaway=True))
    assert len(coverage.find_step(stack, "set", KINDS, (STRAY,))) == 1
    assert len(coverage.check_step(stack, "set", KINDS)) == 1
    assert coverage.find_step(copy, "set", KINDS, (STRAY,)) == ()
    assert coverage.check_step(copy, "set", KINDS) == ()


class _World:
    """What the handlers ask: a runtime and servers that answer, or fail."""

    def __init__(self, *names: str, fails: bool = False) -> None:
        self.names, self.fails, self.warned = names, fails, []
        self.stack, self.observed = a_stack(), a_world()
        self.ports = self.runtime = self.databases = self.sink = self
        self.drafts: dict[str, Any] = {}
        self.undeclared: Any = self._databases
        self.published = [replace(a_set(), path=Path("/backups/set"))]

    def services(self) -> tuple[Service, ...]:
        if self.fails:
            raise QuiesceError("the engine is gone")
        return ()

    def volumes(self, declared: object) -> tuple[()]:
        return ()

    def _databases(self, databases: object) -> tuple[str, ...]:
        return self.names

    def warn(self, text: str) -> None:
        self.warned.append(text)


def _find(world: _World, before: tuple[Undeclared, ...]) -> list[str]:
    step = s.FindUndeclared("set", KINDS, before, ("left",), "why")
    draft = type("Draft", (), {"undeclared": ()})()
    world.drafts = {"set": draft}
    HANDLERS[s.FindUndeclared](step, world)  # type: ignore[arg-type]
    return [one.name for one in draft.undeclared]


def test_what_was_there_before_and_what_came_meanwhile_are_recorded() -> None:
    """Each once, and nothing that a run could not drop."""
    early = find_undeclared(a_stack(), (), (), ("early",), local=True, contents=None)
    assert _find(_World("early", "late", "left"), early) == ["early", "late"]


def test_a_second_look_that_fails_costs_no_set() -> None:
    """The first look counts, and somebody is told."""
    world = _World(fails=True)
    assert _find(world, (STRAY,)) == ["stray"]
    assert "the engine is gone" in world.warned[0]


def test_the_check_names_what_the_published_set_lacks() -> None:
    """With a line for stack.yaml; a set that lacks nothing passes."""
    world = _World()
    step = s.CheckUndeclared("set", "why")
    HANDLERS[s.CheckUndeclared](step, world)  # type: ignore[arg-type]
    full = world.published[0]
    world.published = [replace(full, manifest=replace(full.manifest, undeclared=(STRAY,)))]
    with pytest.raises(CheckFailed, match="does not contain database stray") as failed:
        HANDLERS[s.CheckUndeclared](step, world)  # type: ignore[arg-type]
    assert failed.value.exit_code == 7
    assert failed.value.hint.startswith("add it")


def test_a_set_says_what_it_lacks_and_what_it_claims() -> None:
    """In RESTORE.md, the summary and the list."""
    made = a_set()
    lacking = replace(made.manifest, undeclared=(STRAY,))
    assert "MISSING" not in restore_instructions(made.manifest)
    text = restore_instructions(lacking)
    assert "database stray" in text[text.index("## What is MISSING") :]
    covered = coverage.what_it_covers(made.manifest)
    assert covered.startswith("databases rulesdb, memorydb and volume")
    (first, *others) = made.manifest.volumes
    folder = replace(first, key="photos", name="/srv/photos")
    with_path = replace(made.manifest, volumes=(folder, *others))
    assert coverage.what_it_covers(with_path).endswith("and path photos")
    empty = a_set(databases=(), volumes=()).manifest
    assert coverage.what_it_covers(empty) == "nothing"
    assert f"The set shows {covered} as of one moment." in text
    shown = str(views.backup_done(replace(made, manifest=lacking)))
    assert "NOT in the set: database stray" in shown
    assert "as of one moment" in shown
    assert "NOT complete" in str(
        views.sets([replace(made, manifest=lacking)], made.manifest.created_at, None, ())
    )


@pytest.mark.parametrize(("count", "more"), [(1, ""), (5, ""), (6, ", and 1 more")])
def test_a_message_names_five_and_counts_the_others(count: int, more: str) -> None:
    """A stack without a stack.yaml may have hundreds."""
    found = [replace(STRAY, name=f"s{number}") for number in range(count)]
    named = ", ".join(f"database s{number}" for number in range(min(count, 5)))
    assert coverage.undeclared_words(found) == named + more


WHOLE = RestoreRequest()


def test_a_restore_says_what_it_did_not_bring_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the set lacks, what lives and is not in the set, and what is in no set at all."""
    monkeypatch.setattr("quiesce.app.coverage.leftovers", lambda stack, ports: ())
    stack = a_stack()
    made = a_set()
    lacking = replace(made, manifest=replace(made.manifest, undeclared=(STRAY,)))
    seen = replace(a_world(), undeclared_databases=("stray", "newer"))
    ports: Any = _World()
    lines = left_behind(stack, ports, seen, lacking, WHOLE)
    assert "database stray was not in stack.yaml when the set was made" in lines
    assert "volume backend-static is not in the set and stays as it is" in lines
    assert "database newer is not in stack.yaml, so no set contains it" in lines
    assert not any("memorydb" in line or "backend-media" in line for line in lines)
    # Whoever chooses knows that the rest stays.
    assert left_behind(stack, ports, seen, lacking, replace(WHOLE, only=("rulesdb",))) == ()


def test_both_looks_of_a_backup_and_a_restore_read_anonymous_volumes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But not for a set of databases alone."""
    monkeypatch.setattr("quiesce.app.coverage.leftovers", lambda stack, ports: ())
    inside = _Contents({FIRST: 3})
    web = _service("web", _anonymous(FIRST, "/data"))
    world = _World()
    monkeypatch.setattr(world, "services", lambda: (web,))
    ports: Any = SimpleNamespace(runtime=world, databases=world, sink=world, volumes=inside)
    world.ports = ports
    assert _find(world, ()) == ["web:/data"]
    seen = replace(a_world(), services=(web,))
    (found,) = undeclared_now(a_stack(), ports, seen, KINDS)
    assert found.name == "web:/data"
    behind = left_behind(a_stack(), ports, seen, replace(a_set(), path=Path("/set")), WHOLE)
    assert "volume web:/data is not in stack.yaml, so no set contains it" in behind
    looks = len(inside.asked)
    assert undeclared_now(a_stack(), ports, seen, ("database",)) == ()
    assert len(inside.asked) == looks
