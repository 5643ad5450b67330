"""Scripts of MariaDB: where a statement ends, and which statements are permitted."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.adapters.mariadb import script
from quiesce.adapters.mariadb.allowlist import judge
from quiesce.adapters.mariadb.script import Statement, statements
from quiesce.errors import RequestError

TEXT = rb"""/*M!999999\- enable the sandbox mode */
-- A comment; with 'a quote
--
SET NAMES utf8mb4;
# another; one
INSERT INTO `t;``x` VALUES ('a;\'b'';--', "c;\"", 0x00) /* ; ' */, (2);
DELIMITER ;;
CREATE TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW BEGIN
  -- it's
  SET @a = 'b;;'; END ;;
delimiter ;
DO SETVAL(`s`, 5, 0);
"""
EXPECTED = [
    (4, b"SET NAMES utf8mb4"),
    (6, b"""INSERT INTO `t;``x` VALUES ('a;\\'b'';--', "c;\\"", 0x00) /* ; ' */, (2)"""),
    (8, b"CREATE TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW BEGIN\n  -- it's\n"
        b"  SET @a = 'b;;'; END "),
    (12, b"DO SETVAL(`s`, 5, 0)"),
]  # fmt: skip


class Dripping(io.BytesIO):
    """Returns so many bytes at a time."""

    def __init__(self, text: bytes, size: int) -> None:
        super().__init__(text)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        del size
        return super().read(self._size)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_a_statement_ends_where_the_client_ends_it(size: int) -> None:
    """However the script is read: no sign is overlooked between two blocks."""
    found = [(s.line, s.text) for s in statements(Dripping(TEXT, size))]
    assert found == EXPECTED


@given(st.lists(st.text(alphabet="ab;'\"`\\-#/*! \n\u00fc", max_size=12), max_size=5))
def test_values_never_end_a_statement(values: list[str]) -> None:
    """Quoted as the client quotes them."""
    quoted = ", ".join(
        "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
        for value in ["", *values]
    )
    text = f"INSERT INTO `t` VALUES ({quoted})".encode()
    found = [s.text for s in statements(Dripping(text + b";\nSET NAMES utf8;\n", 5))]
    assert found == [text, b"SET NAMES utf8"]
    assert judge(Statement(1, text)) == "run"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"SET NAMES utf8;\n\\! id\n;", "line 2 .* a command of the client"),
        (b"SET NAMES utf8;\nINSERT INTO `t` VALUES ('a;\n", "line 2 .* has no end"),
        (b"SET NAMES utf8;\nSET NAMES utf8", "line 2 .* has no end"),
        (b"INSERT INTO `t` VALUES (1) /* ;", "has no end"),
    ],
)
def test_a_damaged_script_is_refused_with_its_line(text: bytes, why: str) -> None:
    """So is one that is cut off."""
    with pytest.raises(RequestError, match=why):
        list(statements(io.BytesIO(text)))


def test_a_statement_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not fill the memory."""
    monkeypatch.setattr(script, "MOST_BYTES", 100)
    monkeypatch.setattr(script, "BLOCK", 10)
    with pytest.raises(RequestError, match="longer than the server accepts"):
        list(statements(Dripping(b"x" * 1000, 10)))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/*!40101 SET NAMES utf8mb4 */", "run"),
        ("/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */", "run"),
        ("/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */", "run"),
        ("/*!50003 SET sql_mode = 'STRICT_TRANS_TABLES,ANSI' */", "run"),
        ("DROP TABLE IF EXISTS `t`", "run"),
        ("/*!50001 DROP VIEW IF EXISTS `t``; x`*/", "run"),
        ("CREATE TABLE `t` (\n `select` int DEFAULT 5\n) ENGINE=InnoDB COMMENT='SELECT'", "run"),
        ("INSERT INTO `t` (`a`, `b`) VALUES\n(1,-1.5e-7,NULL,_binary 'x',0xFF,''),\n(2)", "run"),
        ("LOCK TABLES `t` WRITE", "skip"),
        ("/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`a`@`%` SQL SECURITY DEFINER */"
         "\n/*!50001 VIEW `v` AS select 1 */", "run"),
        ("/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`%`*/ /*!50106 EVENT `e` ON SCHEDULE */", "event"),
        ("CREATE DEFINER=`a`@`%` FUNCTION `f`(a int) RETURNS int(11)\nreturn a", "run"),
        ("CREATE SEQUENCE `s` start with 1 minvalue -5 cache 1000 nocycle ENGINE=InnoDB", "run"),
    ],
)  # fmt: skip
def test_what_a_dump_contains_is_permitted(text: str, kind: str) -> None:
    """In the words of mariadb-dump."""
    assert judge(Statement(1, text.encode())) == kind


