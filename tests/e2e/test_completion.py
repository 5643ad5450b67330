"""Completion in bash, zsh and fish, as the shells call it: of `quiesce`, `inv` and `./inv`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quiesce.app.completion import SHELLS, load_here, values_of
from tests.support.place import ONE_VOLUME

ROOT = Path(__file__).resolve().parents[2]
STACK = """\
version: 1
default_instance: local
instances:
  local: {runtime: host, retention: short}
  second: {runtime: host, retention: short}
services:
  db: {postgres: embedded, password: "${DB_PASSWORD}", port: 5999}
  web: {command: [sleep, '1000'], volumes: {media: MEDIA}}
databases:
  rules: {service: db, password: "${DB_PASSWORD}"}
  memory: {service: db, password: "${DB_PASSWORD}"}
volumes:
  media: {}
  cache: {backup: never}
retention:
  short: {keep_last: 50}
"""
#: Asks bash's own function for the candidates of a command line, split as bash splits it.
ASK = """\
source "$SCRIPT"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_quiesce_complete
printf '%s\\n' "${COMPREPLY[@]}"
"""
#: zsh completes only where somebody types: in a terminal of its own, in which what is offered goes
#: to a file instead of the screen.
ASK_ZSH = """\
zmodload zsh/zpty
found=$(mktemp)
zpty shell "zsh -f -i"
zpty -w shell "source $SCRIPT
compadd() {
    local -a all; builtin compadd -O all \"\\$@\"
    (( \\$#all )) && print -rl -- \\$^all > $found.new
}
_default() { : }
finish() { zle complete-word; mv $found.new $found.all 2>/dev/null || : > $found.all; exit }
zle -N finish
bindkey '^G' finish"
zpty -w -n shell "$LINE"$'\\a'
while [[ ! -e $found.all ]] && zpty -r shell line; do :; done
[[ ! -e $found.all ]] || cat $found.all
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a task of its own, a set, and the three commands."""
    made = tmp_path_factory.mktemp("completion")
    (made / "stack.yaml").write_text(STACK)
    (made / ".env").write_text("DB_PASSWORD=x\n")
    (made / "tasks.py").write_text(
        "from invoke import task\nfrom quiesce.menu import compose\n\n\n"
        "@task\ndef deploy(context, target='here'):\n    'Ours.'\n\n\n"
        "namespace = compose(globals())\n"
    )
    for name, module in (("quiesce", "quiesce"), ("inv", "invoke")):
        for place in (made / "bin" / name, *((made / name,) if name == "inv" else ())):
            place.parent.mkdir(exist_ok=True)
            place.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
            place.chmod(0o755)
    for shell in SHELLS:
        run = subprocess.run(
            [made / "bin" / "quiesce", "completion", "--shell", shell],
            cwd=made,
            env=environment(made),
            check=True,
            capture_output=True,
        )
        (made / f"script.{shell}").write_bytes(run.stdout)
    backup_set(made)
    return made


def backup_set(folder: Path) -> None:
    """Make one set, of a stack with no database."""
    stack = (folder / "stack.yaml").read_text()
    (folder / "stack.yaml").write_text(ONE_VOLUME)
    try:
        for call in ("up", "backup", "down"):
            program = [folder / "bin" / "quiesce", call]
            subprocess.run(program, cwd=folder, env=environment(folder), check=True)
    finally:
        (folder / "stack.yaml").write_text(stack)


def environment(folder: Path) -> dict[str, str]:
    """A shell's environment that finds the commands and not more."""
    path = f"{folder}/bin:/usr/bin:/bin"
    # argv[0] of `python -m invoke` is not `inv`; the module's is what counts.
    return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}


def offered(folder: Path, *words: str, shell: str = "bash") -> set[str]:
    """What a shell offers for the last of these words, each as what would stand there then."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    script = {
        "bash": (ASK, "bash", *words),
        "zsh": (ASK_ZSH,),
        "fish": ('source $SCRIPT; complete -C "$LINE"',),
    }[shell]
    done = subprocess.run(
        [program, *(("-f",) if shell == "zsh" else ()), "-c", *script],
        cwd=folder,
        env={
            **environment(folder),
            "SCRIPT": str(folder / f"script.{shell}"),
            "LINE": " ".join(words),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line.split("\t")[0] for line in done.stdout.replace("\r", "").split("\n") if line}


@pytest.mark.parametrize("program", ["quiesce", "inv", "./inv"])
def test_tasks_flags_and_values(folder: Path, program: str) -> None:
    """The same for the three; a task of one's own with `inv`."""
    every = offered(folder, program, "")
    assert {"backup", "backup-db", "backups", "init"} <= every
    assert ("deploy" in every) == (program != "quiesce")
    flags = offered(folder, program, "backup-db", "--d")
    assert flags == {"--data-only", "--database", "--debug", "--dry-run"}
    assert offered(folder, program, "status", "--instance", "=", "s") == {"second"}


def test_values_of_a_stack(folder: Path) -> None:
    """Databases and kept volumes, also as a list; sets; words; nothing for free text."""
    assert offered(folder, "quiesce", "backup", "--only", "") == {"rules", "memory", "media"}
    listed = offered(folder, "quiesce", "backup", "--only", "rules,m")
    assert listed == {"rules,media", "rules,memory"}
    sets = {path.parent.name for path in folder.glob("backups/*/manifest.json")}
    assert sets
    assert offered(folder, "quiesce", "restore", "--file", "") == {"latest", *sets}
    assert offered(folder, "quiesce", "backup", "--label", "") == set()
    assert "restore" in offered(folder, "quiesce", "backup", "--yes", "re")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_offer_the_same(folder: Path, shell: str) -> None:
    """Tasks, flags, and values of each kind, for all three commands."""
    for line in (
        ("quiesce", "rest"),
        ("inv", "dep"),
        ("./inv", "dep"),
        ("quiesce", "backup-db", "--d"),
        ("quiesce", "backup", "--yes", "re"),
        ("quiesce", "restore", "--file", ""),
        ("./inv", "status", "--instance", "s"),
    ):
        assert offered(folder, *line, shell=shell) == offered(folder, *line) != set(), line
    # These shells take --flag=value and the last one of a list as one word.
    whole = shell == "fish"
    assert offered(folder, "quiesce", "backup", "--only", "rules,m", shell=shell) == (
        {"rules,media", "rules,memory"} if whole else {"media", "memory"}
    )
    assert offered(folder, "quiesce", "status", "--instance=s", shell=shell) == (
        {"--instance=second"} if whole else {"second"}
    )


def test_a_shell_without_a_script_is_refused(folder: Path) -> None:
    """With the names of those that have one."""
    done = subprocess.run(
        [folder / "bin" / "quiesce", "completion", "--shell", "ksh"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no completion for ksh" in done.stderr
    assert "HINT: use bash, zsh or fish" in done.stderr


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("--database", ["rules", "memory"]),
        ("--instance", ["local", "second"]),
        ("--service", ["db", "web"]),
        ("--mode", ["consistent", "live", "cold"]),
        ("--store", []),
        ("--yes", None),
        ("--stack", None),
    ],
)
def test_each_flag_has_its_values(folder: Path, flag: str, values: list[str] | None) -> None:
    """None: it takes none, or a file."""
    assert values_of(flag, (), load_here(folder, {})) == values


def test_a_broken_stack_completes_tasks_all_the_same(folder: Path, tmp_path: Path) -> None:
    """And says nothing while somebody types."""
    for name in ("bin", "script.bash"):
        os.symlink(folder / name, tmp_path / name)
    (tmp_path / "stack.yaml").write_text("version: [")
    assert offered(tmp_path, "quiesce", "backup", "--only", "") == set()
    assert {"restore", "restart"} <= offered(tmp_path, "quiesce", "rest")
