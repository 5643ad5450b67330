"""Projects and rules, kept in rulesdb."""

import re
from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from .databases import Database
from .messages import Answer, Refused, Request

PROJECT = "SELECT id, name, settings, created_at FROM projects"
RULE = """
SELECT rules.id, rules.project_id, rules.title, rules.slug, rules.body,
       severities.name AS severity, rules.enabled, rules.definition,
       ARRAY(SELECT tags.name FROM rule_tags JOIN tags ON tags.id = rule_tags.tag_id
              WHERE rule_tags.rule_id = rules.id ORDER BY tags.name) AS tags,
       rules.created_at, rules.updated_at
  FROM rules JOIN severities ON severities.id = rules.severity_id
"""
PROJECT_MEMBERS = ("name", "settings")
RULE_MEMBERS = ("project_id", "title", "body", "severity", "enabled", "definition", "tags")


def list_severities(rulesdb: Database, request: Request) -> Answer:
    """Answer with every severity, the lightest first."""
    with rulesdb.transaction() as cursor:
        cursor.execute("SELECT id, name, weight FROM severities ORDER BY weight")
        return Answer(document={"severities": cursor.fetchall()})


def list_projects(rulesdb: Database, request: Request) -> Answer:
    """Answer with one page of projects."""
    with rulesdb.transaction() as cursor:
        cursor.execute(f"{PROJECT} WHERE id > %s ORDER BY id LIMIT %s", request.page())
        return Answer(document={"projects": cursor.fetchall()})


def get_project(rulesdb: Database, request: Request) -> Answer:
    """Answer with one project."""
    with rulesdb.transaction() as cursor:
        return Answer(document=read_project(cursor, request.number("id")))


def create_project(rulesdb: Database, request: Request) -> Answer:
    """Add a project."""
    members = request.choose(*PROJECT_MEMBERS)
    with rulesdb.transaction() as cursor:
        cursor.execute(
            "INSERT INTO projects (name, settings) VALUES (%s, %s) RETURNING id",
            (members.get("name"), Json(members.get("settings", {}))),
        )
        return Answer(201, read_project(cursor, cursor.fetchone()["id"]))


def update_project(rulesdb: Database, request: Request) -> Answer:
    """Change what the document names."""
    members = request.choose(*PROJECT_MEMBERS)
    if "settings" in members:
        members["settings"] = Json(members["settings"])
    with rulesdb.transaction() as cursor:
        update(cursor, "projects", request.number("id"), members)
        return Answer(document=read_project(cursor, request.number("id")))


def delete_project(rulesdb: Database, request: Request) -> Answer:
    """Remove a project that has no rules; the foreign key keeps one that has."""
    return delete(rulesdb, "projects", request.number("id"))


def list_rules(rulesdb: Database, request: Request) -> Answer:
    """Answer with one page of rules, of one project or with one tag if asked."""
    after, limit = request.page()
    where, values = ["rules.id > %s"], [after]
    if "project_id" in request.query:
        where.append("rules.project_id = %s")
        values.append(request.query["project_id"])
    if "tag" in request.query:
        where.append(
            "EXISTS (SELECT FROM rule_tags JOIN tags ON tags.id = rule_tags.tag_id"
            " WHERE rule_tags.rule_id = rules.id AND tags.name = %s)"
        )
        values.append(request.query["tag"])
    with rulesdb.transaction() as cursor:
        cursor.execute(
            f"{RULE} WHERE {' AND '.join(where)} ORDER BY rules.id LIMIT %s", (*values, limit)
        )
        return Answer(document={"rules": cursor.fetchall()})


def get_rule(rulesdb: Database, request: Request) -> Answer:
    """Answer with one rule."""
    with rulesdb.transaction() as cursor:
        return Answer(document=read_rule(cursor, request.number("id")))


