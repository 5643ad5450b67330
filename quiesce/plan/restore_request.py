"""What was asked of a restore, what was found out for it, and what speaks against it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quiesce.errors import RequestError
from quiesce.exclusion import LeftOut, is_run_folder
from quiesce.model import Database, RestoreSource, Stack, Volume
from quiesce.observed import Observed
from quiesce.plan.rows import RowsTarget
from quiesce.suggest import suggest


@dataclass(frozen=True, slots=True)
class RolesWanted:
    """Roles to be created from `file` of the set; `whole`: with rights over the whole server."""

    service: str
    file: str
    names: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What was asked for on the command line, and nothing else.

    `data_only`: rows alone; `in_place`: into the live database itself. `accept_lossy`: changes of
    types that may change values are right; `force`: tables that the set does not have may keep
    their rows. `assume_revision` is that of a set which recorded none. `create_roles`: roles that
    the server lacks are created as the set has them. `break_replication`: subscriptions and
    logical slots of databases that are replaced may go.
    """

    only: tuple[str, ...] = ()
    safety: bool = True
    restart: bool = True
    data_only: bool = False
    in_place: bool = False
    accept_lossy: bool = False
    force: bool = False
    assume_revision: str = ""
    #: The name of a new database, for one that is restored beside the live one and left there.
    beside: str = ""
    create_roles: bool = False
    break_replication: bool = False
    #: Of the one volume that is restored, this file or folder alone.
    path: str = ""
    #: Constraints that rows break may come back NOT VALID.
    not_valid: bool = False
    #: Entries of a dump that cannot be brought back, rows never, may be left out.
    skip_broken: bool = False


@dataclass(frozen=True, slots=True)
class RestoreInputs:
    """What the command finds out once, from the source, the scripts and the servers, for the
    planner.

    `migrations` are the databases to migrate after loading, each with the revision to go to;
    `rows` says where the rows of each database go when rows alone are restored; `roles` are those
    to create. `taken` are the names of databases that exist on the servers.
    """

    migrations: tuple[tuple[str, str], ...] = ()
    rows: tuple[RowsTarget, ...] = ()
    roles: tuple[RolesWanted, ...] = ()
    #: What is in volumes and in no set, as `exclude` left it out, by their keys.
    lost: Mapping[str, tuple[LeftOut, ...]] = field(default_factory=dict)
    taken: tuple[str, ...] = ()


def rows_alone(source: RestoreSource, request: RestoreRequest) -> bool:
    """Whether rows alone are restored: as asked, or because the source has nothing else."""
    return request.data_only or source.rows_only


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of a source is brought back, all of it declared."""

    databases: tuple[Database, ...]
    volumes: tuple[Volume, ...]


def choose(stack: Stack, source: RestoreSource, request: RestoreRequest) -> Chosen:
    """Return the databases and volumes to bring back; no volumes where rows alone are restored."""
    only = request.only
    databases = source.database_keys
    volumes = set(source.volume_keys)
    if rows_alone(source, request):
        if named := sorted(volumes & set(only)):
            raise RequestError(
                f"--data-only restores rows, and {named[0]} is a volume",
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
        raise RequestError(
            f"{source.name} contains {', '.join(unknown)}, which {stack.file.name} does not "
            "declare",
            f"declare it, or choose with --only {','.join(sorted(wanted - set(unknown)))}",
        )
    return Chosen(
        tuple(d for d in stack.databases if d.key in wanted & set(databases)),
        tuple(v for v in stack.volumes if v.key in wanted & volumes),
    )


def require_servers(chosen: Chosen, observed: Observed) -> None:
    """Raise RequestError naming a server of these databases that cannot be reached."""
    for database in chosen.databases:
        state = observed.database(database.key)
        if not state.reachable:
            raise RequestError(
                f"database server {database.service} cannot be reached: {state.problem}",
                state.remedy or f"run 'inv up --service {database.service}', then try again",
            )


def refuse_external_users(chosen: Chosen, observed: Observed) -> None:
    """Nobody may work on content that is half exchanged, and we stop only what is the stack's."""
    for volume in chosen.volumes:
        if others := observed.volume(volume.key).outside:
            raise RequestError(
                f"volume {volume.key} is also used by {', '.join(others)}, outside of the project",
                f"remove {others[0]} first, or leave the volume out with --only",
            )


def check_path(
    chosen: Chosen, observed: Observed, source: RestoreSource, request: RestoreRequest
) -> None:
    """Raise RequestError unless one piece of one volume can be restored by itself."""
    if (
        chosen.databases
        or len(chosen.volumes) != 1
        or request.beside
        or rows_alone(source, request)
    ):
        raise RequestError("--path needs exactly one volume", "name only that volume with --only")
    (volume,) = chosen.volumes
    parts = request.path.split("/")
    plain = not {"", ".", ".."} & set(parts) and not set("\0\n") & set(request.path)
    if not plain or is_run_folder(parts[0]):
        raise RequestError(
            f"{request.path!r} is not a valid path in a volume",
            "give it relative to the root of the volume, like a/b",
        )
    if volume.key in {cluster.volume for cluster in source.clusters}:
        raise RequestError(
            f"volume {volume.key} is a PostgreSQL data directory, which can only be restored as "
            "a whole",
            "omit --path",
        )
    if not observed.volume(volume.key).exists:
        raise RequestError(
            f"volume {volume.key} does not exist, so {request.path} cannot be restored into it",
            "omit --path to restore the whole volume",
        )
