"""The request of a restore, its selection from a set, and checks of both. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quiesce.errors import RequestError
from quiesce.exclusion import LeftOut, is_run_folder
from quiesce.model import Database, ImportSource, RestoreSource, Stack, Volume, title_of
from quiesce.observed import Observed
from quiesce.plan.capabilities import engine_in, require, require_any
from quiesce.plan.rows import RowsTarget
from quiesce.suggest import suggest


@dataclass(frozen=True, slots=True)
class RolesWanted:
    """Roles to create from `file` of the set; `whole`: including server-wide rights."""

    service: str
    file: str
    names: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What was requested on the command line, and nothing else.

    `data_only`: rows only; `in_place`: into the live database itself. `accept_lossy`: accept types
    that could change values; `force`: tables that are not in the set may keep their rows.
    `assume_revision` is used for a set that recorded none. `create_roles`: create roles of the set
    that are missing on the server. `break_replication`: subscriptions and logical slots of
    databases that are replaced may be dropped.
    """

    only: tuple[str, ...] = ()
    safety: bool = True
    #: Make the safety set before the exchange, while services are stopped.
    safety_first: bool = False
    restart: bool = True
    data_only: bool = False
    in_place: bool = False
    accept_lossy: bool = False
    force: bool = False
    assume_revision: str = ""
    #: The new name of a database that is restored beside the live one (`--as`).
    beside: str = ""
    create_roles: bool = False
    break_replication: bool = False
    #: Restore only this file or folder of the one volume.
    path: str = ""
    #: Constraints that rows violate may be restored as NOT VALID.
    not_valid: bool = False
    #: Entries of a dump that cannot be restored may be left out, but never rows.
    skip_broken: bool = False


@dataclass(frozen=True, slots=True)
class RestoreInputs:
    """What the command finds out once, from the source, the scripts and the servers, for the
    planner.

    `migrations` are the databases to migrate after loading, each with the revision to go to; `rows`
    are the targets of the rows of each database, if only rows are restored; `roles` are the roles
    to create. `taken` are the names of databases that exist on the servers.
    """

    migrations: tuple[tuple[str, str], ...] = ()
    rows: tuple[RowsTarget, ...] = ()
    roles: tuple[RolesWanted, ...] = ()
    #: Content of volumes that `exclude` kept out of all sets, by volume key.
    lost: Mapping[str, tuple[LeftOut, ...]] = field(default_factory=dict)
    taken: tuple[str, ...] = ()


def rows_alone(source: RestoreSource, request: RestoreRequest) -> bool:
    """Whether only rows are restored: because this was requested, or because the source contains
    nothing else."""
    return request.data_only or source.rows_only


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is restored from a set: declared databases with their records, and volumes."""

    databases: tuple[Database, ...]
    volumes: tuple[Volume, ...]


def choose(stack: Stack, source: RestoreSource, request: RestoreRequest) -> Chosen:
    """Return the databases and volumes of the set to restore; with `data_only` no volumes."""
    only = request.only
    databases = source.database_keys
    volumes = set(source.volume_keys)
    if rows_alone(source, request):
        if named := sorted(volumes & set(only)):
            noun = next((v.noun for v in stack.volumes if v.key == named[0]), "volume")
            raise RequestError(
                f"--data-only restores rows, and {named[0]} is a {noun}",
                f"omit {named[0]}, or omit --data-only",
            )
        volumes = set()
    held = [*databases, *sorted(volumes)]
    for name in only:
        if name not in databases and name not in volumes:
            raise RequestError(f"{source.name} does not contain {name}", suggest(name, held))
    wanted = set(only) or set(held)
    declared = {database.key for database in stack.databases}
    declared |= {volume.key for volume in stack.volumes}
    unknown = sorted((wanted & set(held)) - declared)
    if unknown:
        rest = ",".join(sorted(wanted - set(unknown)))
        raise RequestError(
            f"{source.name} contains {', '.join(unknown)}, which {stack.file.name} does not "
            "declare",
            f"declare it in {stack.file.name}"
            + (f", or choose with --only {rest}" if rest else ""),
        )
    chosen = Chosen(
        tuple(d for d in stack.databases if d.key in wanted & set(databases)),
        tuple(v for v in stack.volumes if v.key in wanted & volumes),
    )
    _require_capable(chosen.databases, source, request)
    return chosen


def _require_capable(
    databases: tuple[Database, ...], source: RestoreSource, request: RestoreRequest
) -> None:
    """Raise RequestError if an engine lacks a requested capability, or differs from the engine in
    the set."""
    for database in databases:
        made_by = engine_in(source, database)
        if made_by != database.engine:
            raise RequestError(
                f"database {database.key} is one of {title_of(made_by)} in {source.name}, and one "
                f"of {title_of(database.engine)} in stack.yaml",
                "restore a set that was made after that change, or only the other databases and "
                "volumes with --only",
            )
    if rows_alone(source, request):
        require(databases, "rows", "restore a full set, without --data-only")
    if isinstance(source, ImportSource):
        require(databases, "scripts", "restore a set, or load the file with the server's client")
    if request.not_valid:
        require_any(databases, "not-valid", "omit --not-valid")
    if request.skip_broken:
        require_any(databases, "skip-broken", "omit --skip-broken")
    if request.create_roles:
        require_any(databases, "globals", "omit --create-roles")
    if request.break_replication:
        require_any(databases, "ties", "omit --break-replication")


def require_servers(chosen: Chosen, observed: Observed) -> None:
    """Raise RequestError if a server of these databases cannot be reached."""
    for database in chosen.databases:
        state = observed.database(database.key)
        if not state.reachable:
            raise RequestError(
                f"database server {database.service} cannot be reached: {state.problem}",
                state.remedy or f"run 'inv up --service {database.service}', then try again",
            )


def refuse_external_users(chosen: Chosen, observed: Observed) -> None:
    """Raise RequestError if containers outside of the project use the volumes: they would work on
    half-exchanged content, and only the stack's services are stopped."""
    for volume in chosen.volumes:
        if others := observed.volume(volume.key).outside:
            raise RequestError(
                f"{volume.noun} {volume.key} is also used by {', '.join(others)}, outside of the "
                "project",
                f"if {others[0]} is no longer needed, stop and remove it first; or leave the "
                f"{volume.noun} out with --only",
            )


def check_path(
    chosen: Chosen, observed: Observed, source: RestoreSource, request: RestoreRequest
) -> None:
    """Raise RequestError unless this one subpath of one volume can be restored."""
    if (
        chosen.databases
        or len(chosen.volumes) != 1
        or request.beside
        or rows_alone(source, request)
    ):
        raise RequestError(
            "--path needs exactly one volume or path", "name exactly one with --only"
        )
    (volume,) = chosen.volumes
    parts = request.path.split("/")
    plain = not {"", ".", ".."} & set(parts) and not set("\0\n") & set(request.path)
    if not plain or is_run_folder(parts[0]):
        raise RequestError(
            f"{request.path!r} is not a valid path in a {_inside(volume)}",
            f"give it relative to the root of the {_inside(volume)}, like a/b",
        )
    if volume.key in {cluster.volume for cluster in source.clusters}:
        raise RequestError(
            f"{volume.noun} {volume.key} is a PostgreSQL data directory, which can only be "
            "restored as a whole",
            "omit --path",
        )
    if not observed.volume(volume.key).exists:
        raise RequestError(
            f"{volume.noun} {volume.key} does not exist, so {request.path} cannot be restored into "
            "it",
            f"omit --path to restore the whole {_inside(volume)}",
        )


def _inside(volume: Volume) -> str:
    return "volume" if volume.folder is None else "folder"
