"""The API of the example stack as a local process, over a real PostgreSQL."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.stack.conftest import DEADLINE, PASSWORD, Api, Databases, Server, starting, wait_until

pytestmark = pytest.mark.postgres

OUTSIDE = [
    "../escaped",
    "%2e%2e/escaped",
    "a/../../escaped",
    "a/..%2f..%2fescaped",
    "/etc/escaped",
    "a//escaped",
    ".hidden",
    "a/.upload-0",
    "a%00b",
    "a%0ab",
    "..%5cescaped",
    "a" * 300,
]


def make_project(api: Api, name: str = "p") -> int:
    """Create a project and return its id."""
    status, project = api.call("POST", "/api/projects", {"name": name})
    assert status == 201
    return int(project["id"])


def list_files(folder: Path) -> list[str]:
    """Every file below a folder, sorted."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def test_before_the_migrations_it_is_healthy_and_says_so(
    databases: Databases, tmp_path: Path
) -> None:
    """The container becomes healthy on an empty cluster; requests say what is missing."""
    with starting(databases, tmp_path) as start:
        check_before_and_after_the_migrations(databases, start())


def check_before_and_after_the_migrations(databases: Databases, api: Api) -> None:
    """The backend answers sensibly before, and without a restart after."""
    status, health = api.call("GET", "/api/health")
    assert (status, health["status"], health["migrated"]) == (200, "ok", False)
    assert api.call("GET", "/api/rules") == (503, {"error": "the database is not migrated"})
    databases.migrate()
    status, health = api.call("GET", "/health")
    assert (status, health["migrated"]) == (200, True)
    assert health["databases"]["memorydb"] == {"answers": True, "revision": "memorydb_0003"}


def test_projects_live_from_creation_to_deletion(api: Api) -> None:
    """Create, read, change, list by page, delete."""
    status, project = api.call("POST", "/api/projects", {"name": "p", "settings": {"a": [1]}})
    assert (status, project["name"], project["settings"]) == (201, "p", {"a": [1]})
    path = f"/api/projects/{project['id']}"
    assert api.call("GET", path) == (200, project)
    assert api.call("PATCH", path, {"name": "q"})[1]["name"] == "q"
    other = make_project(api, "other")
    _, page = api.call("GET", f"/api/projects?limit=1&after={project['id']}")
    assert [found["id"] for found in page["projects"]] == [other]
    assert api.call("DELETE", path) == (204, None)
    assert api.call("GET", path)[0] == 404
    assert api.call("DELETE", path)[0] == 404


def test_rules_live_from_creation_to_deletion(api: Api) -> None:
    """A rule has its severity by name, tags that are replaced as a whole, and a slug."""
    project = make_project(api)
    rule = {"project_id": project, "title": "No Tabs!", "tags": ["style", "all"]}
    status, created = api.call("POST", "/api/rules", rule)
    assert status == 201
    assert (created["severity"], created["slug"]) == ("warning", "no-tabs")
    assert created["tags"] == ["all", "style"]
    path = f"/api/rules/{created['id']}"
    change = {"severity": "critical", "tags": ["all"], "definition": {"x": 1}, "title": "Ärger"}
    _, changed = api.call("PATCH", path, change)
    assert (changed["severity"], changed["tags"], changed["slug"]) == ("critical", ["all"], "rger")
    assert changed["updated_at"] > created["updated_at"]
    assert api.call("GET", path) == (200, changed)
    assert [r["id"] for r in api.call("GET", "/api/rules?tag=all")[1]["rules"]] == [created["id"]]
    assert api.call("GET", "/api/rules?tag=style")[1]["rules"] == []
    assert api.call("DELETE", path)[0] == 204
    assert api.call("GET", path)[0] == 404


def test_slugs_of_new_rules_are_those_of_the_data_migration(migrated: Databases, api: Api) -> None:
    """Python and the SQL of revision rulesdb_0003 turn a title into the same slug."""
    project = make_project(api)
    for title in ("No Tabs!", "--", "Straße 5", "a_b  c", "İstanbul", "x" * 200):
        assert api.call("POST", "/api/rules", {"project_id": project, "title": title})[0] == 201
    before = migrated.server.execute(migrated.rulesdb, "SELECT slug FROM rules ORDER BY id")
    migrated.alembic("alembic.ini", "downgrade", "-1")
    migrated.alembic("alembic.ini", "upgrade", "head")
    after = migrated.server.execute(migrated.rulesdb, "SELECT slug FROM rules ORDER BY id")
    assert before == after


