"""The command line of Compose: what it is given, and what of our environment it sees."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.compose.address import Address
from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.redaction import is_secret
from quiesce.config import load_stack
from quiesce.errors import QuiesceError, RequestError
from tests.support.builders import a_stack


def command(folder: Path, outer: dict | None = None, **fields) -> ComposeCommand:
    """Return the command of an instance in this folder, run from that environment."""
    instance = replace(a_stack(folder).instance, directory=folder, **fields)
    return ComposeCommand(instance, Address("unix:///engine.sock", "test"), outer or {})


def fake_docker(folder: Path, script: str) -> dict[str, str]:
    """Put a `docker` first into PATH and return the environment."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}


def test_only_what_a_child_needs_is_inherited(tmp_path: Path):
    """Compose lets the environment win over env files: the shell must not decide."""
    outer = {
        "PATH": "/usr/bin",
        "HOME": "/home/a",
        "https_proxy": "http://proxy",
        "SSH_AUTH_SOCK": "/agent",
        "STACK": "of the shell",
        "COMPOSE_PROJECT_NAME": "of the shell",
        "DOCKER_HOST": "tcp://elsewhere:1",
        "DOCKER_CONTEXT": "elsewhere",
        "DOCKER_TLS_VERIFY": "1",
    }
    kept = command(tmp_path, outer).environment()
    assert set(kept) == {"PATH", "HOME", "https_proxy", "SSH_AUTH_SOCK"}


def test_what_an_env_file_sets_is_not_inherited(tmp_path: Path):
    """Also of the shared `.env`, which may set a proxy for the stack only. What looks like a
    variable inside a value of several lines is none."""
    text = "# comment\nexport HTTPS_PROXY=a\n LANG = b\nTMPDIR=c\nNOTE='\nNO_PROXY=d\n'\n"
    (tmp_path / ".env").write_text(text)
    (tmp_path / "core.env").write_text("HTTP_PROXY=z\n")
    (tmp_path / "stack.yaml").write_text(
        "version: 1\n"
        "instances: {core: {project: a, env_file: core.env, retention: r}}\n"
        "retention: {r: {keep_last: 1}}\n"
    )
    outer = {"HTTPS_PROXY": "x", "LANG": "x", "HTTP_PROXY": "x", "TMPDIR": "x", "NO_PROXY": "y"}
    instance = load_stack(tmp_path / "stack.yaml", "core", outer).instance
    kept = ComposeCommand(instance, Address("unix:///engine.sock", "test"), outer).environment()
    assert set(kept) == {"NO_PROXY", "HOME", "PATH"}


def test_programs_are_found_where_cron_does_not_look(tmp_path: Path):
    """Its PATH is /usr/bin:/bin, and it may have none at all."""
    assert "/usr/local/bin" in command(tmp_path).environment()["PATH"].split(os.pathsep)
    kept = command(tmp_path, {"PATH": "/mine:/usr/bin"}).environment()["PATH"]
    assert kept.startswith("/mine:/usr/bin:")
    assert command(tmp_path).environment()["HOME"]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], []),
        (["docker-compose.yml"], ["docker-compose.yml"]),
        (["docker-compose.yml", "compose.yaml"], ["compose.yaml"]),
        (
            ["docker-compose.yml", "docker-compose.override.yml"],
            ["docker-compose.yml", "docker-compose.override.yml"],
        ),
    ],
)
def test_files_are_found_by_composes_own_rules(tmp_path: Path, there: list, expected: list):
    """The instance names none: Compose looks itself, and so do we for the order."""
    for name in there:
        (tmp_path / name).touch()
    assert [path.name for path in command(tmp_path).files()] == expected


