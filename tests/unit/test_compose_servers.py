"""What may be run in a container whose first process is a PostgreSQL server."""

from __future__ import annotations

from typing import Any

import pytest

from quiesce.adapters.compose.server_containers import (
    is_bare_server,
    orphaning_check,
    probe_command,
)


def _container(
    *test: str,
    init: bool | None = None,
    path: str = "docker-entrypoint.sh",
    service: str = "db",
    env: tuple[str, ...] = ("PGDATA=/data", "POSTGRES_USER=app", "ODD=two words"),
) -> dict[str, Any]:
    """A container as the engine shows it."""
    return {
        "Path": path,
        "HostConfig": {"Init": init},
        "Config": {
            "Labels": {"com.docker.compose.service": service},
            "Env": list(env),
            "Healthcheck": {"Test": list(test)} if test else None,
        },
    }


def test_a_server_is_known_by_its_image_or_as_a_declared_one() -> None:
    """An init of the engine's, or one of the image, takes the children that are left behind."""
    assert is_bare_server(_container(), ())
    assert not is_bare_server(_container(init=True), ())
    assert not is_bare_server(_container(path="/usr/bin/dumb-init"), ())
    assert not is_bare_server(_container(env=()), ())
    assert is_bare_server(_container(env=()), ("db",))


@pytest.mark.parametrize(
    ("test", "command"),
    [
        (("CMD", "pg_isready", "-q"), ["pg_isready", "-q"]),
        (("CMD-SHELL", "pg_isready -U postgres"), ["pg_isready", "-U", "postgres"]),
        (("CMD-SHELL", "pg_isready -U app || exit 1"), ["pg_isready", "-U", "app"]),
        (("CMD-SHELL", "pg_isready -U ${POSTGRES_USER} -d $POSTGRES_USER || exit 1"),
         ["pg_isready", "-U", "app", "-d", "app"]),
        (("CMD-SHELL", "pg_isready -U $UNKNOWN"), []),
        (("CMD-SHELL", "pg_isready -U $ODD"), []),
        (("CMD-SHELL", "pg_isready | grep accepting"), []),
        (("CMD-SHELL", "pg_isready && psql -c 'select 1'"), []),
        (("CMD-SHELL", "pg_isready > /dev/null"), []),
        (("CMD-SHELL", "pg_isready -U 'unclosed"), []),
        (("CMD", "sh", "-c", "pg_isready"), []),
        (("CMD", "/check.sh"), []),
        (("NONE",), []),
        ((), []),
    ],
)  # fmt: skip
def test_beside_a_server_its_health_is_asked_by_one_program_or_by_the_engine(
    test: tuple[str, ...], command: list[str]
) -> None:
    """Never by a shell of ours: killed, it would leave its child to the server."""
    assert probe_command(_container(*test), ()) == command


def test_elsewhere_the_health_command_is_what_it_is() -> None:
    """Also of a server that has an init."""
    shell = ["/bin/sh", "-c", "pg_isready | grep accepting"]
    line = ("CMD-SHELL", "pg_isready | grep accepting")
    assert probe_command(_container(*line, init=True), ()) == shell
    assert probe_command(_container(*line, env=()), ()) == shell


def test_a_check_that_the_engine_may_have_to_kill_is_named() -> None:
    """`pg_isready` alone leaves nothing behind."""
    assert orphaning_check(_container("CMD", "pg_isready", "-q")) == ""
    assert orphaning_check(_container()) == ""
    assert "in a shell" in orphaning_check(_container("CMD-SHELL", "pg_isready"))
    assert "in a shell" in orphaning_check(_container("CMD", "bash", "-c", "pg_isready"))
    assert "/check" not in orphaning_check(_container("CMD", "/check.sh"))
    assert "check.sh" in orphaning_check(_container("CMD", "/check.sh"))
