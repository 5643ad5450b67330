"""A command in a running service, to its end, for programs: nothing is typed, nothing is shown."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.adapters.process import program
from quiesce.ports import CommandLine


def run_in_service(line: CommandLine, service: str, argv: Sequence[str], seconds: float) -> None:
    """Run it. Raise QuiesceError, with its last lines, when it fails or takes too long."""
    program.run(
        line.argv,
        environment=line.environment,
        cwd=line.directory,
        timeout=seconds,
        what=f"{argv[0]} in service {service}",
        hint=f"try it with 'inv exec --service {service} -- {argv[0]} …'",
    )
