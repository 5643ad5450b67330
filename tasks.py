"""The menu of this stack: Quiesce's tasks, this project's own, and yours.

`./inv --list` shows them, `./inv --help TASK` explains one.
"""

from __future__ import annotations

from invoke import Context, Exit, task

from quiesce.menu import compose


@task(
    auto_shortflags=False,
    help={
        "long": "add the tests that take minutes",
        "quick": "after each save: unit, golden and architecture, with fewer random examples",
        "provision": "install and start a Docker Engine where there is none (as CI=true does)",
        "only": "stages, comma-separated (default: all)",
        "expression": "only tests whose names match, as pytest -k",
    },
)
def test(
    _: Context,
    long: bool = False,
    quick: bool = False,
    provision: bool = False,
    only: str = "",
    expression: str = "",
) -> None:
    """Check format, types and every test."""
    from tests import command

    code = command.main(
        long=long, quick=quick, provision=provision, only=only, expression=expression
    )
    if code:
        raise Exit(code=code)


@task(
    auto_shortflags=False,
    help={
        "full": "2 GB of files and 1 GB in the database, instead of a tenth of it",
        "databases": "a database alone, beside pg_dump and pg_restore with the same checks",
        "stores": "a set sent to an S3 server and back, beside rclone; --full: 10 GB",
        "rounds": "how often everybody takes a turn",
        "json": "one JSON document on standard output",
    },
)
def bench(
    _: Context,
    full: bool = False,
    databases: bool = False,
    stores: bool = False,
    rounds: int = 3,
    json: bool = False,
) -> None:
    """Measure Quiesce beside tar, restic and borg on this machine, in one run."""
    from benchmarks import command

    code = command.main(full=full, rounds=rounds, as_json=json, databases=databases, stores=stores)
    if code:
        raise Exit(code=code)


namespace = compose(globals())
