"""Loads a dump statement by statement, when pg_restore fails.

pg_restore evaluates checks while the tables that they read are still empty, calls functions with an
empty search path, and stops at the first constraint that rows violate. Here pg_restore writes the
same statements to scripts, which are run one by one:

    1. what comes before the rows; functions get a search path when one fails without it
    2. checks are dropped
    3. the rows, those of tables that compute columns by functions after all others
    4. indexes, constraints, triggers, materialized views; checks are recreated and validated
    5. statistics, while functions still find their tables; then functions get their own
       settings back; event triggers last, so that nothing here fires them

Failures are collected, so that all are reported at once. Rows are never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quiesce.adapters.postgres import check_constraints, sql_reader
from quiesce.adapters.postgres.computed import late_tables
from quiesce.adapters.postgres.errors import Unreachable
from quiesce.adapters.postgres.search_path import TemporaryPaths
from quiesce.adapters.postgres.session import Session, SessionError
from quiesce.errors import NotRestorable
from quiesce.obstacles import NOT_VALID, SKIP_BROKEN

_ANALYZED = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'
 ORDER BY c.oid
"""
_FOREIGN_KEY = re.compile(
    rb"ALTER TABLE (?:ONLY )?(.+?)\s+ADD CONSTRAINT (.+?) (?:FOREIGN KEY|CHECK) ?\(", re.DOTALL
)
_EVENT_TRIGGER = re.compile(rb"(?:CREATE|ALTER|COMMENT ON) EVENT TRIGGER\b")
_BODY = re.compile(rb"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) ")
_WORD = re.compile(
    rb"\$([A-Za-z_]\w*)?\$.*?\$\1\$|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|[A-Za-z_]\w*",
    re.DOTALL,
)
_WHAT = re.compile(
    r"(?:CREATE(?: OR REPLACE| UNIQUE| CONSTRAINT)*|ALTER|COMMENT ON|REFRESH|GRANT|SET|SELECT)\b"
    r"[^\n(;]{0,120}"
)
#: Error classes that are not the statement's fault: memory, disk, connections, or a terminated
#: session.
_NOT_ITS_FAULT = ("53", "57", "58")


@dataclass(slots=True)
class Deviations:
    """The deviations of a restored database from its dump. `not_valid` and `skip_broken` allow
    deviations. `done` lists those that were made, `problems` those that were not allowed, and
    `flags` the options that would allow them.
    """

    not_valid: bool
    skip_broken: bool
    done: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)

    def constraint(self, words: str, problem: SessionError) -> bool:
        """Record the problem and return whether this constraint may be restored as NOT VALID."""
        if self.not_valid:
            self.done.append(f"{words} is restored as NOT VALID: {reason(problem)}")
            return True
        self.problems.append(f"{words}: {reason(problem)}")
        self.flags.add(NOT_VALID)
        return False

    def entry(self, words: str, problem: SessionError) -> bool:
        """Record the problem and return whether this entry may be left out."""
        if self.skip_broken:
            self.done.append(f"left out: {words}: {reason(problem)}")
            return True
        self.problems.append(f"{words}: {reason(problem)}")
        self.flags.add(SKIP_BROKEN)
        return False

    def require(self, what: str) -> None:
        """Raise NotRestorable if a deviation was not allowed."""
        if self.problems:
            given = {NOT_VALID} if self.not_valid else set()
            given |= {SKIP_BROKEN} if self.skip_broken else set()
            # The given flags are still needed.
            raise unrestorable(what, self.problems, self.flags | given)


def unrestorable(what: str, problems: Sequence[str], flags: set[str]) -> NotRestorable:
    """Return the error for a complete dump that cannot be loaded unchanged."""
    wanted = " ".join(sorted(flags))
    ways = []
    if NOT_VALID in flags:
        ways.append("constraints that rows violate are restored as NOT VALID")
    if SKIP_BROKEN in flags:
        ways.append("entries that cannot be restored are left out and named")
    hint = f"restore again with {wanted}: {', and '.join(ways)}; no row is left out"
    return NotRestorable(
        f"{what} is complete; this prevents its restore: {problems[0]}",
        hint if flags else "correct that on the server where the dump was made, then back up again",
        details=problems[1:],
    )


def reason(problem: SessionError) -> str:
    """Return the server's message without the location."""
    said = problem.fact.partition(": ")[2] or problem.fact
    return "; ".join([said, *problem.details[:1]])


