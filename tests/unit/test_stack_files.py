"""Which files of a stack's definition a set keeps, and that no secret is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from quiesce.adapters.compose import stack_files
from quiesce.adapters.compose.stack_files import Collector

COMPOSE = """\
# How this stack is run.
include:
  - more/other.yaml
  - {path: [third.yaml], env_file: third.env}
services:
  web:
    image: web:1
    env_file: [web.env, {path: late.env}]
    extends: {file: base.yaml, service: base}
    environment: {PASSWORD: "${PASSWORD}"}
secrets:
  token: {file: ./token.txt}
configs:
  site: {file: ./site.conf}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stack's folder with all that its Compose file names."""
    made = tmp_path / "stack"
    (made / "more").mkdir(parents=True)
    (made / "compose.yaml").write_text(COMPOSE)
    (made / "more/other.yaml").write_text("services: {o: {image: o, extends: {service: x}}}\n")
    (made / "third.yaml").write_text("services: {t: {image: t, command: run --pw hunter2}}\n")
    (made / "base.yaml").write_text("services: {base: {image: b, ports: !reset []}}\n")
    for name in ("web.env", "late.env", "third.env", "token.txt"):
        (made / name).write_text("TOKEN=hunter2\n")
    (made / "site.conf").write_text("listen 80;\n")
    return made


def collected(folder: Path, *mounted: Path, secrets: tuple[str, ...] = ("hunter2",)) -> Collector:
    """What is collected of the stack in this folder."""
    made = Collector(folder, secrets, [folder / "backups"])
    made.compose_file(folder / "compose.yaml")
    for path in mounted:
        made.file(path)
    return made


def test_compose_files_are_kept_with_those_that_they_name(folder: Path) -> None:
    """As they are, comments too; one with a literal that may be a secret without it."""
    made = collected(folder)
    assert made.kept["compose.yaml"] == COMPOSE.encode()
    assert set(made.kept) == {
        "compose.yaml",
        "more/other.yaml",
        "third.yaml",
        "base.yaml",
        "site.conf",
    }
    assert b"hunter2" not in b"".join(made.kept.values())
    assert b"image: t" in made.kept["third.yaml"]
    assert made.left_out == {
        "third.yaml": "kept with literals that may be secrets replaced",
        "web.env": "an env file",
        "late.env": "an env file",
        "third.env": "an env file",
        "token.txt": "a secret",
    }


def test_a_comment_with_a_former_secret_is_not_kept(folder: Path) -> None:
    """The file is then kept without comments."""
    (folder / "compose.yaml").write_text("# DB_PASSWORD: old-one\nservices: {a: {image: a}}\n")
    made = collected(folder)
    assert b"old-one" not in made.kept["compose.yaml"]
    assert b"image: a" in made.kept["compose.yaml"]


def test_of_an_env_file_only_the_names_are_kept(folder: Path) -> None:
    """So that one knows what to define."""
    made = collected(folder)
    made.env_file(folder / ".env")
    files = made.result({"PASSWORD", "A"})
    assert files.kept["variables.txt"] == b"A\nPASSWORD\n"
    assert ".env" in {entry.file for entry in files.left_out}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("tls.key", b"x", "its name is that of a secret"),
        ("admin-password", b"x", "its name is that of a secret"),
        ("prod.env", b"x", "its name is that of a secret"),
        ("app.yml", b"password: hunter2", "it contains a secret"),
        ("app.pub", b"-----BEGIN RSA PRIVATE KEY-----", "it contains a secret"),
        ("app.db", b"SQLite format 3\0rest", "a SQLite database"),
        ("large", b"x" * (stack_files.LARGEST + 1), "it is larger than 1 MiB"),
        ("a\nb", b"x", "its name has special characters"),
    ],
)
def test_what_may_be_secret_or_data_is_left_out_and_named(
    folder: Path, name: str, content: bytes, why: str
) -> None:
    """By its name or its content."""
    (folder / name).write_bytes(content)
    made = collected(folder, folder / name)
    assert name not in made.kept
    assert made.left_out[name].startswith(why)


def test_a_single_file_that_a_service_mounts_is_kept(folder: Path) -> None:
    """Other things than files are not, nor what is elsewhere on the machine."""
    (folder / "config.yml").write_text("answer: 42\n")
    (folder / "backups").mkdir()
    (folder / "backups/mine").write_text("x")
    (folder / "link").symlink_to("/etc/hostname")
    others = (folder / "backups/mine", folder / "link", Path("/etc/hostname"), folder / "absent")
    made = collected(folder, folder / "config.yml", *others)
    assert made.kept["config.yml"] == b"answer: 42\n"
    assert set(made.kept) == {*collected(folder).kept, "config.yml"}
    assert made.left_out[str(folder / "link")] == "a link out of the stack's folder"
