"""What a `--file` may say, and which set or file it means."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.app import set_ref
from quiesce.app.session import Options, Session
from quiesce.commands import drill as drill_verb
from quiesce.commands import offsite as offsite_verbs
from quiesce.commands import restore as restore_verb
from quiesce.commands.verify import run_verify
from quiesce.errors import CheckFailed, Refused, RequestError
from quiesce.model import BackupSet, OffsiteSet, OffsiteStore
from quiesce.plan import offsite
from quiesce.plan.restore_request import RestoreRequest
from quiesce.plan.set_ref import SetRef
from quiesce.report import make_reporter
from tests.support.builders import NOW, a_set, a_stack
from tests.support.sets import publish_a_set

STORES = ("away", "nas")
NAME = "core-20261121-020000"

FORMS = {
    "latest": SetRef(),
    "latest:": SetRef(),
    "latest:full": SetRef(narrowed="full"),
    "latest:data": SetRef(narrowed="data"),
    "latest:schema": SetRef(narrowed="schema"),
    "latest:safety": SetRef(narrowed="safety"),
    "latest:backend-media": SetRef(narrowed="backend-media"),
    NAME: SetRef(NAME),
    f"backups/{NAME}": SetRef(f"backups/{NAME}"),
    f"/srv/{NAME}/": SetRef(f"/srv/{NAME}/"),
    "dump.sql": SetRef("dump.sql"),
    "./latest": SetRef("./latest"),
    "./away:latest": SetRef("./away:latest"),
    "Latest": SetRef("Latest"),
    "latest-of-all": SetRef("latest-of-all"),
    "away:": SetRef(store="away"),
    "away:latest": SetRef(store="away"),
    "away:latest:data": SetRef(narrowed="data", store="away"),
    "nas:latest:safety": SetRef(narrowed="safety", store="nas"),
    f"nas:{NAME}": SetRef(NAME, store="nas"),
    # Only one store, and only a declared one.
    f"away:nas:{NAME}": SetRef(f"nas:{NAME}", store="away"),
    f"elsewhere:{NAME}": SetRef(f"elsewhere:{NAME}"),
    "C:latest": SetRef("C:latest"),
    "away": SetRef("away"),
}


# ------------------------------------------------------------------------------------ the grammar


@pytest.mark.parametrize("text", FORMS)
def test_each_form_is_read_in_one_way(text: str) -> None:
    """Where these two stores are declared."""
    assert SetRef.parse(text, STORES) == FORMS[text]


@pytest.mark.parametrize("text", ["", " ", "\t", "away: "])
def test_what_names_nothing_is_refused(text: str) -> None:
    """An empty variable in a script must not mean the working directory."""
    with pytest.raises(RequestError, match="--file names no set") as caught:
        SetRef.parse(text, STORES)
    assert caught.value.hint == "give a set's name, a path, or latest"


@pytest.mark.parametrize("text", FORMS)
def test_what_is_written_again_means_the_same(text: str) -> None:
    """`inv pull --store` is given the part behind the store."""
    ref = FORMS[text]
    assert SetRef.parse(str(ref), STORES) == ref
    assert SetRef.parse(ref.without_store) == replace(ref, store="")
    assert ref.is_latest is (ref.name == "")


def test_without_stores_a_prefix_is_part_of_the_name() -> None:
    """So `pull --store away` asks that store for just this name."""
    assert SetRef.parse(f"away:{NAME}") == SetRef(f"away:{NAME}")


def test_a_store_that_is_called_latest_is_a_store() -> None:
    """What somebody declared counts."""
    assert SetRef.parse("latest:data", ["latest"]) == SetRef("data", store="latest")
    assert SetRef.parse("latest", ["latest"]) == SetRef()


@pytest.mark.parametrize(
    ("text", "part"),
    [("latest", ""), (NAME, NAME), (f"/a/{NAME}/", NAME), (f"b/{NAME}", NAME), ("..", "..")],
)
def test_the_last_part_of_a_path_may_be_a_sets_name(text: str, part: str) -> None:
    """For what looks for that name elsewhere."""
    assert SetRef.parse(text).last_part == part


@pytest.mark.parametrize(
    ("narrowed", "words"),
    [
        ("", "full set"),
        ("full", "full set"),
        ("data", "data set"),
        ("safety", "safety set"),
        ("media", "full set with media"),
    ],
)
def test_messages_say_what_was_looked_for(narrowed: str, words: str) -> None:
    """In the terms of the glossary."""
    assert SetRef(narrowed=narrowed).words == words


@pytest.mark.parametrize(
    ("narrowed", "fitting"),
    [
        ("", {"full", "other"}),
        ("full", {"full", "other"}),
        ("data", {"data"}),
        ("schema", {"schema"}),
        ("safety", {"safety", "safety data"}),
        ("media", {"full"}),
        ("rulesdb", set()),
    ],
)
def test_latest_is_the_newest_of_those_that_fit(narrowed: str, fitting: set[str]) -> None:
    """A database or volume is looked for in full sets, and safety sets only by that word."""
    ref = SetRef(narrowed=narrowed)
    found = {
        name
        for name, kind, sources, safety in (
            ("full", "full", ("media",), False),
            ("other", "full", ("static",), False),
            ("data", "data", ("rulesdb",), False),
            ("schema", "schema", ("rulesdb",), False),
            ("safety", "full", ("media",), True),
            ("safety data", "data", ("rulesdb",), True),
        )
        if ref.fits(kind, sources, safety=safety)  # type: ignore[arg-type]
    }
    assert found == fitting


# ------------------------------------------------------------------------------------------- here


def aged(name: str, days: float, **fields: Any) -> BackupSet:
    """A set made so many days before `NOW`."""
    return a_set(name, created_at=NOW - timedelta(days=days), **fields)


SETS = (
    aged("core-20261110-020000", 10),
    aged("core-20261111-020000", 9, databases=("rulesdb",), volumes=()),
    aged("core-20261112-020000", 8, kind="data"),
    aged("core-20261113-020000", 7, kind="schema"),
    aged("core-20261114-020000-safety", 6, safety=True),
    aged("other-20261115-020000", 5, instance="other"),
)


def resolved(text: str, sets: Sequence[BackupSet] = SETS, **given: Any) -> str:
    """The name of the set that is meant."""
    stack = a_stack(stores=(OffsiteStore("away", "file:///away"),))
    return set_ref.resolve(stack, sets, set_ref.parse(stack, text), **given).name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("latest", "core-20261111-020000"),
        ("latest:rulesdb", "core-20261111-020000"),
        ("latest:memorydb", "core-20261110-020000"),
        ("latest:backend-media", "core-20261110-020000"),
        ("latest:data", "core-20261112-020000"),
        ("latest:schema", "core-20261113-020000"),
        ("latest:safety", "core-20261114-020000-safety"),
        ("core-20261110-020000", "core-20261110-020000"),
    ],
)
def test_every_form_finds_its_set(text: str, name: str) -> None:
    """Of this instance alone."""
    assert resolved(text) == name


def test_the_newest_counts_and_of_one_second_the_last_by_name() -> None:
    """In whatever order they are listed."""
    twins = (aged("core-20261120-020000-2", 1), aged("core-20261120-020000", 1))
    assert resolved("latest", (*twins, *SETS)) == "core-20261120-020000-2"


def test_another_instance_is_meant_only_by_its_name() -> None:
    """`--from-instance` says so."""
    assert resolved("latest", other="other") == "other-20261115-020000"
    assert resolved("other-20261115-020000", other="other") == "other-20261115-020000"
    with pytest.raises(RequestError, match="is a set of instance other") as caught:
        resolved("other-20261115-020000")
    assert "--from-instance other" in caught.value.hint
    with pytest.raises(RequestError, match="is a set of instance core"):
        resolved("core-20261110-020000", other="other")


@pytest.mark.parametrize(
    ("text", "fact", "hint"),
    [
        ("latest:nothing", "core has no full set with nothing yet", "run 'inv backups'"),
        ("core-20261110-020001", "there is no set core-20261110-020001", "core-20261110-020000"),
        ("zzz", "there is no set zzz", "the newest set is core-20261113-020000; run 'inv backups'"),
        ("core-20200101-000000", "there is no set core-20200101-000000", "core-2026"),
        (f"elsewhere:{NAME}", f"there is no set elsewhere:{NAME}", ""),
        (
            f"away:{NAME}",
            f"away:{NAME} is in a store",
            f"download it first: inv pull --store away --file {NAME}",
        ),
        (
            "away:",
            "away:latest is in a store",
            "download it first: inv pull --store away --file latest",
        ),
    ],
)
def test_what_is_not_there_is_said(text: str, fact: str, hint: str) -> None:
    """With the way to go on."""
    with pytest.raises(RequestError) as caught:
        resolved(text)
    assert caught.value.fact == fact
    assert hint in caught.value.hint


def test_a_path_counts_from_here_and_then_from_backups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of a set, wherever it is; what is no set is refused."""
    here, stack = tmp_path / "here", a_stack(tmp_path)
    there = LocalStore(tmp_path / "elsewhere")
    made = publish_a_set(there)
    here.mkdir()
    monkeypatch.chdir(here)

    def found(text: str) -> Path:
        return set_ref.resolve(stack, (), SetRef.parse(text)).path

    assert found(str(made.path)) == made.path
    assert found(f"../elsewhere/{made.name}/") == made.path
    stack.backups.mkdir()
    made.path.rename(stack.backups / made.name)
    assert found(made.name) == stack.backups / made.name
    with pytest.raises(RequestError, match="is not a backup set"):
        found("../here")


