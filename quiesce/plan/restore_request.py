"""What was asked of a restore, what of the set that is, and what speaks against it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quiesce.errors import RequestError
from quiesce.exclusion import LeftOut, is_run_folder
from quiesce.model import BackupSet, Database, DatabaseRecord, Stack, Volume
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
    """What was asked for. `migrations` says, per database, whether to migrate after loading and
    to which revision; it and `rows` were decided from the set and the scripts before planning.

    `data_only`: rows alone; `in_place`: into the live database itself. `accept_lossy`: changes of
    types that may change values are right; `force`: tables that the set does not have may keep
    their rows. `assume_revision` is that of a set which recorded none. `create_roles`: roles that
    the server lacks are created as the set has them. `break_replication`: subscriptions and
    logical slots of databases that are replaced may go.
    """

    only: tuple[str, ...] = ()
    safety: bool = True
    restart: bool = True
    migrations: tuple[tuple[str, str], ...] = ()
    data_only: bool = False
    in_place: bool = False
    accept_lossy: bool = False
    force: bool = False
    assume_revision: str = ""
    #: The name of a new database, for one that is restored beside the live one and left there.
    beside: str = ""
    rows: tuple[RowsTarget, ...] = ()
    create_roles: bool = False
    break_replication: bool = False
    roles: tuple[RolesWanted, ...] = ()
    #: Of the one volume that is restored, this file or folder alone.
    path: str = ""
    #: Constraints that rows break may come back NOT VALID.
    not_valid: bool = False
    #: Entries of a dump that cannot be brought back, rows never, may be left out.
    skip_broken: bool = False
    #: The source is no set: SQL scripts and archives that record nothing.
    foreign: bool = False
    #: What is in volumes and in no set, as `exclude` left it out, by their keys.
    lost: Mapping[str, tuple[LeftOut, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of a set is brought back: declared databases with their records, and volumes."""

    databases: tuple[tuple[Database, DatabaseRecord], ...]
    volumes: tuple[Volume, ...]


def choose(
    stack: Stack, source: BackupSet, only: Sequence[str], *, data_only: bool = False
) -> Chosen:
    """Return the databases and volumes of the set to bring back; with `data_only` no volumes."""
    records = {record.key: record for record in source.manifest.databases}
    volumes = {record.key for record in source.manifest.volumes}
    if data_only:
        if named := sorted(volumes & set(only)):
            raise RequestError(
                f"volume {named[0]} has no rows", "leave it out, or leave out --data-only"
            )
        volumes = set()
    held = [*records, *sorted(volumes)]
    for name in only:
        if name not in records and name not in volumes:
            raise RequestError(f"{source.name} holds no {name}", suggest(name, held))
    wanted = set(only) or set(held)
    declared = {database.key for database in stack.databases}
    declared |= {volume.key for volume in stack.volumes}
    unknown = sorted((wanted & set(held)) - declared)
    if unknown:
        raise RequestError(
            f"{source.name} holds {', '.join(unknown)}, which {stack.file.name} does not declare",
            f"declare it, or choose with --only {','.join(sorted(wanted - set(unknown)))}",
        )
    return Chosen(
        tuple((d, records[d.key]) for d in stack.databases if d.key in wanted & set(records)),
        tuple(v for v in stack.volumes if v.key in wanted & volumes),
    )


def require_servers(chosen: Chosen, observed: Observed) -> None:
    """Raise RequestError naming a server of these databases that cannot be reached."""
    for database, _ in chosen.databases:
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
    chosen: Chosen, observed: Observed, source: BackupSet, request: RestoreRequest
) -> None:
    """Raise RequestError unless one piece of one volume can be restored by itself."""
    if chosen.databases or len(chosen.volumes) != 1 or request.beside or request.data_only:
        raise RequestError(
            "--path is of one volume", "name that volume with --only, and leave the rest out"
        )
    (volume,) = chosen.volumes
    parts = request.path.split("/")
    plain = not {"", ".", ".."} & set(parts) and not set("\0\n") & set(request.path)
    if not plain or is_run_folder(parts[0]):
        raise RequestError(
            f"{request.path!r} is no path in a volume", "write it from its root on, like a/b"
        )
    if volume.key in {cluster.volume for cluster in source.manifest.clusters}:
        raise RequestError(
            f"volume {volume.key} is a data directory of PostgreSQL, and good as a whole only",
            "leave --path out",
        )
    if not observed.volume(volume.key).exists:
        raise RequestError(
            f"volume {volume.key} does not exist, so there is nothing to put {request.path} into",
            "leave --path out: all of the volume is restored",
        )
