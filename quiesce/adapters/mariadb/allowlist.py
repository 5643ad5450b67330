"""What a script may do: what mariadb-dump writes for one database, and nothing else.

Names are never qualified, so a statement reaches only the database of the session; values are
literals. Code (views, routines, triggers, events) is not looked into.
"""

from __future__ import annotations

import re
from typing import Literal

from quiesce.adapters.mariadb.script import Statement
from quiesce.errors import RequestError

Kind = Literal["run", "skip", "event"]

_NAME = rb"`(?:[^`]|``)++`(?!`)"
_STRINGS = re.compile(rb"""'(?:[^'\\]|\\.|'')*+'|"(?:[^"\\]|\\.|"")*+\"""", re.DOTALL)
_HINTS = re.compile(rb"/\*M?!\d*\s?|\*/")
_SETTINGS = (
    rb"(?:@\w+|(?:@@)?(?:SESSION\.)?(?:character_set_client|character_set_results|"
    rb"collation_connection|time_zone|sql_mode|sql_notes|note_verbosity|unique_checks|"
    rb"foreign_key_checks|system_versioning_insert_history))"
)
_VALUE = rb"(?:@@?(?:SESSION\.)?\w+|\w+|'[^']*'|IFNULL\(@@\w+,\s*\w+\)|\d+)"
_SET = re.compile(
    rb"SET\s+(?:NAMES\s+\w+|(?:%s\s*=\s*%s\s*,?\s*)+)$" % (_SETTINGS, _VALUE), re.IGNORECASE
)
_RUN = (
    _SET,
    re.compile(
        rb"DROP\s+(?:TABLE|VIEW|SEQUENCE|FUNCTION|PROCEDURE|EVENT|TRIGGER|PACKAGE(?:\s+BODY)?)\s+"
        rb"IF\s+EXISTS\s+%s$" % _NAME,
        re.IGNORECASE,
    ),
    re.compile(rb"CREATE\s+SEQUENCE\s+%s\s[\w\s=-]*$" % _NAME, re.IGNORECASE),
    re.compile(rb"DO\s+SETVAL\(%s,\s*-?\d+,\s*[01]\)$" % _NAME, re.IGNORECASE),
    re.compile(rb"ALTER\s+TABLE\s+%s\s+(?:ENABLE|DISABLE)\s+KEYS$" % _NAME, re.IGNORECASE),
)
_SKIP = re.compile(rb"LOCK\s+TABLES\s+%s\s+WRITE$|UNLOCK\s+TABLES$" % _NAME, re.IGNORECASE)
_TABLE = re.compile(rb"CREATE\s+TABLE\s+%s\s*\(.*" % _NAME, re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(rb"%s|%s|/\*(?!M?!).*?\*/" % (_STRINGS.pattern, _NAME), re.DOTALL)
#: Options that reach files or other servers, rows that come from a query, and engines that do so.
_TABLE_REACHES = re.compile(
    rb"\b(?:(?:DATA|INDEX)\s+DIRECTORY|CONNECTION|SELECT|UNION|VALUES\s*\(\s*SELECT|TABLE_TYPE)\b|"
    rb"\b(?:ENGINE|TYPE)\b(?!\s*=\s*(?:InnoDB|MyISAM|Aria|MEMORY|CSV|ARCHIVE|BLACKHOLE|ROCKSDB)\b)",
    re.IGNORECASE,
)
_INSERT = re.compile(
    rb"(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO\s+%s\s*(?:\([^)]*\)\s*)?VALUES\s*(.*)$" % _NAME,
    re.IGNORECASE | re.DOTALL,
)
_LITERALS = re.compile(
    rb"(?:0x[0-9A-F]+|NULL|_binary|DEFAULT|(?<=\d)e(?=[-+\d])|b(?=0)|[\s(),.+\d-])*+$",
    re.IGNORECASE,
)
#: Code that was created with ANSI_QUOTES is written with other quotes.
_ANY_NAME = rb"(?:%s|\"(?:[^\"]|\"\")++\"(?!\"))" % _NAME
_DEFINER = rb"(?:DEFINER\s*=\s*(?:%s@%s|%s)\s+)?" % (_ANY_NAME, _ANY_NAME, _ANY_NAME)
_CODE = re.compile(
    rb"CREATE\s+(?:ALGORITHM\s*=\s*\w+\s+)?%(definer)s(?:SQL\s+SECURITY\s+\w+\s+)?(?:"
    rb"(?P<kind>VIEW|TRIGGER|EVENT|PACKAGE(?:\s+BODY)?)\s+(?:%(name)s|\w++)(?=\s)(?!\s*\.)|"
    # A function of a library has no parameters here.
    rb"(?:(?:AGGREGATE\s+)?FUNCTION|PROCEDURE)\s+(?:%(name)s|\w++)\s*\()"
    % {b"definer": _DEFINER, b"name": _ANY_NAME},
    re.IGNORECASE,
)


def judge(statement: Statement) -> Kind:
    """Return what to do with a statement. Raise RequestError for anything else than mariadb-dump
    writes."""
    text = statement.text
    if (found := _INSERT.match(text)) and _LITERALS.match(_STRINGS.sub(b"0", found[1])):
        return "run"
    plain = b" ".join(_HINTS.sub(b" ", text).split()) if len(text) < 4096 else text
    if any(pattern.match(plain) for pattern in _RUN):
        return "run"
    if _SKIP.match(plain):
        return "skip"
    if _TABLE.match(text) and not _TABLE_REACHES.search(_QUOTED.sub(b" ", text)):
        return "run"
    if code := _CODE.match(_HINTS.sub(b" ", text).strip()):
        return "event" if (code["kind"] or b"").upper() == b"EVENT" else "run"
    words = b" ".join(text.split()[:4]).decode(errors="replace")
    raise RequestError(
        f"line {statement.line} of the script is not permitted: {words[:60]} …",
        "use a file that mariadb-dump made of one database, without --databases",
    )
