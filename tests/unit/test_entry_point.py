"""Whether the entry point of a container still works, by the container's processes."""

from __future__ import annotations

import pytest

from quiesce.adapters.compose.entry_point import Process, still_running

#: Of each container: its processes as (pid, parent, command), of which 1 is the first.
SHIM = 900
TREES: dict[str, tuple[list[tuple[int, int, str]], str | None]] = {
    "the final server": (
        [(1, SHIM, "postgres -c jit=off"), (9, 1, "postgres: checkpointer")],
        None,
    ),
    "the final server below an init": (
        [(1, SHIM, "/sbin/docker-init -- docker-entrypoint.sh"), (7, 1, "/usr/bin/postgres")],
        None,
    ),
    "a server under a supervisor, with a script of its own": (
        [(1, SHIM, "python3 /usr/bin/supervisord"), (7, 1, "postgres"), (8, 1, "sh /rotate.sh"),
         (9, 8, "sleep 60")],
        None,
    ),
    "a temporary server, and a script that fills it": (
        [(1, SHIM, "bash /usr/local/bin/docker-entrypoint.sh postgres"), (7, 1, "postgres -D /d"),
         (8, 7, "postgres: app app [local] idle"), (9, 1, "sh /init/fill.sh"), (10, 9, "sleep 4")],
        "sh /init/fill.sh",
    ),
    "the same below an init": (
        [(1, SHIM, "/usr/bin/tini -- sh /entry.sh"), (6, 1, "sh /entry.sh"),
         (7, 1, "postgres -D /d"), (9, 6, "psql --file /init/big.sql")],
        "psql --file /init/big.sql",
    ),
    "a data directory that is created": (
        [(1, SHIM, "bash /entry.sh"), (7, 1, "initdb -D /d"), (8, 7, "sh -c postgres --boot"),
         (9, 8, "postgres --boot")],
        "",
    ),
    "a temporary server that is stopped": (
        [(1, SHIM, "bash /entry.sh"), (7, 1, "postgres"), (8, 1, "pg_ctl -w stop")],
        "pg_ctl -w stop",
    ),
    "a shell that waits for its server": (
        [(1, SHIM, "sh -c postgres; echo ended"), (7, 1, "postgres")],
        "",
    ),
    "the same, as another user": (
        [(1, SHIM, "sh /entry.sh"), (7, 1, "su postgres -c postgres"), (8, 7, "postgres")],
        "",
    ),
    "a health check beside the final server": (
        [(1, SHIM, "postgres"), (7, SHIM, "sh -c pg_isready"), (8, 7, "pg_isready")],
        None,
    ),
    "a health check beside a shell that waits": (
        [(1, SHIM, "-sh /entry.sh"), (7, 1, "postgres"), (8, SHIM, "sh -c pg_isready"),
         (9, 8, "pg_isready")],
        "",
    ),
    "a container that has ended": ([], None),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_what_an_entry_point_still_runs(name: str) -> None:
    """A program below its script that is no server, and runs none."""
    tree, expected = TREES[name]
    assert still_running([Process(*entry) for entry in tree], 1) == expected
