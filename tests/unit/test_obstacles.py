"""What the careful load and the search for obstacles read from texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from quiesce.adapters.postgres.check_constraints import called_in
from quiesce.adapters.postgres.client_args import refused_by_server
from quiesce.adapters.postgres.errors import SessionError
from quiesce.adapters.postgres.load_by_statement import Deviations, statements_of
from quiesce.adapters.postgres.obstacles import _short_names_in
from quiesce.adapters.postgres.search_path import path_of
from quiesce.errors import NotRestorable
from quiesce.obstacles import Obstacle, flag_for
from quiesce.plan.steps import LoadDump

BODY = """CREATE FUNCTION public.f(x integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT CASE WHEN x = 1 THEN CASE 'END;' WHEN 'a' THEN 1 ELSE 2 END ELSE 3 END;
 SELECT 2;
END"""
SCRIPT = f"""--
-- PostgreSQL database dump
--
\\restrict abc

SET check_function_bodies = false;
{BODY};
CREATE FUNCTION public.g() RETURNS text
    LANGUAGE sql
    AS $$ SELECT 'BEGIN ATOMIC; ' $$;
ALTER TABLE ONLY public.t
    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES public.p(id);
\\unrestrict abc
"""


def test_a_function_with_a_body_in_sql_is_one_statement(tmp_path: Path) -> None:
    """Its semicolons end nothing."""
    script = tmp_path / "post.sql"
    script.write_text(SCRIPT.replace("\\\\", "\\"))
    found = [statement.decode() for statement in statements_of(script)]
    assert [text.split()[0] for text in found] == ["SET", "CREATE", "CREATE", "ALTER"]
    assert found[1] == BODY


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("SELECT 1 FROM kind", ["select", "from", "kind"]),
        ("SELECT 1 FROM public.kind", ["select", "from"]),
        ("-- kind\n/* kind */ 'kind'", []),
        ('"Kind" "a""b"', ["Kind", 'a"b']),
        ("k.id = Kind.id", []),
    ],
)
def test_names_without_their_schema(body: str, names: list[str]) -> None:
    """What has a point before or after it is qualified, or qualifies."""
    assert [name for name in _short_names_in(body) if name != "id"] == names


def test_what_an_expression_calls() -> None:
    """As the catalog writes it."""
    assert called_in("{OPEXPR :opno 521 :opfuncid 147} {FUNCEXPR :funcid 16400 :args}") == [
        147,
        16400,
    ]


def test_a_path_is_quoted_and_has_each_schema_once() -> None:
    """An empty one is an empty text, not nothing."""
    assert path_of(["a", 'b"c', "a"]) == '"a", "b""c"'
    assert path_of([]) == "''"


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ('pg_restore: error: COPY failed for table "a": ERROR:  new row violates', True),
        ("pg_restore: error: could not execute query: ERROR:  relation", True),
        ("pg_restore: error: could not execute query: ERROR:  out of shared memory", False),
        ('COPY failed for table "a": ERROR: could not extend file: No space left', False),
        ("pg_restore: error: could not read from input file: end of file", False),
    ],
)
def test_what_the_server_refused(line: str, refused: bool) -> None:
    """Only what is the dump's own is tried again."""
    assert refused_by_server((line,)) == refused


def test_everything_in_the_way_is_named_at_once_with_its_flags() -> None:
    """And what is allowed is no problem, but is said."""
    deviations = Deviations(not_valid=False, skip_broken=True)
    deviations.constraint(
        "foreign key k of t", SessionError("database x: broken", details=("Key 2",))
    )
    deviations.constraint("check c of t", SessionError("database x: violated"))
    deviations.entry("INDEX i", SessionError("database x: duplicate"))
    assert deviations.done == ["left out: INDEX i: duplicate"]
    with pytest.raises(NotRestorable) as caught:
        deviations.require("the dump of x")
    assert caught.value.fact == (
        "the dump of x is complete; this prevents its restore: foreign key k of t: broken; Key 2"
    )
    assert caught.value.details == ("check c of t: violated",)
    assert "--not-valid --skip-broken" in caught.value.hint


def test_a_plan_says_what_is_allowed() -> None:
    """In the step that may do it."""
    step = LoadDump("s", "a", "a_new", "a.dump", not_valid=True, skip_broken=True, why="asked")
    assert step.sentence().endswith(", broken constraints NOT VALID and broken entries left out")


@pytest.mark.parametrize(
    ("obstacle", "version", "flag"),
    [
        (Obstacle("names", "x"), "17.2", ""),
        (Obstacle("check", "x", ("a", "b", "c")), "17.2", "--not-valid"),
        (Obstacle("orphans", "x", ("a", "b", "c")), "9.6.24", "--not-valid"),
        (Obstacle("orphans", "x", ("a", "b", "c"), partitioned=True), "17.2", "--skip-broken"),
        (Obstacle("orphans", "x", ("a", "b", "c"), partitioned=True), "18.0", "--not-valid"),
    ],
)
def test_an_obstacle_says_which_flag_it_needs(obstacle: Obstacle, version: str, flag: str) -> None:
    """PostgreSQL before 18 has no NOT VALID foreign keys of partitioned tables."""
    assert flag_for(obstacle, version) == flag
