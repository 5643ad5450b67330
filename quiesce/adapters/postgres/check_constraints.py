"""Drops check constraints before rows are loaded and recreates them afterwards.

A check whose function reads another table cannot be evaluated while that table is empty, and a
check that a row violates would end the load of its table. When a check is recreated, it is
validated; one that fails is restored as NOT VALID if that is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quiesce.adapters.postgres.errors import Unreachable
from quiesce.adapters.postgres.session import Session, SessionError, identifier, literal

# An inherited constraint is dropped and recreated with its parent's; one that the table also
# defines itself is dropped after the parent's, and recreated before it.
_OF_TABLES = """
SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid),
       obj_description(k.oid, 'pg_constraint'), k.conbin::text,
       EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass
                AND d.objid = k.oid AND d.refclassid IN
                    ('pg_proc'::regclass, 'pg_operator'::regclass))
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'c' AND k.conislocal AND c.relkind IN ('r', 'p')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
   AND (%s::oid[] IS NULL OR k.conrelid = ANY (%s::oid[]))
 ORDER BY k.coninhcount, 1, 2, 3
"""
# A domain that another type uses cannot be validated again ("cannot alter type … because column …
# uses it"), so its checks stay.
_OF_DOMAINS = """
SELECT n.nspname, t.typname, k.conname, pg_get_constraintdef(k.oid),
       obj_description(k.oid, 'pg_constraint'), k.conbin::text,
       EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass
                AND d.objid = k.oid AND d.refclassid IN
                    ('pg_proc'::regclass, 'pg_operator'::regclass))
  FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid
  JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE k.contype = 'c' AND t.typtype = 'd'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_type'::regclass
                    AND d.objid = t.oid AND d.deptype = 'e')
   AND NOT EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                    WHERE a.atttypid = t.typarray AND NOT a.attisdropped
                       OR (a.atttypid = t.oid AND c.relkind = 'c'))
   AND NOT EXISTS (SELECT 1 FROM pg_type b WHERE b.typbasetype IN (t.oid, t.typarray))
   AND NOT EXISTS (SELECT 1 FROM pg_range r WHERE r.rngsubtype = t.oid)
 ORDER BY 1, 2, 3
"""
_CALLED = re.compile(r":(?:op)?funcid (\d+)")
#: Nodes of an expression whose value may change although no row does.
_CHANGING = ("{SQLVALUEFUNCTION", "{COERCEVIAIO", "{NEXTVALUEEXPR")

#: Called with a check that was not restored as it was, and the reason. It may raise.
OnFailedCheck = Callable[["Check", SessionError], None]


@dataclass(frozen=True, slots=True)
class Check:
    """A check constraint before it was dropped: `on` is its table or domain as SQL writes it."""

    kind: str
    schema: str
    owner: str
    name: str
    definition: str
    comment: str | None

    @property
    def on(self) -> str:
        """The table or domain, quoted."""
        return f"{identifier(self.schema)}.{identifier(self.owner)}"

    @property
    def words(self) -> str:
        """Its name for messages."""
        return f"check {self.name} of {self.schema}.{self.owner}"

    @property
    def constraint(self) -> tuple[str, ...]:
        """Its identity as a set records it."""
        return (self.schema, self.owner, self.name)


def take_off(
    session: Session, tables: Sequence[int] | None = None, *, every: bool = False
) -> tuple[Check, ...]:
    """Drop the checks of these tables (None: of all, and of domains), and return them.

    Unless `every`, only those whose result may differ during a load: those that call user-defined
    functions, or depend on more than the row.
    """
    some = None if tables is None else list(tables)
    found = [("TABLE", *row) for row in session.rows(_OF_TABLES, [some, some])]
    if tables is None:
        found += [("DOMAIN", *row) for row in session.rows(_OF_DOMAINS)]
    taken = []
    for kind, schema, owner, name, definition, comment, tree, calls in found:
        if not every and not calls and not may_change(session, tree):
            continue
        check = Check(kind, schema, owner, name, definition, comment)
        session.run(f"ALTER {kind} {check.on} DROP CONSTRAINT {identifier(name)}")
        taken.append(check)
    return tuple(taken)


def put_back(session: Session, checks: Sequence[Check], on_failure: OnFailedCheck) -> None:
    """Recreate the checks in reverse order. If one fails, `on_failure` is called and may raise;
    otherwise the check is restored as NOT VALID."""
    for check in reversed(checks):
        name = identifier(check.name)
        add = f"ALTER {check.kind} {check.on} ADD CONSTRAINT {name} {check.definition}"
        session.run("SAVEPOINT quiesce_check")
        try:
            session.run(add)
        except Unreachable:
            raise
        except SessionError as problem:
            session.run("ROLLBACK TO SAVEPOINT quiesce_check")
            on_failure(check, problem)
            session.run(f"{add} NOT VALID")
        session.run("RELEASE SAVEPOINT quiesce_check")
        if check.comment:
            of = "DOMAIN " if check.kind == "DOMAIN" else ""
            where = f"CONSTRAINT {name} ON {of}{check.on}"
            session.run(f"COMMENT ON {where} IS {literal(check.comment)}")


def called_in(tree: str) -> list[int]:
    """Return the functions that an expression (as the catalog stores it) calls."""
    return sorted({int(oid) for oid in _CALLED.findall(tree)})


def may_change(session: Session, tree: str) -> bool:
    """Whether an expression (as the catalog stores it) depends on more than its row: on the time,
    on settings, on other tables."""
    if any(sign in tree for sign in _CHANGING):
        return True
    called = called_in(tree)
    return bool(
        called
        and session.rows(
            "SELECT 1 FROM pg_proc WHERE oid = ANY (%s::oid[]) AND provolatile <> 'i' LIMIT 1",
            [called],
        )
    )