def test_tags_that_are_not_a_list_are_refused_and_the_rule_with_them(api: Api) -> None:
    """One transaction: no rule is left without the tags it was sent with."""
    rule = {"project_id": make_project(api), "title": "t", "tags": "abc"}
    assert api.call("POST", "/api/rules", rule)[0] == 400
    assert api.call("GET", "/api/rules")[1]["rules"] == []


def test_a_project_with_rules_is_kept(api: Api) -> None:
    """The foreign key refuses, as 409, and the rule still has its project."""
    project = make_project(api)
    api.call("POST", "/api/rules", {"project_id": project, "title": "t"})
    assert api.call("DELETE", f"/api/projects/{project}")[0] == 409
    assert api.call("GET", f"/api/projects/{project}")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/projects", {"name": ""}, 400),
        ("POST", "/api/projects", {}, 400),
        ("POST", "/api/projects", {"name": "p", "colour": 1}, 400),
        ("POST", "/api/projects", {"name": "a\0b"}, 400),
        ("POST", "/api/projects", {"name": "a\ud800b"}, 400),
        ("POST", "/api/projects", [], 400),
        ("POST", "/api/projects", b"{", 400),
        ("POST", "/api/projects", b"[" * 100_000, 400),
        ("POST", "/api/projects", b" " * 1_500_000, 413),
        ("POST", "/api/rules", {"project_id": 1}, 400),
        ("POST", "/api/rules", {"project_id": 99, "title": "t"}, 409),
        ("POST", "/api/rules", {"project_id": "x", "title": "t"}, 400),
        ("POST", "/api/rules", {"project_id": 1, "title": "t", "severity": "odd"}, 400),
        ("GET", "/api/rules/abc", None, 400),
        ("GET", "/api/rules/99999999999999", None, 400),
        ("GET", "/api/rules?limit=0", None, 400),
        ("GET", "/api/rules?project_id=x", None, 400),
        ("GET", "/api/nothing", None, 404),
        ("GET", "/static/..%2frules_api", None, 404),
        ("DELETE", "/api/rules", None, 405),
        ("POST", "/api/memories", {"content": ""}, 400),
        ("POST", "/api/memories", {"content": "x", "embedding": [1]}, 400),
        ("POST", "/api/memories", {"content": "x", "embedding": [0] * 384}, 400),
        ("POST", "/api/memories", {"content": "x", "embedding": [float("nan")] * 384}, 400),
        ("POST", "/api/memories", {"content": "x", "importance": 2}, 400),
        ("POST", "/api/memories", {"content": "x", "session_id": "no"}, 400),
        ("POST", "/api/memories/search", {"content": "x", "limit": True}, 400),
        ("POST", "/api/counters/x", None, 503),
    ],
)
def test_what_cannot_be_done_is_refused_with_one_line(
    unchanged_api: Api, method: str, path: str, body: object, status: int
) -> None:
    """The client learns why; nothing ends as an internal error."""
    found, document = unchanged_api.call(method, path, body)
    assert (found, list(document)) == (status, ["error"])
    assert document["error"]
    assert "\n" not in document["error"]


def test_memories_are_found_by_the_nearest_embedding(api: Api) -> None:
    """By a text that shares words, and by a vector; the nearest comes first."""
    _, session = api.call("POST", "/api/sessions", {"name": "s"})
    for content in ("the quick brown fox", "lazy dogs sleep", "nothing in common"):
        memory = {"content": content, "session_id": session["id"], "metadata": {"k": [1]}}
        assert api.call("POST", "/api/memories", memory)[0] == 201
    vector = [0.0] * 383 + [-1.5]
    _, given = api.call("POST", "/api/memories", {"content": "given", "embedding": vector})
    assert api.call("GET", f"/api/memories/{given['id']}")[1]["embedding"] == vector

    _, found = api.call("POST", "/api/memories/search", {"content": "brown foxes", "limit": 2})
    assert len(found["memories"]) == 2
    assert found["memories"][0]["content"] == "the quick brown fox"
    assert found["memories"][0]["session_id"] == session["id"]
    _, found = api.call("POST", "/api/memories/search", {"embedding": vector, "limit": 1})
    assert [memory["content"] for memory in found["memories"]] == ["given"]
    assert found["memories"][0]["distance"] == pytest.approx(0, abs=1e-6)

    assert api.call("DELETE", f"/api/memories/{given['id']}")[0] == 204
    assert api.call("GET", f"/api/memories/{given['id']}")[0] == 404
    assert len(api.call("GET", "/api/memories")[1]["memories"]) == 3
    assert len(api.call("GET", "/api/sessions")[1]["sessions"]) == 1


