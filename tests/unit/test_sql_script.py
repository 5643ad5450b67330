"""Somebody's SQL file, read before anything is done: what is let through and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.adapters.postgres import sql_reader
from quiesce.adapters.postgres.sql_allowlist import Refused, judge
from quiesce.errors import RequestError

END = "\n--\n-- PostgreSQL database dump complete\n--\n\n"
HEAD = "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"


def read(folder: Path, text: str | bytes, *, end: str = END) -> sql_reader.ScriptFacts:
    """The facts of a file with this text."""
    path = folder / "some.sql"
    path.write_bytes(text.encode() + end.encode() if isinstance(text, str) else text)
    return sql_reader.read_script(path, path.name)


def test_a_file_says_what_it_holds(tmp_path: Path) -> None:
    """Tables, rows, sequences, revision, roles and extensions; restrict lines are passed over."""
    facts = read(
        tmp_path,
        "\\restrict Abc1\n" + HEAD + "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;\n"
        "CREATE TABLE public.\"odd; name\" (id integer, t text DEFAULT E'it\\'s; $x$');\n"
        "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$ SELECT '; \\'; $_$;\n"
        "/* a /* nested; */ comment */\n"
        'COPY public."odd; name" (id, t) FROM stdin;\n1\t; DROP TABLE x; --\n2\t\\N\n\\.\n\n'
        "COPY public.alembic_version (version_num) FROM stdin;\na1\n\\.\n"
        "SELECT pg_catalog.setval('public.s', 7, true);\n"
        'GRANT SELECT ON TABLE public.t TO reader, "other one";\n'
        "\\unrestrict Abc1\n",
    )
    assert facts.has_schema
    assert [(r.schema, r.table, r.columns) for r in facts.rows] == [
        ("public", "odd; name", ("id", "t")),
        ("public", "alembic_version", ("version_num",)),
    ]
    assert facts.revision == ("a1",)
    assert [(s.name, s.last_value, s.is_called) for s in facts.sequences] == [("s", "7", True)]
    assert set(facts.roles) == {"reader", "other one"}
    assert set(facts.extensions) == {"vector"}


DAMAGED = {
    "cut in a row": ("COPY public.t (a) FROM stdin;\n1\n23", "cut off"),
    "cut in a text": ("CREATE TABLE t (a text DEFAULT 'x", "not terminated"),
    "cut in a body": ("CREATE FUNCTION f() AS $a$ x", "not terminated"),
    "cut in a comment": ("SELECT 1; /* x", "calls something|not terminated"),
    "cut in a statement": ("CREATE TABLE t (a int)", "middle of a statement"),
    "a zero byte": ("CREATE TABLE t (a\0 int);", "zero byte"),
    "a message": ("pg_dump: warning: circular foreign keys\nCREATE TABLE t (a int);", "message"),
    "a command for psql": ("CREATE TABLE t (a int);\n\\! touch /tmp/x\n", "psql command"),
    "a program": ("COPY t FROM PROGRAM 'id';", "file or program"),
    "a file of the server": ("COPY t TO '/tmp/x';", "file or program"),
    "a setting of the server": (
        "ALTER SYSTEM SET archive_command = 'x';",
        "outside of a single database",
    ),
    "a superuser": ("ALTER ROLE postgres PASSWORD 'x';", "outside of a single database"),
    "a role": ("CREATE ROLE x SUPERUSER;", "outside of a single database"),
    "a role given away": ("GRANT pg_execute_server_program TO x;", "grants one role"),
    "a call": ("SELECT pg_read_file('/etc/passwd');", "pg_dump does not call"),
    "a block": ("DO $$ BEGIN END $$;", "kind that is not loaded"),
    "another user": ("SET SESSION AUTHORIZATION postgres;", "setting that is not loaded"),
    "an extension that runs programs": ("CREATE EXTENSION plpython3u;", "creates the extension"),
    "old quoting": ("SET standard_conforming_strings = off;", "standard_conforming_strings off"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_damaged_or_dangerous_is_refused_with_its_line(tmp_path: Path, what: str) -> None:
    """Before anything of the file is run."""
    text, reason = DAMAGED[what]
    with pytest.raises(RequestError, match=reason) as caught:
        read(tmp_path, f"{HEAD}{text}")
    if what != "a zero byte":
        assert "line 3" in caught.value.fact or "line 4" in caught.value.fact
    assert caught.value.hint


WHOLE = {
    "empty": (b"", "is empty"),
    "UTF-16": ("CREATE TABLE t ();".encode("utf-16"), "UTF-16"),
    "CR LF": (b"--\r\n-- PostgreSQL\r\n" + END.encode(), "CR LF"),
    "no end": (b"CREATE TABLE t (a int);\n", "does not end like a file of pg_dump"),
    "a server": (b"-- PostgreSQL database cluster dump complete\n", "whole server"),
    "several databases": (b"--\n\\connect other\n" + END.encode(), "whole server"),
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_file_that_is_none_of_ours_is_named_for_what_it_is(tmp_path: Path, what: str) -> None:
    """What people really hand over."""
    content, reason = WHOLE[what]
    with pytest.raises(RequestError, match=reason):
        read(tmp_path, content)


def test_a_mark_of_utf_8_is_passed_over(tmp_path: Path) -> None:
    """Some editors put one in front."""
    assert read(tmp_path, b"\xef\xbb\xbf" + HEAD.encode() + b"CREATE TABLE t ();" + END.encode())


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=60)


@given(st.lists(texts, max_size=6))
def test_whatever_texts_hold_the_statements_are_the_same(values: list[str]) -> None:
    """Quotes, dollars, semicolons, backslashes and newlines in values end no statement."""
    import tempfile

    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.sql"
        body = "".join(f"INSERT INTO public.t VALUES ({text});\n" for text in quoted)
        path.write_text(HEAD + body + END, newline="\n")
        with sql_reader.opened(path) as view:
            found = [view[s.start : s.end] for s in sql_reader.statements(view)]
    assert found[2:] == [f"INSERT INTO public.t VALUES ({text})".encode() for text in quoted]


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE", "ALTER TABLE t ADD x int", "SET search_path = ''"]
)
def test_what_pg_dump_writes_is_let_through(statement: str) -> None:
    """The kinds, not the words."""
    assert judge(statement.encode(), 0).kind in ("schema", "run")
    with pytest.raises(Refused):
        judge(statement.replace("TABLE", "TABLESPACE").replace("SET ", "SET role_").encode(), 0)
