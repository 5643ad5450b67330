"""The tasks of this stack: those of Quiesce, those of this project, and yours.

`./inv --list` shows them, `./inv --help TASK` explains one.
"""

from __future__ import annotations

from invoke import Context, Exit, task

from quiesce.menu import compose


@task(
    auto_shortflags=False,
    help={
        "long": "also run the tests that take minutes",
        "quick": "only unit, golden and architecture tests, with fewer random examples",
        "mutants": "only the mutants: after each small change to the code, a test has to fail",
        "provision": "install and start a Docker Engine if there is none (as CI=true does)",
        "only": "stages, comma-separated (default: all)",
        "expression": "only tests whose names match, as with pytest -k",
        "engine": "only tests that need an engine, on this one: docker-28.5, podman-5.8, …",
    },
)
def test(
    _: Context,
    long: bool = False,
    quick: bool = False,
    mutants: bool = False,
    provision: bool = False,
    only: str = "",
    expression: str = "",
    engine: str = "",
) -> None:
    """Check format and types, and run the tests."""
    from tests import command

    code = command.main(
        long=long,
        quick=quick,
        mutants=mutants,
        provision=provision,
        only=only,
        expression=expression,
        engine=engine,
    )
    if code:
        raise Exit(code=code)


@task(
    auto_shortflags=False,
    help={
        "full": "use 2 GB of files and a 1 GB database, instead of a tenth of that",
        "databases": (
            "measure one database only, compared with pg_dump and pg_restore with the same checks"
        ),
        "stores": (
            "measure sending a set to an S3 server and back, compared with rclone; --full: 10 GB"
        ),
        "window": (
            "measure the window of a backup of the example stack, compared with the longest chain "
            "of stop, start and healthy"
        ),
        "restore": (
            "measure the downtime of a restore of 0.2, 1 and 2 GB, compared with a safety set made "
            "in the window, plain commands and a bare restart"
        ),
        "rounds": "how many rounds to measure",
        "json": "print one JSON document to standard output",
    },
)
def bench(
    _: Context,
    full: bool = False,
    databases: bool = False,
    stores: bool = False,
    window: bool = False,
    restore: bool = False,
    rounds: int = 3,
    json: bool = False,
) -> None:
    """Compare the speed of Quiesce with tar, restic and borg on this machine."""
    from benchmarks import command

    code = command.main(
        full=full,
        rounds=rounds,
        as_json=json,
        databases=databases,
        stores=stores,
        window=window,
        restore=restore,
    )
    if code:
        raise Exit(code=code)


namespace = compose(globals())