def test_compose_file_names_the_files(tmp_path: Path):
    """From the env file or the shell; the instance's own `files` win."""
    outer = {"COMPOSE_FILE": "a.yml:b.yml"}
    assert [path.name for path in command(tmp_path, outer).files()] == ["a.yml", "b.yml"]
    own = command(tmp_path, outer, files=(Path("c.yml"),))
    assert own.files() == (tmp_path / "c.yml",)
    assert "COMPOSE_FILE" not in own.environment()


def test_profiles_come_from_the_instance_and_from_composes_variable(tmp_path: Path):
    """Both count."""
    found = command(tmp_path, environment={"COMPOSE_PROFILES": "a, b"}, profiles=("c",))
    assert found.profiles() == {"a", "b", "c"}


def test_both_env_files_are_passed_the_instances_last(tmp_path: Path):
    """The later one wins; the shared one only where it is."""
    own = tmp_path / "core.env"
    assert command(tmp_path, env_file=own).env_files() == (own,)
    (tmp_path / ".env").touch()
    assert command(tmp_path, env_file=own).env_files() == (tmp_path / ".env", own)
    assert command(tmp_path, env_file=tmp_path / ".env").env_files() == (tmp_path / ".env",)


def test_the_command_line_names_engine_project_and_files(tmp_path: Path):
    """And no value of the env file is in it."""
    outer = fake_docker(
        tmp_path, 'case "$*" in *--short) echo 2.26.1-4;; *) printf "%s\\n" "$@";; esac'
    )
    made = command(
        tmp_path,
        outer,
        project="core",
        files=(Path("a.yml"),),
        env_file=tmp_path / "core.env",
        environment={"PASSWORD": "s3cret"},
    )
    said = made.run("up", "--detach", "web").stdout.decode().split("\n")
    assert said[:3] == ["--host", "unix:///engine.sock", "compose"]
    joined = " ".join(said)
    assert f"--file {tmp_path}/a.yml --env-file {tmp_path}/core.env up --detach web" in joined
    assert f"--project-name core --project-directory {tmp_path}" in joined
    assert "s3cret" not in joined


def test_what_compose_says_is_told_without_secrets(tmp_path: Path):
    """Its stderr becomes details; values of the env file are blotted out."""
    outer = fake_docker(
        tmp_path, 'case "$*" in *--short) echo v2.30.0;; *) echo no s3cret >&2; exit 17;; esac'
    )
    made = command(tmp_path, outer, environment={"DB_PASSWORD": "s3cret"})
    with pytest.raises(QuiesceError, match="docker compose up failed with exit code 17") as caught:
        made.run("up")
    assert caught.value.details == ("no ***",)


@pytest.mark.parametrize(
    ("script", "fact"),
    [
        ("echo \"docker: 'compose' is not a docker command\" >&2; exit 1", "no Compose plugin"),
        ("echo 1.29.2", "docker compose is version 1.29.2, but version 2 or newer is needed"),
    ],
)
def test_compose_must_be_there_in_version_2(tmp_path: Path, script: str, fact: str):
    """Said before anything is done, with what to install."""
    with pytest.raises(RequestError, match=fact) as caught:
        command(tmp_path, fake_docker(tmp_path, script)).run("up")
    assert caught.value.hint.startswith("install Docker's command line")


def test_a_machine_without_docker_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No traceback about a missing file."""
    monkeypatch.setattr("quiesce.adapters.compose.cli.MORE_PATH", ())
    with pytest.raises(RequestError, match="the program docker is not on") as caught:
        command(tmp_path, {"PATH": str(tmp_path)}).run("up")
    assert caught.value.hint.startswith("install Docker's command line")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("POSTGRES_PASSWORD", "postgres", True),
        ("DATABASE_URL", "postgres://a:b@c/d", True),
        ("API_KEY", "abcd", True),
        ("POSTGRES_PORT", "5432", False),
        ("TOKEN", "abc", False),
    ],
)
def test_names_tell_what_is_secret(name: str, value: str, expected: bool):
    """Very short values are left: blotting them out would make nonsense of everything."""
    assert is_secret(name, value) is expected