class StatementLoad:
    """Loads one dump. The session `script` runs the statements of pg_restore; the session `looker`
    queries and alters."""

    def __init__(
        self, script: Session, looker: Session, paths: TemporaryPaths, deviations: Deviations
    ) -> None:
        self._script = script
        self._looker = looker
        self._paths = paths
        self._deviations = deviations
        self._taken: tuple[check_constraints.Check, ...] = ()
        self._last: list[bytes] = []

    def before_rows(self, script: Path) -> frozenset[tuple[str, str]]:
        """Run the statements before the rows; return the tables whose rows must be loaded last."""
        for statement in statements_of(script):
            self._run(statement)
        self._paths.apply()
        self._looker.run("BEGIN")
        self._taken = check_constraints.take_off(self._looker, every=True)
        self._looker.run("COMMIT")
        return late_tables(self._looker)

    def after_rows(self, script: Path) -> None:
        """Run the statements after the rows, recreate the checks, and restore the functions'
        settings."""
        for statement in statements_of(script):
            if _EVENT_TRIGGER.match(statement):
                self._last.append(statement)
            else:
                self._run(statement)
        self._paths.apply()
        self._put_back_checks()
        analyze(self._looker)
        self._paths.restore()
        for statement in self._last:
            self._run(statement)

    def _put_back_checks(self) -> None:
        def on_failure(check: check_constraints.Check, problem: SessionError) -> None:
            require_fault(problem)
            self._deviations.constraint(check.words, problem)

        # Those that are not allowed are restored as NOT VALID too: the load fails after all were
        # tried.
        self._looker.run("BEGIN")
        check_constraints.put_back(self._looker, self._taken, on_failure)
        self._looker.run("COMMIT")

    def _run(self, statement: bytes) -> None:
        try:
            self._script.run_bytes(statement)
        except SessionError as problem:
            require_fault(problem)
        else:
            return
        # Try again with the search path of the application.
        self._paths.apply()
        self._script.run(f"SET search_path = {self._paths.session_path}")
        try:
            self._script.run_bytes(statement)
        except SessionError as problem:
            require_fault(problem)
            self._give_way(statement, problem)
        finally:
            self._script.run("SELECT pg_catalog.set_config('search_path', '', false)")

    def _give_way(self, statement: bytes, problem: SessionError) -> None:
        key = _FOREIGN_KEY.match(statement)
        if key is None:
            self._deviations.entry(_words(statement), problem)
            return
        kind = "foreign key" if b"FOREIGN KEY" in statement else "check"
        words = f"{kind} {_text(key[2])} of {_text(key[1])}"
        try:
            self._script.run_bytes(statement + b" NOT VALID")
        except SessionError:
            # On some versions, a partitioned table's foreign key cannot be NOT VALID.
            self._deviations.entry(words, problem)
            return
        self._deviations.constraint(words, problem)


def require_fault(problem: SessionError) -> None:
    """Raise the problem again unless the statement itself is at fault."""
    if isinstance(problem, Unreachable) or problem.sqlstate.startswith(_NOT_ITS_FAULT):
        raise problem


def analyze(session: Session) -> None:
    """Gather statistics. A table whose index or statistics object calls a failing function is
    skipped: that must not prevent the restore."""
    try:
        session.run("ANALYZE")
    except Unreachable:
        raise
    except SessionError:
        for (name,) in session.rows(_ANALYZED):
            _analyze_one(session, name)


def _analyze_one(session: Session, name: str) -> None:
    try:
        session.run(f"ANALYZE {name}")
    except Unreachable:
        raise
    except SessionError:
        return


def statements_of(script: Path) -> Iterator[bytes]:
    """Yield the statements of a script of pg_restore, without their semicolons.

    The body of a function may be SQL with semicolons; it ends with its own END.
    """
    if script.stat().st_size == 0:
        return
    with sql_reader.opened(script) as view:
        begun: int | None = None
        for statement in sql_reader.statements(view):
            start = statement.start if begun is None else begun
            text = view[start : statement.end]
            if _is_open(text):
                begun = start
                continue
            begun = None
            yield text


def _is_open(text: bytes) -> bool:
    """Whether this is the beginning of a function whose body has not ended yet."""
    if not _BODY.match(text) or b"BEGIN ATOMIC" not in text:
        return False
    depth, before = 0, b""
    for match in _WORD.finditer(text):
        word = match[0].upper()
        if (word == b"ATOMIC" and before == b"BEGIN") or (depth and word == b"CASE"):
            depth += 1
        elif depth and word == b"END":
            depth -= 1
            if depth == 0:
                return False
        before = word
    return depth > 0


def _words(statement: bytes) -> str:
    match = _WHAT.match(_text(statement))
    found = " ".join((match[0] if match else _text(statement[:120])).split())
    return found.removeprefix("CREATE ").strip()


def _text(name: bytes) -> str:
    return " ".join(name.decode("utf-8", "replace").split())
