"""Runs a command in a running service without input and without showing its output."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.adapters.process import program
from quiesce.ports import CommandLine


def run_in_service(line: CommandLine, service: str, argv: Sequence[str], seconds: float) -> None:
    """Run the command. Raise QuiesceError, with its last lines, if it fails or takes too long."""
    program.run(
        line.argv,
        environment=line.environment,
        cwd=line.directory,
        timeout=seconds,
        what=f"{argv[0]} in service {service}",
        hint=f"try it with 'inv exec --service {service} -- {argv[0]} …'",
    )
