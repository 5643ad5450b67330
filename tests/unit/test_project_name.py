"""Which Compose project a stack is, where stack.yaml does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from quiesce.config import load_stack
from quiesce.config.compose_name import normalised
from quiesce.errors import RequestError
from quiesce.plan.project_name import choose_project

STACK = """\
version: 1
timezone: UTC
instances:
  core: {retention: few, env_file: core.env, files: [app.yml]}
retention: {few: {keep_last: 3}}
"""


def _loaded(folder: Path, compose: str, env: str = "", stack: str = STACK) -> tuple[str, ...]:
    """The name of a new stack, then what else it may be called."""
    folder.mkdir(exist_ok=True)
    (folder / "app.yml").write_text(compose)
    (folder / "core.env").write_text(env)
    (folder / "stack.yaml").write_text(stack)
    instance = load_stack(folder / "stack.yaml", "core", {"COMPOSE_PROJECT_NAME": "shell"}).instance
    return (instance.project, *instance.other_projects)


@pytest.mark.parametrize(
    ("compose", "env", "names"),
    [
        ("services: {}", "", ("core", "thefolder")),
        ("name: twin", "", ("twin", "core")),
        ("name: ${STACK:-app}", "", ("app", "core")),
        ("name: ${STACK:-app}", "STACK=Mine\n", ("mine", "core")),
        ("name: $STACK", "STACK=mine\n", ("mine", "core")),
        ("name: ${STACK:?is missing}", "", ("core", "thefolder")),
        ("name: twin", "COMPOSE_PROJECT_NAME=named\n", ("named", "core")),
        ("name: core", "", ("core",)),
        ("name: [", "", ("core", "thefolder")),
    ],
)
def test_the_name_is_the_one_that_compose_takes(
    tmp_path: Path, compose: str, env: str, names: tuple[str, ...]
) -> None:
    """COMPOSE_PROJECT_NAME of an env file, `name:` of the file; a shell's variable never."""
    assert _loaded(tmp_path / "The.Folder", compose, env) == names


def test_a_project_that_is_given_is_the_project(tmp_path: Path) -> None:
    """Nothing else is looked at."""
    given = STACK.replace("{retention", "{project: mine, retention")
    assert _loaded(tmp_path / "folder", "name: twin", stack=given) == ("mine",)


def test_several_instances_of_one_file_keep_their_own_names(tmp_path: Path) -> None:
    """The file's name would be the same for all; what another instance is called is not ours."""
    second = "  twin: {retention: few, files: [app.yml]}\nretention:"
    both = STACK.replace("retention:", second, 2).replace(second, "retention:", 1)
    both = both.replace("version: 1", "version: 1\ndefault_instance: core")
    assert _loaded(tmp_path / "folder", "name: other", stack=both) == ("core", "other")
    assert _loaded(tmp_path / "folder", "name: twin", stack=both) == ("core",)


def test_a_folder_is_called_as_compose_calls_it() -> None:
    """Lower case, and without what a project's name cannot have."""
    assert normalised("_My App.2") == "myapp2"
    assert normalised("…") == ""


def _choose(preferred: str, *others: str, **kinds: tuple[str, ...]) -> str:
    return choose_project("core", preferred, others, lambda name, kind: name in kinds.get(kind, ()))


def test_a_new_stack_gets_the_preferred_name() -> None:
    """Nothing of it exists anywhere."""
    assert _choose("twin", "core") == "twin"


def test_what_runs_decides_and_then_what_is_kept() -> None:
    """A stack that was brought up under its instance's name goes on so, also after `down`."""
    assert _choose("twin", "core", containers=("twin",), volumes=("core", "twin")) == "twin"
    assert _choose("twin", "core", containers=("core",)) == "core"
    assert _choose("twin", "core", volumes=("core",)) == "core"
    assert _choose("twin", "core", volumes=("core", "twin")) == "twin"
    assert _choose("core", "folder", volumes=("core", "folder")) == "core"


@pytest.mark.parametrize("kind", ["containers", "volumes"])
def test_a_stack_that_lives_under_another_name_is_not_begun_anew(kind: str) -> None:
    """The error has the line that stack.yaml needs."""
    with pytest.raises(RequestError, match="belong to project folder") as caught:
        _choose("core", "folder", **{kind: ("folder",)})
    assert "add 'project: folder' to instance core" in caught.value.hint


def test_a_stack_that_lives_twice_is_for_a_person_to_see() -> None:
    """One of the two holds the data."""
    with pytest.raises(RequestError, match="several projects: twin, core"):
        _choose("twin", "core", containers=("twin", "core"))
