"""Sessions and memories, kept in memorydb and found again by the nearest embedding."""

import json
from typing import Any

from psycopg2.extras import Json

from .databases import Database
from .embedding import as_vector, embed
from .messages import LARGEST_PAGE, Answer, Refused, Request

MEMORY = "id, session_id::text, content, metadata, importance, created_at"


def list_sessions(memorydb: Database, request: Request) -> Answer:
    """Answer with the newest sessions first."""
    with memorydb.transaction() as cursor:
        cursor.execute(
            "SELECT id::text, name, started_at FROM sessions ORDER BY started_at DESC, id LIMIT %s",
            (LARGEST_PAGE,),
        )
        return Answer(document={"sessions": cursor.fetchall()})


def create_session(memorydb: Database, request: Request) -> Answer:
    """Begin a session."""
    members = request.choose("name")
    with memorydb.transaction() as cursor:
        cursor.execute(
            "INSERT INTO sessions (name) VALUES (%s) RETURNING id::text, name, started_at",
            (members.get("name"),),
        )
        return Answer(201, cursor.fetchone())


def list_memories(memorydb: Database, request: Request) -> Answer:
    """Answer with one page of memories, without their embeddings."""
    with memorydb.transaction() as cursor:
        cursor.execute(
            f"SELECT {MEMORY} FROM memories WHERE id > %s ORDER BY id LIMIT %s", request.page()
        )
        return Answer(document={"memories": cursor.fetchall()})


def get_memory(memorydb: Database, request: Request) -> Answer:
    """Answer with one memory and its embedding."""
    with memorydb.transaction() as cursor:
        cursor.execute(
            f"SELECT {MEMORY}, embedding::text FROM memories WHERE id = %s",
            (request.number("id"),),
        )
        memory = cursor.fetchone()
    if not memory:
        raise Refused(404, f"no memory {request.number('id')}")
    return Answer(document={**memory, "embedding": json.loads(memory["embedding"])})


def create_memory(memorydb: Database, request: Request) -> Answer:
    """Keep a memory."""
    members = request.choose("content", "embedding", "metadata", "importance", "session_id")
    with memorydb.transaction() as cursor:
        cursor.execute(
            "INSERT INTO memories (session_id, content, embedding, metadata, importance)"
            f" VALUES (%s, %s, %s::vector, %s, %s) RETURNING {MEMORY}",
            (
                members.get("session_id"),
                members.get("content"),
                read_vector(members),
                Json(members.get("metadata", {})),
                members.get("importance", 0.5),
            ),
        )
        return Answer(201, cursor.fetchone())


def delete_memory(memorydb: Database, request: Request) -> Answer:
    """Forget a memory."""
    with memorydb.transaction() as cursor:
        cursor.execute("DELETE FROM memories WHERE id = %s", (request.number("id"),))
        if not cursor.rowcount:
            raise Refused(404, f"no memory {request.number('id')}")
    return Answer(204)


def search_memories(memorydb: Database, request: Request) -> Answer:
    """Answer with the memories nearest to an embedding, or to that of a text."""
    members = request.choose("content", "embedding", "limit")
    limit = members.get("limit", 10)
    if type(limit) is not int or not 1 <= limit <= LARGEST_PAGE:
        raise Refused(400, f"limit is not between 1 and {LARGEST_PAGE}")
    with memorydb.transaction() as cursor:
        cursor.execute(
            f"SELECT {MEMORY}, embedding <=> %(vector)s::vector AS distance FROM memories"
            " ORDER BY embedding <=> %(vector)s::vector LIMIT %(limit)s",
            {"vector": read_vector(members), "limit": limit},
        )
        return Answer(document={"memories": cursor.fetchall()})


def read_vector(members: dict[str, Any]) -> str:
    """Return the embedding given, else the one of the content given."""
    if members.get("embedding") is not None:
        return as_vector(members["embedding"])
    content = members.get("content")
    if not isinstance(content, str) or not content:
        raise Refused(400, "content is not a text, and no embedding is given")
    return as_vector(embed(content))
