"""Users and grants of a MariaDB server: written with a set, and created where they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.mariadb.admin import MariaDbAdmin
from quiesce.errors import RequestError
from quiesce.model import Database
from tests.support.mariadb import LocalRuntime, MariaDbServer, new_database, shared_server
from tests.support.postgres import nothing

pytestmark = pytest.mark.mariadb

USERS = ("app@'%'", "other@localhost", "socket@localhost", "`od``d @`@'%'")
MAKE = """
CREATE ROLE reading;
CREATE USER app@'%' IDENTIFIED BY 'first' REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 5;
CREATE USER other@localhost IDENTIFIED BY 'x' ACCOUNT LOCK;
CREATE USER socket@localhost IDENTIFIED VIA unix_socket;
CREATE USER `od``d @`@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('q') OR unix_socket;
GRANT RELOAD ON *.* TO app@'%' WITH GRANT OPTION;
GRANT ALL ON `users\\_db`.* TO app@'%';
GRANT SELECT (i) ON users_db.t TO reading;
GRANT reading TO app@'%' WITH ADMIN OPTION;
SET DEFAULT ROLE reading FOR app@'%';
GRANT INSERT ON `elsewhere`.* TO other@localhost;
"""


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database, and users with rights in it and elsewhere."""
    server = shared_server()
    script = "CREATE TABLE t (i int); CREATE DEFINER=app@'%' VIEW v AS SELECT i FROM t;"
    with new_database(server, "users_db", script) as there:
        server.run(MAKE)
        yield there
        drop(server)


def drop(server: MariaDbServer) -> None:
    """Drop the users and the role."""
    server.run(f"DROP USER IF EXISTS {', '.join(USERS)}; DROP ROLE IF EXISTS reading")


def shown(server: MariaDbServer) -> dict[str, list[object]]:
    """What the server says of the users and the role."""
    return {
        one: [
            *(server.run(f"SHOW CREATE USER {one}") if one != "reading" else []),
            *sorted(server.run(f"SHOW GRANTS FOR {one}")),
        ]
        for one in ("reading", *USERS)
    }


def admin_of(database: Database, folder: Path) -> MariaDbAdmin:
    """The driver for it."""
    return MariaDbAdmin(
        LocalRuntime(shared_server()), [database], "20260101000000-abcd", scratch=folder / "s"
    )


def test_users_come_back_as_they_were(database: Database, tmp_path: Path) -> None:
    """With passwords, if stack.yaml says so: everything, as in a throwaway copy."""
    server = shared_server()
    database = server.database(database.name, role_passwords=True)
    admin, before, file = admin_of(database, tmp_path), shown(server), tmp_path / "g.sql"
    admin.dump_globals("db", tmp_path, "g.sql")
    drop(server)
    missing = admin.missing_roles(database, file, {"app@%"})
    assert set(missing.every) == {
        "reading", "app@%", "other@localhost", "socket@localhost", "od`d @@%"
    }  # fmt: skip
    assert missing.needed == ("app@%", "reading")
    assert (missing.fresh, missing.allowed) == (False, True)
    for _ in range(2):
        assert admin.create_roles("db", file, missing.every, whole=True) == ()
        assert shown(server) == before


def test_without_passwords_nobody_can_log_in_until_one_is_set(
    database: Database, tmp_path: Path
) -> None:
    """No hash is in the file. Rights on the whole server are left out and named."""
    server, file = shared_server(), tmp_path / "g.sql"
    admin = admin_of(database, tmp_path)
    admin.dump_globals("db", tmp_path, "g.sql")
    assert "*" not in file.read_text().replace("*.*", "").replace(".*", "")
    drop(server)
    left = admin.create_roles("db", file, ["app@%", "reading"], whole=False)
    assert [line.partition(":")[0] for line in left] == [
        "app@% has no password",
        "not granted, because it is a right on the whole server",
    ]
    assert "RELOAD" in left[1]
    ((how,),) = server.run("SHOW CREATE USER app@'%'")
    assert "IDENTIFIED BY PASSWORD 'invalid' REQUIRE SSL" in str(how)
    assert server.run("SELECT 1 FROM mysql.user WHERE user = 'other'") == []


def test_a_restore_says_which_user_its_code_needs(database: Database, tmp_path: Path) -> None:
    """A view whose definer does not exist cannot be read."""
    server, admin = shared_server(), admin_of(database, tmp_path)
    record = admin.dump(database, "full", tmp_path, "d.sql.zst", nothing)
    assert record.roles == ("app@%",)
    assert admin.check_loadable(database, record) == ()
    drop(server)
    (problem,) = admin.check_loadable(database, record)
    assert "the server has no role app@%" in problem
    assert admin.check_loadable(database, record, {"app@%"}) == ()


@pytest.mark.parametrize(
    "line",
    [
        "DROP USER root@localhost;",
        "GRANT ALL ON *.* TO `stranger`@`%`;",
        "CREATE USER IF NOT EXISTS `a`@`%`; DROP DATABASE users_db;",
    ],
)
def test_only_what_was_written_here_is_run(database: Database, tmp_path: Path, line: str) -> None:
    """A line that Quiesce does not write is refused, and nothing is created."""
    (tmp_path / "g.sql").write_text(f"CREATE USER IF NOT EXISTS `b`@`%`;\n{line}\n")
    admin = admin_of(database, tmp_path)
    with pytest.raises(RequestError, match="line 2"):
        admin.create_roles("db", tmp_path / "g.sql", ["b@%"], whole=True)
    assert shared_server().run("SELECT 1 FROM mysql.user WHERE user = 'b'") == []
