"""The pure parts of the PostgreSQL adapter: arguments, settings, archives, names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.adapters.migrations import History
from quiesce.adapters.postgres.client import inside
from quiesce.adapters.postgres.client_args import (
    client_environment,
    decode_arguments,
    dump_arguments,
    globals_arguments,
    lacks_zstd,
    load_arguments,
)
from quiesce.adapters.postgres.dump_toc import read_archive
from quiesce.adapters.postgres.session import identifier, literal, version_text
from quiesce.adapters.postgres.settings import _names, retarget
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database, Secret

NAMES = st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text)


def a_database(**changes: object) -> Database:
    """A declared database with a password."""
    values: dict[str, object] = {
        "key": "rulesdb", "name": "rulesdb", "service": "db", "user": "u", "port": 5433,
        "password": Secret("geheim"), "migrations": None,
    }  # fmt: skip
    return Database(**{**values, **changes})  # type: ignore[arg-type]


def test_a_dump_is_asked_for_as_written_here() -> None:
    """The whole command, so that a change of it is seen."""
    assert dump_arguments("full", "databases/x.dump.partial", "0003-1", "zstd:1") == (
        "pg_dump",
        "--format=custom",
        "--compress=zstd:1",
        "--snapshot=0003-1",
        "--lock-wait-timeout=10000",
        "--no-password",
        "--file={directory}/databases/x.dump.partial",
    )
    assert "--data-only" in dump_arguments("data", "x", "s", "1")
    assert "--schema-only" in dump_arguments("schema", "x", "s", "1")


def test_a_load_stops_at_the_first_error_and_names_no_database() -> None:
    """The database comes from the environment, where no name is taken for anything else."""
    assert load_arguments("x.dump", 4) == (
        "pg_restore",
        "--exit-on-error",
        "--jobs=4",
        "--no-password",
        "--dbname=host=127.0.0.1",
        "{directory}/x.dump",
    )


def test_roles_are_dumped_without_passwords() -> None:
    """Hashes are secrets, too."""
    assert "--no-role-passwords" in globals_arguments("globals.sql", with_passwords=False)
    assert decode_arguments("x")[1] == "--file=/dev/null"


@pytest.mark.parametrize("name", ["x", "host=evil port=1", "postgresql://evil/x", "-d evil"])
def test_names_and_passwords_travel_in_the_environment(name: str) -> None:
    """Literally, whatever they look like."""
    environment = client_environment(a_database(), name, "r-ab12", 180000)
    assert environment["PGDATABASE"] == name
    assert environment["PGPASSWORD"] == "geheim"
    assert environment["PGAPPNAME"] == "quiesce:r-ab12"
    assert (environment["PGHOST"], environment["PGPORT"]) == ("127.0.0.1", "5433")
    assert "PGPASSWORD" not in client_environment(a_database(password=None), name, "r", 180000)


def test_a_server_is_not_told_settings_it_does_not_know() -> None:
    """It would refuse the session."""
    told = {
        major: client_environment(a_database(), "x", "r", major * 10000)["PGOPTIONS"].split()
        for major in (13, 14, 17)
    }
    assert "idle_session_timeout=0" not in told[13]
    assert "idle_session_timeout=0" in told[14]
    assert "transaction_timeout=0" not in told[14]
    assert "transaction_timeout=0" in told[17]


def test_only_a_missing_zstd_is_a_missing_zstd() -> None:
    """Any other failure of a dump is a failure, not a reason to try again."""
    assert lacks_zstd(("pg_dump: error: this build does not support compression with ZSTD",))
    assert not lacks_zstd(("pg_dump: error: could not write: No space left on device",))
    assert not lacks_zstd(())


@given(NAMES, NAMES, NAMES)
def test_a_setting_is_retargeted_at_its_database_and_nowhere_else(
    old: str, new: str, text: str
) -> None:
    """Even when the value or the role looks like the database's name, or like SQL."""
    for form in (
        "ALTER DATABASE {d} SET {n} TO {t}, {t}",
        "ALTER ROLE {n} IN DATABASE {d} SET {n} TO {t}",
        "GRANT CONNECT ON DATABASE {d} TO {n} WITH GRANT OPTION",
        "REVOKE ALL ON DATABASE {d} FROM {n}",
        "COMMENT ON DATABASE {d} IS {t}",
        "ALTER DATABASE {d} CONNECTION LIMIT 5",
    ):
        before = form.format(d=identifier(old), n=identifier(text), t=literal(text))
        after = form.format(d=identifier(new), n=identifier(text), t=literal(text))
        assert retarget(before, new) == after


@pytest.mark.parametrize(
    "statement",
    [
        "DROP DATABASE x",
        'ALTER DATABASE "x" OWNER TO "y"',
        'ALTER DATABASE "x" SET "a" TO \'1\'; DROP TABLE t',
        'ALTER DATABASE "x" SET "a" TO \'1\' --',
        'GRANT CONNECT ON DATABASE "x" TO "y", "z"',
        "COMMENT ON DATABASE \"x\" IS 'a' || 'b'",
        "ALTER DATABASE x SET a TO '1'",
        "",
    ],
)
def test_no_other_statement_passes(statement: str) -> None:
    """A set may have been forged."""
    with pytest.raises(QuiesceError, match="unknown form"):
        retarget(statement, "new")


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_a_stored_list_of_names_is_split_where_its_commas_are(names: list[str]) -> None:
    """`search_path` is stored as one text, but set as several."""
    assert list(_names(", ".join(identifier(name) for name in names))) == names


def test_an_empty_search_path_stays_empty() -> None:
    """It is stored as a pair of quotes."""
    assert list(_names('""')) == [""]
    assert list(_names('"$user", public')) == ["$user", "public"]


@pytest.mark.parametrize("text", ["a\0b"])
def test_a_nul_is_refused(text: str) -> None:
    """The server would cut the statement there."""
    for quote in (identifier, literal):
        with pytest.raises(QuiesceError):
            quote(text)


def test_versions_read_as_people_write_them() -> None:
    """Since 10, two numbers."""
    assert version_text(150018) == "15.18"
    assert version_text(180006) == "18.6"


@given(st.binary(max_size=400), st.integers(12, 16))
def test_a_damaged_archive_is_refused_and_never_a_crash(content: bytes, minor: int) -> None:
    """Any bytes after a right beginning: an error that names the file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.dump"
        path.write_bytes(b"PGDMP" + bytes((1, minor, 0, 4, 8, 1)) + content)
        with pytest.raises(RequestError, match=r"x\.dump"):
            read_archive(path)
        path.write_bytes(content)
        with pytest.raises(RequestError):
            read_archive(path)


@pytest.mark.parametrize("file", ["../x", "/x", "a/../../x", "", "."])
def test_a_file_stays_in_its_folder(file: str, tmp_path: Path) -> None:
    """Names of members come from a manifest."""
    with pytest.raises(RequestError):
        inside(tmp_path, file)


def test_a_history_knows_what_comes_before() -> None:
    """Through merges and from several ends."""
    history = History(("d",), {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")})
    assert history.including(("b",)) == {"a", "b"}
    assert history.including(("d",)) == {"a", "b", "c", "d"}
    assert history.including(()) == frozenset()