def test_a_word_is_no_path_and_a_path_may_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file called `latest:safety` must not be what `undo-restore` restores."""
    stack = a_stack(tmp_path, stores=(OffsiteStore("away", "file:///away"),))
    monkeypatch.chdir(tmp_path)
    stack.backups.mkdir()
    for name in ("latest", "latest:safety", "away:dump.sql", "dump.sql", "backups/old.sql"):
        (tmp_path / name).write_text("")

    def file(text: str) -> Path | None:
        return set_ref.single_file(stack, set_ref.parse(stack, text))

    assert [file(word) for word in ("latest", "latest:safety", "away:dump.sql")] == [None] * 3
    assert file("./latest") == tmp_path / "latest"
    assert file("./away:dump.sql") == tmp_path / "away:dump.sql"
    assert file("dump.sql") == tmp_path / "dump.sql"
    assert file("old.sql") == stack.backups / "old.sql"
    assert file("backups") is None
    assert file("absent.sql") is None


def test_where_there_is_no_set_nothing_is_asked() -> None:
    """Sets of other instances do not count, unless theirs are meant."""
    assert set_ref.require_any(a_stack(), SETS, "other") == [SETS[-1]]
    assert set_ref.require_any(a_stack(), SETS, None) == list(SETS[:-1])
    with pytest.raises(RequestError, match="there is no backup set yet"):
        set_ref.require_any(a_stack(), SETS[-1:], None)


# ------------------------------------------------------------------------------------- in a store


def stored(backup: BackupSet, **fields: object) -> OffsiteSet:
    """The index of a set that was sent in the clear."""
    m = backup.manifest
    index = OffsiteSet(
        1, m.name, m.instance, m.created_at, m.kind, m.sources, False, "", (), safety=m.safety
    )
    return replace(index, **fields)  # type: ignore[arg-type]


def pulled(text: str, sets: Sequence[OffsiteSet]) -> str:
    """The set of a store that `inv pull` would bring."""
    return offsite.resolve(a_stack(), sets, SetRef.parse(text), "away").name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("latest", "core-20261111-020000"),
        ("latest:memorydb", "core-20261110-020000"),
        ("latest:data", "core-20261112-020000"),
        ("latest:safety", "core-20261114-020000-safety"),
        ("core-20261113-020000", "core-20261113-020000"),
    ],
)
def test_in_a_store_the_forms_mean_the_same(text: str, name: str) -> None:
    """As far as its index says what a set holds."""
    assert pulled(text, [stored(s) for s in SETS[:-1]]) == name


def test_what_an_encrypted_set_holds_is_not_known_in_a_store() -> None:
    """Its kind is."""
    sets = [stored(s, encryption="age", contents=("0123abcd",)) for s in SETS[:-1]]
    assert pulled("latest", sets) == "core-20261111-020000"
    with pytest.raises(RequestError) as caught:
        pulled("latest:rulesdb", sets)
    assert caught.value.fact == "store away contains no full set with rulesdb of core"
    assert caught.value.hint == "list its sets with 'inv backups --store away'"


def test_a_name_that_a_store_lacks_is_said_with_the_nearest() -> None:
    """And an empty store is called empty."""
    with pytest.raises(RequestError, match="away contains no set core-20261110-020001") as error:
        pulled("core-20261110-020001", [stored(SETS[0])])
    assert error.value.hint == "did you mean 'core-20261110-020000'?"
    with pytest.raises(RequestError) as error:
        pulled(NAME, [])
    assert error.value.hint == "it is empty"


# ----------------------------------------------------------------------------- through the verbs


def a_session(folder: Path, answer: str = "") -> Session:
    """A session of a stack with one store, and with this on its stdin."""
    stack = a_stack(folder, stores=(OffsiteStore("away", f"file://{folder}/away"),))
    reporter = make_reporter(
        task="restore",
        json=False,
        stdout=io.StringIO(),
        stderr=io.StringIO(),
        stdin=io.StringIO(answer),
        environ={},
    )
    return Session(stack, reporter, Options(environ={}))


@pytest.mark.parametrize(
    ("file", "asked", "here"),
    [
        (None, None, None),
        ("latest:data", None, "latest:data"),
        (f"nowhere:{NAME}", None, f"nowhere:{NAME}"),
        (f"away:{NAME}", NAME, NAME),
        ("away:", "latest", NAME),
        ("away:latest:data", "latest:data", NAME),
    ],
)
def test_restore_pulls_what_is_in_a_store(
    file: str | None,
    asked: str | None,
    here: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And goes on with the name of the set that came."""
    calls = []
    session = a_session(tmp_path)

    def pull(session: Session, file: str, store: str | None) -> str:
        calls.append((file, store))
        publish_a_set(LocalStore(session.stack.backups))
        return NAME

    monkeypatch.setattr(offsite_verbs, "run_pull", pull)
    assert offsite_verbs.pull_if_needed(session, file) == here
    assert calls == ([(asked, "away")] if asked else [])


