"""Which Compose project a stack is, where stack.yaml does not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.config import load_stack
from quiesce.config.compose_name import normalised
from quiesce.errors import RequestError
from quiesce.observed import Observed, OtherProject, Traces
from quiesce.plan.project_name import (
    choose_project,
    other_project_findings,
    refuse_other_projects,
)
from tests.support.builders import a_stack, a_world

STACK = """\
version: 1
timezone: UTC
instances:
  core: {retention: few, env_file: core.env, files: [app.yml]}
retention: {few: {keep_last: 3}}
"""


def _loaded(
    folder: Path, compose: str, env: str = "", stack: str = STACK, **shell: str
) -> tuple[str, ...]:
    """The name of a new stack, then what else it may be called."""
    folder.mkdir(exist_ok=True)
    (folder / "app.yml").write_text(compose)
    (folder / "core.env").write_text(env)
    (folder / "stack.yaml").write_text(stack)
    instance = load_stack(folder / "stack.yaml", "core", shell).instance
    return (instance.project, *instance.other_projects)


@pytest.mark.parametrize(
    ("compose", "env", "names"),
    [
        ("services: {}", "", ("thefolder", "core")),
        ("name: twin", "", ("twin", "thefolder", "core")),
        ("name: ${STACK:-app}", "", ("app", "thefolder", "core")),
        ("name: ${STACK:-app}", "STACK=Mine\n", ("mine", "thefolder", "core")),
        ("name: $STACK", "STACK=mine\n", ("mine", "thefolder", "core")),
        ("name: ${STACK:?is missing}", "", ("thefolder", "core")),
        ("name: twin", "COMPOSE_PROJECT_NAME=named\n", ("named", "twin", "thefolder", "core")),
        ("name: core", "", ("core", "thefolder")),
        ("name: [", "", ("thefolder", "core")),
    ],
)
def test_the_name_is_the_one_that_compose_takes(
    tmp_path: Path, compose: str, env: str, names: tuple[str, ...]
) -> None:
    """COMPOSE_PROJECT_NAME, `name:` of the file, the folder; then the instance, as before."""
    assert _loaded(tmp_path / "The.Folder", compose, env) == names


def test_a_variable_of_the_shell_precedes_all_as_in_compose(tmp_path: Path) -> None:
    """What cron takes instead comes next."""
    env = "COMPOSE_PROJECT_NAME=named\n"
    names = _loaded(tmp_path / "folder", "name: twin", env, COMPOSE_PROJECT_NAME="Shell")
    assert names == ("shell", "named", "twin", "folder", "core")
    instance = load_stack(
        tmp_path / "folder" / "stack.yaml", "core", {"COMPOSE_PROJECT_NAME": "shell"}
    ).instance
    assert instance.project_from == "environment"


def test_the_folder_is_that_of_the_first_compose_file(tmp_path: Path) -> None:
    """Compose is used there, not where stack.yaml is."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.yml").write_text("services: {}")
    stack = STACK.replace("[app.yml]", "[../app/app.yml]")
    assert _loaded(tmp_path / "ops", "", stack=stack)[0] == "app"


def test_a_project_that_is_given_is_the_project(tmp_path: Path) -> None:
    """Nothing else is looked at."""
    given = STACK.replace("{retention", "{project: mine, retention")
    assert _loaded(tmp_path / "folder", "name: twin", stack=given) == ("mine",)


def _two(second: str) -> str:
    both = STACK.replace("retention:", f"  {second}\nretention:", 2)
    both = both.replace(f"  {second}\nretention:", "retention:", 1)
    return both.replace("version: 1", "version: 1\ndefault_instance: core")


def test_several_instances_of_one_file_keep_their_own_names(tmp_path: Path) -> None:
    """The file's name would be the same for all; what another instance is called is not ours."""
    both = _two("twin: {retention: few, files: [app.yml]}")
    assert _loaded(tmp_path / "folder", "name: other", stack=both) == ("core", "other", "folder")
    assert _loaded(tmp_path / "folder", "name: twin", stack=both) == ("core", "folder")


def test_a_project_of_another_instance_may_depend_on_its_env_file(tmp_path: Path) -> None:
    """What it is called is unknown here, so nothing that runs is a stranger for sure."""
    both = _two("twin: {retention: few, project: '${NAME}-x', env_file: twin.env}")
    assert _loaded(tmp_path / "folder", "name: other", stack=both) == ("other", "folder", "core")
    instance = load_stack(tmp_path / "folder" / "stack.yaml", "core", {}).instance
    assert instance.siblings == ("*",)


def test_a_folder_is_called_as_compose_calls_it() -> None:
    """Lower case, and without what a project's name cannot have."""
    assert normalised("_My App.2") == "myapp2"
    assert normalised("…") == ""