def create_rule(rulesdb: Database, request: Request) -> Answer:
    """Add a rule and its tags in one transaction."""
    members = request.choose(*RULE_MEMBERS)
    tags = members.pop("tags", [])
    members.setdefault("severity", "warning")
    with rulesdb.transaction() as cursor:
        columns = as_columns(cursor, members)
        if "slug" not in columns:
            raise Refused(400, "title is missing")
        names = ", ".join(columns)
        places = ", ".join(["%s"] * len(columns))
        cursor.execute(
            f"INSERT INTO rules ({names}) VALUES ({places}) RETURNING id", tuple(columns.values())
        )
        identifier = cursor.fetchone()["id"]
        replace_tags(cursor, identifier, tags)
        return Answer(201, read_rule(cursor, identifier))


def update_rule(rulesdb: Database, request: Request) -> Answer:
    """Change what the document names; tags, if named, become exactly those."""
    members = request.choose(*RULE_MEMBERS)
    tags = members.pop("tags", None)
    identifier = request.number("id")
    with rulesdb.transaction() as cursor:
        update(cursor, "rules", identifier, as_columns(cursor, members), "updated_at = now()")
        if tags is not None:
            replace_tags(cursor, identifier, tags)
        return Answer(document=read_rule(cursor, identifier))


def delete_rule(rulesdb: Database, request: Request) -> Answer:
    """Remove a rule; its tags stay for other rules."""
    return delete(rulesdb, "rules", request.number("id"))


def read_project(cursor: Cursor, identifier: int) -> Mapping[str, Any]:
    """Return a project, or refuse with 404."""
    cursor.execute(f"{PROJECT} WHERE id = %s", (identifier,))
    return cursor.fetchone() or refuse_unknown("project", identifier)


def read_rule(cursor: Cursor, identifier: int) -> Mapping[str, Any]:
    """Return a rule, or refuse with 404."""
    cursor.execute(f"{RULE} WHERE rules.id = %s", (identifier,))
    return cursor.fetchone() or refuse_unknown("rule", identifier)


def as_columns(cursor: Cursor, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a rule as the columns of its table; names were checked before."""
    columns = dict(members)
    if "severity" in columns:
        name = columns.pop("severity")
        cursor.execute("SELECT id FROM severities WHERE name = %s", (str(name),))
        if not (row := cursor.fetchone()):
            raise Refused(400, f"unknown severity {name!r}")
        columns["severity_id"] = row["id"]
    if "definition" in columns:
        columns["definition"] = Json(columns["definition"])
    if "title" in columns:
        columns["slug"] = as_slug(str(columns["title"]))
    return columns


def as_slug(title: str) -> str:
    """Return what revision rulesdb_0003 makes of the same title."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", title).strip("-").lower() or "rule"


def update(
    cursor: Cursor, table: str, identifier: int, columns: Mapping[str, Any], *extra: str
) -> None:
    """Change one row; no columns and nothing extra changes nothing."""
    changes = [f"{name} = %s" for name in columns] + list(extra)
    if changes:
        cursor.execute(
            f"UPDATE {table} SET {', '.join(changes)} WHERE id = %s",
            (*columns.values(), identifier),
        )


def replace_tags(cursor: Cursor, identifier: int, tags: object) -> None:
    """Let a rule have exactly these tags, making those that are new."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise Refused(400, "tags is not a list of names")
    # sorted: two requests that make the same new tags wait for each other, never in a circle
    for tag in sorted(set(tags)):
        cursor.execute("INSERT INTO tags (name) VALUES (%s) ON CONFLICT DO NOTHING", (tag,))
    cursor.execute("DELETE FROM rule_tags WHERE rule_id = %s", (identifier,))
    cursor.execute(
        "INSERT INTO rule_tags (rule_id, tag_id) SELECT rules.id, tags.id FROM rules, tags"
        " WHERE rules.id = %s AND tags.name = ANY(%s)",
        (identifier, tags),
    )


def delete(rulesdb: Database, table: str, identifier: int) -> Answer:
    """Remove one row, or refuse with 404."""
    with rulesdb.transaction() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE id = %s", (identifier,))
        if not cursor.rowcount:
            refuse_unknown(table.removesuffix("s"), identifier)
    return Answer(204)


def refuse_unknown(kind: str, identifier: object) -> Mapping[str, Any]:
    """Refuse with 404."""
    raise Refused(404, f"no {kind} {identifier}")