def test_uploads_come_back_as_they_were(api: Api) -> None:
    """Upload into folders, replace, list, read, delete; an empty file is a file."""
    content = bytes(range(256)) * 5000
    status, stored = api.call("PUT", "/api/uploads/2026/a%20%C3%A4.bin", content)
    assert status == 201
    digest = hashlib.sha256(content).hexdigest()
    assert stored == {"path": "2026/a ä.bin", "bytes": len(content), "sha256": digest}
    assert api.call("PUT", "/api/uploads/2026/a%20%C3%A4.bin", b"new")[0] == 200
    assert api.call("PUT", "/api/uploads/empty", b"")[0] == 201
    assert api.call("GET", "/api/uploads/2026/a%20%C3%A4.bin") == (200, b"new")
    listed = [{"path": "2026/a ä.bin", "bytes": 3}, {"path": "empty", "bytes": 0}]
    assert api.call("GET", "/api/uploads") == (200, {"uploads": listed})
    assert api.call("DELETE", "/api/uploads/empty")[0] == 204
    assert api.call("GET", "/api/uploads/empty")[0] == 404
    assert list_files(api.folder / "media") == ["2026/a ä.bin"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_an_upload_cannot_be_placed_or_found_outside(
    unchanged_api: Api, method: str, name: str
) -> None:
    """Names that lead out, or to a temporary file, are refused; nothing is written or removed."""
    api = unchanged_api
    (api.folder / "escaped").write_text("secret")
    before = set(list_files(api.folder))
    with closing(HTTPConnection("127.0.0.1", api.port, timeout=DEADLINE)) as connection:
        body = b"x" * 100_000 if method == "PUT" else None
        connection.request(method, f"/api/uploads/{name}", body)
        assert connection.getresponse().status == 400
    assert set(list_files(api.folder)) == before
    assert (api.folder / "escaped").read_text() == "secret"


def test_a_refused_upload_ends_in_an_orderly_way(unchanged_api: Api) -> None:
    """The body is read although it is refused: closing over it would reset the connection, and a
    client that is still sending would never see the answer."""
    with socket.socket() as client:
        # more than the buffers of both sides hold, so that sending ends only if somebody reads
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.settimeout(DEADLINE)
        client.connect(("127.0.0.1", unchanged_api.port))
        client.sendall(b"PUT /api/uploads/.x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        client.sendall(b"x" * 1_000_000)
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 400 ")


def test_a_symbolic_link_in_the_uploads_is_not_followed(start_api: Callable[..., Api]) -> None:
    """Whoever restores a volume with such a link opens no way out of it."""
    api = start_api()
    (api.folder / "secret").write_text("secret")
    (api.folder / "media" / "out").symlink_to("..")
    (api.folder / "media" / "link").symlink_to("../secret")
    assert api.call("GET", "/api/uploads/out/secret")[0] == 400
    assert api.call("PUT", "/api/uploads/out/secret", b"x")[0] == 400
    assert api.call("GET", "/api/uploads/link")[0] == 404
    assert api.call("GET", "/api/uploads") == (200, {"uploads": []})
    assert (api.folder / "secret").read_text() == "secret"


def test_an_upload_that_breaks_off_leaves_nothing(start_api: Callable[..., Api]) -> None:
    """The old file stays, and no temporary file does."""
    api = start_api()
    api.call("PUT", "/api/uploads/a", b"old")
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(b"PUT /api/uploads/a HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
        wait_until(lambda: len(list_files(api.folder / "media")) == 2, "the temporary file")
    wait_until(lambda: list_files(api.folder / "media") == ["a"], "the temporary file to go")
    assert api.call("GET", "/api/uploads/a") == (200, b"old")


def test_sigterm_finishes_the_running_request_and_takes_no_other(
    start_api: Callable[..., Api],
) -> None:
    """What was begun is answered, an idle connection holds nothing up, and the end is clean."""
    api = start_api()
    address = ("127.0.0.1", api.port)
    with socket.create_connection(address), socket.create_connection(address) as client:
        client.settimeout(DEADLINE)
        client.sendall(b"PUT /api/uploads/a HTTP/1.1\r\nContent-Length: 10\r\n\r\nfirst")
        wait_until(lambda: list_files(api.folder / "media"), "the upload to begin")
        api.process.terminate()
        wait_until(lambda: not listens(api.port), "the port to close")
        client.sendall(b"later")
        assert client.recv(100).startswith(b"HTTP/1.1 201 ")
    assert api.process.wait(DEADLINE) == 0
    assert (api.folder / "media" / "a").read_bytes() == b"firstlater"


def listens(port: int) -> bool:
    """Whether anybody listens on the port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_request_that_never_ends_does_not_hold_the_stop_for_ever(
    start_api: Callable[..., Api],
) -> None:
    """After its patience the process ends, with 1, before Docker would kill it."""
    api = start_api(STOP_PATIENCE="0.3")
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(b"PUT /api/uploads/a HTTP/1.1\r\nContent-Length: 10\r\n\r\nfirst")
        wait_until(lambda: list_files(api.folder / "media"), "the upload to begin")
        assert api.end() == 1
    assert "requests open" in api.read_log()


def test_it_finds_the_database_again_after_a_restart(server: Server, api: Api) -> None:
    """Healthy, unhealthy while the server is away, healthy; no request fails after that."""
    project = make_project(api)
    server.stop()
    try:
        assert api.call("GET", "/health")[0] == 503
        assert api.call("GET", "/api/projects")[0] == 503
    finally:
        server.start()
    assert api.call("GET", f"/api/projects/{project}")[0] == 200
    assert api.call("GET", "/health")[0] == 200


def test_it_survives_that_its_sessions_are_ended(migrated: Databases, api: Api) -> None:
    """An exchange of databases ends all sessions; the next request must not notice."""
    project = make_project(api)
    ended = migrated.server.execute(
        "postgres",
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = %s AND application_name = 'rules_api'",
        migrated.rulesdb,
    )
    assert ended
    assert api.call("GET", f"/api/projects/{project}")[0] == 200


def test_the_password_is_in_no_argument_and_no_log(api: Api) -> None:
    """Neither when all is well nor when the database refuses it."""
    make_project(api)
    command = Path(f"/proc/{api.process.pid}/cmdline")
    if command.exists():
        assert PASSWORD.encode() not in command.read_bytes()
    assert PASSWORD not in api.read_log()


def test_a_wrong_password_is_not_repeated_to_anybody(start_api: Callable[..., Api]) -> None:
    """The refusal names the user, never the password that was tried."""
    api = start_api(POSTGRES_PASSWORD="secret-that-is-wrong")
    status, answer = api.call("GET", "/api/projects")
    assert status == 503
    assert "secret-that-is-wrong" not in f"{answer}{api.read_log()}"


def test_static_files_are_collected_at_the_start(start_api: Callable[..., Api]) -> None:
    """An emptied folder is filled again by a start; foreign files stay."""
    first = start_api()
    folder = first.folder / "staticfiles"
    sums = first.call("GET", "/static/staticfiles.json")[1]["files"]
    assert sums
    for name, expected in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    (folder / "rules.css").unlink()
    (folder / "foreign").write_text("x")
    start_api(STATIC_DIR=str(folder))
    assert hashlib.sha256((folder / "rules.css").read_bytes()).hexdigest() == sums["rules.css"]
    assert (folder / "foreign").exists()


def test_requests_are_logged_to_the_folder_one_line_each(start_api: Callable[..., Api]) -> None:
    """What a client sends cannot forge a line."""
    api = start_api(LOG_DIR="logs")
    api.call("GET", "/api/none?x=%0aforged")
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(b"GET /a\x1b[2J\x0bforged HTTP/1.0\r\n\r\n")
        client.recv(1000)
    lines = (api.folder / "logs" / "backend.log").read_text().splitlines()
    # the second request is malformed, which is a line of its own
    assert len([line for line in lines if "GET" in line]) == 3
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) and line.isprintable() for line in lines)


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """A server on a port that answers every connection with the same bytes, then closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(1000)
                    client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b":7\r\n", (200, {"name": "c", "value": 7})),
        (b"-MISCONF cannot write\r\n", (503, {"error": "redis refuses: MISCONF cannot write"})),
        (b":7", (503, {"error": "redis does not answer: the reply ended early"})),
        (b"", (503, {"error": "redis does not answer: the reply ended early"})),
    ],
)
def test_a_count_counts_only_when_it_was_acknowledged(
    start_api: Callable[..., Api], reply: bytes, expected: tuple[int, object]
) -> None:
    """An error, half a reply and no reply are all no acknowledgement."""
    with answering(reply) as port:
        api = start_api(REDIS_HOST="127.0.0.1", REDIS_PORT=port)
        assert api.call("POST", "/api/counters/c") == expected