def _choose(*names: str, siblings: tuple[str, ...] = (), **traces: Traces) -> str:
    return choose_project("core", names, {**dict.fromkeys(names, Traces()), **traces}, siblings)


STOPPED = Traces(containers=True)
RUNS = Traces(containers=True, running=True)
KEPT = Traces(volumes=True)


def test_a_new_stack_gets_the_preferred_name() -> None:
    """Nothing of it exists anywhere."""
    assert _choose("twin", "core") == "twin"


def test_what_runs_decides_and_then_what_is_kept() -> None:
    """A stack that was brought up under its instance's name goes on so, also after `down`."""
    assert _choose("twin", "core", twin=RUNS, core=KEPT) == "twin"
    assert _choose("twin", "core", core=RUNS) == "core"
    assert _choose("twin", "core", core=STOPPED) == "core"
    assert _choose("twin", "core", core=KEPT) == "core"
    assert _choose("twin", "core", core=KEPT, twin=KEPT) == "twin"
    assert _choose("twin", "core", other=KEPT) == "twin", "no container of these files is in it"
    others = Traces(volumes=True, others=("/srv/other/compose.yml",))
    assert _choose("twin", "folder", "core", folder=others) == "twin"


@pytest.mark.parametrize("trace", [RUNS, STOPPED, KEPT])
def test_a_stack_that_lives_under_another_name_is_not_begun_anew(trace: Traces) -> None:
    """The error has the line that stack.yaml needs."""
    with pytest.raises(RequestError, match="belong to project folder") as caught:
        _choose("twin", "folder", "core", folder=trace)
    assert "add 'project: folder' to instance core" in caught.value.hint


@pytest.mark.parametrize("trace", [RUNS, STOPPED])
def test_a_project_of_any_name_is_seen_if_it_is_of_this_file(trace: Traces) -> None:
    """As after `docker compose -p mine up`. Other instances have their own."""
    with pytest.raises(RequestError, match="belong to project mine") as caught:
        _choose("twin", "core", mine=trace)
    assert "add 'project: mine' to instance core" in caught.value.hint
    assert _choose("twin", "core", mine=trace, siblings=("mi*",)) == "twin"


def test_a_stack_that_lives_twice_is_for_a_person_to_see() -> None:
    """One of the two holds the data; one that was only left behind does not matter."""
    for names, traces in (
        (("twin", "core"), {"twin": RUNS, "core": STOPPED}),
        (("twin",), {"twin": STOPPED, "mine": RUNS}),
    ):
        with pytest.raises(RequestError, match="several projects: twin, ") as caught:
            _choose(*names, **traces)
        assert "'project: twin' or 'project: " in caught.value.hint
    assert _choose("twin", twin=RUNS, mine=STOPPED) == "twin"


def test_another_stack_of_the_same_name_is_left_alone() -> None:
    """Two folders of one name: its containers are not this stack's to stop or remove."""
    with pytest.raises(RequestError, match=r"app is another stack: .* /b/app\.yml"):
        _choose("app", "core", app=Traces(others=("/b/app.yml",), volumes=True))
    assert _choose("app", "core", app=replace(RUNS, others=("/b/app.yml",))) == "app"


# ---------------------------------------------------------------------- projects beside this one


def _observed(alone: bool) -> Observed:
    return replace(a_world(), other_projects=(OtherProject("mine", alone),))


@pytest.mark.parametrize(
    ("project_from", "alone", "refused"),
    [
        ("stack.yaml", True, True),
        ("stack.yaml", False, False),
        ("folder", False, True),
    ],
)
def test_another_project_of_this_file_is_refused_unless_a_person_decided(
    project_from: str, alone: bool, refused: bool
) -> None:
    """`check` has it in any case."""
    stack = a_stack()
    stack = replace(stack, instance=replace(stack.instance, project_from=project_from))
    world = _observed(alone)
    (finding,) = other_project_findings(stack, world)
    assert finding.level == ("error" if refused else "warning")
    assert "'project: mine' for instance core in stack.yaml" in finding.hint
    if not refused:
        refuse_other_projects(stack, world)
        return
    with pytest.raises(RequestError, match="project mine runs from this Compose file") as caught:
        refuse_other_projects(stack, world)
    assert caught.value.hint == finding.hint


def test_a_name_that_only_a_shell_has_is_reported() -> None:
    """Cron would take another one."""
    stack = a_stack()
    stack = replace(stack, instance=replace(stack.instance, project_from="environment"))
    (finding,) = other_project_findings(stack, a_world())
    assert (finding.level, "cron" in finding.fact) == ("warning", True)
    assert f"'project: {stack.instance.project}'" in finding.hint
