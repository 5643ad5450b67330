"""Which handler answers which request, and how errors of a database become answers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg2
from psycopg2 import errors

from . import counters, memories, rules, static, uploads
from .databases import Database
from .messages import Answer, Refused, Request
from .settings import Settings

Handler = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a pattern of paths, with the handler for them."""

    method: str
    pattern: re.Pattern[str]
    handle: Handler
    takes_file: bool = False


class Api:
    """Everything the API keeps, and the routes to it."""

    def __init__(self, settings: Settings) -> None:
        self.rulesdb = Database(settings.rulesdb)
        self.memorydb = Database(settings.memorydb)
        self.redis = counters.Redis(settings.redis)
        self.routes = tuple(self._make_routes(settings))

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route for a request and the parts its pattern names, or refuse."""
        allowed = set()
        for route in self.routes:
            if match := route.pattern.fullmatch(path):
                if route.method == method:
                    return route, match.groupdict()
                allowed.add(route.method)
        if allowed:
            raise Refused(405, f"this path takes {', '.join(sorted(allowed))}")
        raise Refused(404, "no such path")

    def answer(self, route: Route, request: Request) -> Answer:
        """Return the answer to a request; errors of the databases become refusals."""
        try:
            return route.handle(request)
        except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedObject) as error:
            raise Refused(503, "the database is not migrated") from error
        except (errors.UniqueViolation, errors.ForeignKeyViolation) as error:
            raise Refused(409, as_line(error)) from error
        except (psycopg2.IntegrityError, psycopg2.DataError, psycopg2.ProgrammingError) as error:
            raise Refused(400, as_line(error)) from error
        except ValueError as error:
            # texts that PostgreSQL does not store: with a NUL, or with half a surrogate pair
            raise Refused(400, str(error)) from error
        except psycopg2.Error as error:
            raise Refused(503, f"the database does not answer: {as_line(error)}") from error

    def close(self) -> None:
        """Close the idle connections to both databases."""
        self.rulesdb.close()
        self.memorydb.close()

    def health(self, request: Request) -> Answer:
        """Answer 200 if both databases answer a query, migrated or not; 503 otherwise."""
        found: dict[str, Any] = {
            "rulesdb": describe_database(self.rulesdb),
            "memorydb": describe_database(self.memorydb),
        }
        healthy = all(database["answers"] for database in found.values())
        return Answer(
            200 if healthy else 503,
            {
                "status": "ok" if healthy else "unavailable",
                "migrated": all(database["revision"] for database in found.values()),
                "databases": found,
                "redis": self.redis.describe(),
            },
        )

    def _make_routes(self, settings: Settings) -> list[Route]:
        def route(method: str, path: str, handle: Handler, takes_file: bool = False) -> Route:
            pattern = path.replace("ID", r"(?P<id>[^/]+)").replace("NAME", r"(?P<name>[^/]+)")
            pattern = pattern.replace("PATH", r"(?P<path>.+)")
            return Route(method, re.compile(pattern, re.DOTALL), handle, takes_file)

        rulesdb, memorydb, redis = self.rulesdb, self.memorydb, self.redis
        media = settings.media
        return [
            route("GET", "/health", self.health),
            route("GET", "/api/health", self.health),
            route("GET", "/api/severities", partial(rules.list_severities, rulesdb)),
            route("GET", "/api/projects", partial(rules.list_projects, rulesdb)),
            route("POST", "/api/projects", partial(rules.create_project, rulesdb)),
            route("GET", "/api/projects/ID", partial(rules.get_project, rulesdb)),
            route("PATCH", "/api/projects/ID", partial(rules.update_project, rulesdb)),
            route("DELETE", "/api/projects/ID", partial(rules.delete_project, rulesdb)),
            route("GET", "/api/rules", partial(rules.list_rules, rulesdb)),
            route("POST", "/api/rules", partial(rules.create_rule, rulesdb)),
            route("GET", "/api/rules/ID", partial(rules.get_rule, rulesdb)),
            route("PATCH", "/api/rules/ID", partial(rules.update_rule, rulesdb)),
            route("DELETE", "/api/rules/ID", partial(rules.delete_rule, rulesdb)),
            route("GET", "/api/sessions", partial(memories.list_sessions, memorydb)),
            route("POST", "/api/sessions", partial(memories.create_session, memorydb)),
            route("GET", "/api/memories", partial(memories.list_memories, memorydb)),
            route("POST", "/api/memories", partial(memories.create_memory, memorydb)),
            route("POST", "/api/memories/search", partial(memories.search_memories, memorydb)),
            route("GET", "/api/memories/ID", partial(memories.get_memory, memorydb)),
            route("DELETE", "/api/memories/ID", partial(memories.delete_memory, memorydb)),
            route("GET", "/api/uploads", partial(uploads.list_uploads, media)),
            route("PUT", "/api/uploads/PATH", partial(uploads.put_upload, media), True),
            route("GET", "/api/uploads/PATH", partial(uploads.get_upload, media)),
            route("DELETE", "/api/uploads/PATH", partial(uploads.delete_upload, media)),
            route("GET", "/api/counters/NAME", partial(counters.read_counter, redis)),
            route("POST", "/api/counters/NAME", partial(counters.add_to_counter, redis)),
            route("GET", "/static/NAME", partial(static.get_static, settings.static)),
        ]


def describe_database(database: Database) -> dict[str, Any]:
    """Say whether a database answers a query, and which revision it is at, if any."""
    try:
        with database.transaction() as cursor:
            cursor.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL AS there")
            if not cursor.fetchone()["there"]:
                return {"answers": True, "revision": None}
            cursor.execute("SELECT min(version_num) AS revision FROM public.alembic_version")
            return {"answers": True, "revision": cursor.fetchone()["revision"]}
    except psycopg2.Error:
        return {"answers": False, "revision": None}


def as_line(error: psycopg2.Error) -> str:
    """Return the first line of a database's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