def test_the_answer_to_a_question_has_the_same_grammar(tmp_path: Path) -> None:
    """And the same errors."""
    publish_a_set(LocalStore(tmp_path / "backups"))

    def answered(text: str) -> RequestError:
        with pytest.raises(RequestError) as caught:
            restore_verb.run_restore(a_session(tmp_path, text), None, RestoreRequest())
        return caught.value

    assert answered("latest:safety\n").fact == "core has no safety set yet"
    assert answered("away:latest\n").fact == "away:latest is in a store"
    with pytest.raises(Refused):
        restore_verb.run_restore(a_session(tmp_path, "\n"), None, RestoreRequest())


def test_a_damaged_set_is_known_by_its_path_too(tmp_path: Path) -> None:
    """`verify` then says damaged, and not that there is none."""
    session = a_session(tmp_path)
    made = publish_a_set(LocalStore(session.stack.backups))
    (made.path / "manifest.json").write_text("{")
    for file in (made.name, str(made.path), f"{made.path}/"):
        with pytest.raises(CheckFailed, match=f"{made.name} is damaged"):
            run_verify(session, file, everything=False, deep=False)


def test_a_drill_restores_the_set_that_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is outside of `backups/`."""
    session = a_session(tmp_path / "stack")
    made = publish_a_set(LocalStore(tmp_path / "elsewhere"))
    restored = []
    monkeypatch.setattr(drill_verb, "_session_of", lambda session, made: session)
    monkeypatch.setattr(drill_verb, "_write_marks", lambda copy, folder: None)
    monkeypatch.setattr(
        drill_verb, "_recover_into", lambda session, copy, source: restored.append(source)
    )
    source = drill_verb._source(session, "setup", str(made.path))
    assert source is not None
    copy: Any = SimpleNamespace(folder=tmp_path)
    drill_verb._set_up(session, copy, source, drill_verb.Figures())
    assert restored == [made.path]
    assert drill_verb._source(session, "verify", str(made.path)) is None
