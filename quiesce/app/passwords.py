"""Passwords that the Compose file gives a service: `password_from`, looked up when needed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from quiesce.errors import RequestError
from quiesce.model import LateSecret
from quiesce.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiesce.model import Database, Stack


def with_passwords(stack: Stack) -> Stack:
    """Return the stack with the passwords of `password_from`. Compose is called once, on first
    use."""
    if not any(database.password_from for database in stack.databases):
        return stack

    @cache
    def environments() -> Mapping[str, Mapping[str, str]]:
        from quiesce.app.wiring import discovery_of

        return discovery_of(stack.instance).discover().environments()

    def with_password(database: Database) -> Database:
        if not database.password_from:
            return database
        return replace(database, password=LateSecret(lambda: _look_up(environments(), database)))

    return replace(stack, databases=tuple(map(with_password, stack.databases)))


def _look_up(environments: Mapping[str, Mapping[str, str]], database: Database) -> str:
    """Return the password. Raise RequestError that names the variable and never a value."""
    service, name = database.service, database.password_from
    variables = environments.get(service, {})
    if variables.get(name):
        return variables[name]
    state = "is empty" if name in variables else "is not set"
    raise RequestError(
        f"{name} {state} in the environment of service {service} in the Compose file",
        suggest(
            name,
            [known for known in variables if "PASS" in known.upper()],
            unlike=f"set databases.{database.key}.password_from to the variable with the password",
        ),
    )