@pytest.mark.parametrize(
    "text",
    [
        "USE mysql",
        "CREATE DATABASE x",
        "/*!40000 DROP DATABASE IF EXISTS `x`*/",
        "GRANT ALL ON *.* TO a",
        "CREATE USER a",
        "SET GLOBAL general_log = 1",
        "SET @@global.read_only = 0",
        "SET sql_log_bin = 0",
        "SET PASSWORD = 'x'",
        "SET @a = (SELECT 1)",
        "SET @a = load_file('/etc/passwd')",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE `t`",
        "INSERT INTO `mysql`.`global_priv` VALUES (1)",
        "INSERT INTO mysql.global_priv VALUES (1)",
        "INSERT INTO `t` VALUES (load_file('/etc/passwd'))",
        "INSERT INTO `t` VALUES ((SELECT 1))",
        "INSERT INTO `t` VALUES (1) ON DUPLICATE KEY UPDATE a = 1",
        "INSERT INTO `t` SELECT * FROM mysql.user",
        "INSERT INTO `t` VALUES (/*!50000 user() */)",
        "DROP TABLE IF EXISTS `mysql`.`user`",
        "DROP TABLE IF EXISTS `t`, `mysql`.`user`",
        "CREATE TABLE `mysql`.`x` (a int)",
        "CREATE TABLE `t` (a int) DATA DIRECTORY='/tmp'",
        "CREATE TABLE `t` (a int) /*!50000 DATA DIRECTORY='/tmp' */",
        "CREATE TABLE `t` (a int) DATA/**/DIRECTORY='/tmp'",
        "CREATE TABLE `t` (a int) ENGINE=FEDERATED CONNECTION='mysql://x'",
        "CREATE TABLE `t` (a int) ENGINE='CONNECT'",
        "CREATE TABLE `t` (a int) ENGINE=MRG_MyISAM UNION=(`mysql`.`user`)",
        "CREATE TABLE `t` (a int) SELECT * FROM mysql.user",
        "CREATE VIEW `mysql`.`v` AS SELECT 1",
        "CREATE PROCEDURE `mysql`.`v`() SELECT 1",
        "CREATE VIEW mysql.v AS SELECT 1",
        "CREATE TRIGGER mysql . v BEFORE INSERT ON t FOR EACH ROW SET @a = 1",
        "CREATE PROCEDURE mysql.v() SELECT 1",
        "CREATE TABLE `t` (a int) ENGINE CONNECT",
        "CREATE FUNCTION f RETURNS STRING SONAME 'evil.so'",
        "CREATE FUNCTION `f` RETURNS STRING SONAME 'evil.so'",
        "ALTER TABLE `t` DISCARD TABLESPACE",
        "INSTALL PLUGIN x SONAME 'y'",
        "CALL x()",
        "PREPARE s FROM 'DROP DATABASE mysql'",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'x')",
        "DO SETVAL(`mysql`.`s`, 5, 0)",
        "DO sleep(5)",
        "LOCK TABLES `mysql`.`user` WRITE",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Whatever its comments hide."""
    with pytest.raises(RequestError, match="line 7 of the script is not permitted"):
        judge(Statement(7, text.encode()))
