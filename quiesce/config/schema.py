"""The shape of `stack.yaml`. The descriptions are what editors show, through the JSON Schema.

Rules that need more than one value are in `checks.py`."""

from __future__ import annotations

from pydantic import Field

from quiesce.config import scalars as kind
from quiesce.config.schema_remote import (
    EncryptSection,
    NotifySection,
    PingSection,
    Section,
    StoreSection,
)
from quiesce.model import DEFAULT_ENGINE, engine_of, engines

# Pydantic reads the annotations of these classes, so they are not for type checking only.
_REFERENCES = "`${VAR}` is looked up in the env file, then in `.env`, then in the environment."


def _by_engine(fact: str) -> str:
    """Return the default that each engine has for this key."""
    return ", ".join(f"`{getattr(engine_of(one), fact)}` ({one})" for one in engines())


class InstanceSection(Section):
    """One place where the stack runs."""

    runtime: kind.RuntimeWord = Field(
        "compose",
        description="Where services run: in Docker Compose, or as processes on this machine.",
    )
    env_file: kind.Text | None = Field(
        None, description="Variables for this file and for Compose; they override `.env`."
    )
    files: list[kind.Text] = Field(
        [], description="Compose files, in order. Default: those that Compose finds itself."
    )
    project: kind.ProjectName | None = Field(
        None,
        description="Compose project name. Default: the one that Compose uses. That is "
        "COMPOSE_PROJECT_NAME, `name:` of the Compose file, or the name of its folder.",
    )
    context: kind.ContextName | None = Field(
        None, description="Docker context. Default: DOCKER_HOST, or the context in use."
    )
    profiles: list[kind.ProfileName] = Field([], description="Compose profiles to enable.")
    retention: kind.RetentionName = Field(
        ..., description="The entry of `retention:` with the rules for this instance's sets."
    )
    stores: list[kind.StoreName] = Field(
        [], description="The entries of `stores:` to which this instance's sets are copied."
    )


class DatabaseSection(Section):
    """A database to dump, restore and migrate."""

    service: kind.ServiceName = Field(..., description="The service in which its server runs.")
    engine: kind.EngineWord = Field(
        DEFAULT_ENGINE, description="The kind of server. All databases of a service have the same."
    )
    name: kind.NameOnServer | None = Field(
        None,
        description="Its name on the server; any name that the server accepts. Default: the key.",
    )
    user: kind.Text | None = Field(
        None,
        description="The user to connect as; it must be able to create databases. Default: "
        f"{_by_engine('user')}.",
    )
    password: kind.Text | None = Field(
        None,
        description=f"A reference such as `${{POSTGRES_PASSWORD}}`; never a literal. {_REFERENCES}",
    )
    password_file: kind.Text | None = Field(
        None, description="A file that contains the password, instead of `password`."
    )
    password_from: kind.VariableName | None = Field(
        None,
        description="The variable of the service's environment in the Compose file that contains "
        "the password, instead of `password`.",
    )
    port: kind.Port | None = Field(
        None,
        description=f"The port of the server inside its service. Default: {_by_engine('port')}.",
    )
    migrations: kind.Text | None = Field(None, description="The Alembic ini file of this database.")
    roles: kind.RolesWord = Field(
        "without-passwords",
        description="`with-passwords`: `globals.sql` contains the password hashes of the roles. "
        "Then sets must be kept secret.",
    )


class VolumeSection(Section):
    """A named volume, under its key in the Compose file."""

    purpose: kind.Text | None = Field(None, description="What it contains, for people.")
    priority: kind.PriorityWord = Field(
        "important", description="How important it is, for `inv volumes` and reports."
    )
    backup: kind.BackupWord = Field(
        "files",
        description="`files`: archived. `by-dump`: the volume of a database, covered by the "
        "dumps of `databases:`. `never`: not backed up.",
    )
    clean: kind.CleanWord | None = Field(
        None, description="The task that empties it: `clean-logs` or `clean-cache`."
    )
    exclude: list[kind.Exclude] = Field(
        [], description="Patterns of what to leave out of backups, from the volume's root."
    )
    max_size: kind.Size | None = Field(
        None, description="`inv volumes` marks it if it is larger, for example `2GiB`."
    )


class PathSection(VolumeSection):
    """A folder of the engine's machine that services mount."""

    path: kind.Text = Field(
        ..., description="The folder: absolute, or relative to the folder of this file."
    )
    backup: kind.BackupWord = Field(
        ..., description="`files`: archived. `by-dump`: of a database server. `never`: not kept."
    )


class WritersSection(Section):
    """Writers that cannot be detected from volumes and depends_on."""

    services: list[kind.ServiceName] = Field(
        [],
        description="Services that write to databases or volumes, besides those that are detected.",
    )
    ignore: list[kind.Text] = Field(
        [],
        description="Database clients (application or role names), services and containers "
        "outside of the stack whose writes do not matter.",
    )


class RestartSection(Section):
    """How services stop and start again."""

    order: list[kind.ServiceName] = Field(
        [],
        description="Start order; services stop in reverse. It must not contradict depends_on.",
    )
    stop_timeout: kind.Duration = Field(
        "60s",
        validate_default=True,
        description="The minimum time that a service gets to stop, for example `60s`.",
    )
    health_timeout: kind.Duration = Field(
        "120s",
        validate_default=True,
        description="How long to wait until a service is up: healthy, or running if it has no "
        "health check. The server of a declared database is up when it answers SQL.",
    )
    keep_running: list[kind.ServiceName] = Field(
        [], description="Services that keep running although a service that they depend on stops."
    )


class RetentionSection(Section):
    """Which sets are kept. A set is kept as long as any of the rules keeps it."""

    keep_last: kind.Count | None = Field(None, description="The number of newest sets to keep.")
    keep_within: kind.Duration | None = Field(
        None, description="Keep every set younger than this, for example `7d`."
    )
    keep_hourly: kind.Count | None = Field(
        None, description="Keep the newest set of each hour, for this many hours."
    )
    keep_daily: kind.Count | None = Field(
        None, description="Keep the newest set of each day, for this many days."
    )
    keep_weekly: kind.Count | None = Field(
        None, description="Keep the newest set of each week, for this many weeks."
    )
    keep_monthly: kind.Count | None = Field(
        None, description="Keep the newest set of each month, for this many months."
    )
    keep_yearly: kind.Count | None = Field(
        None, description="Keep the newest set of each year, for this many years."
    )


class ServiceSection(Section):
    """A service of `runtime: host`: a program of yours, or the embedded PostgreSQL."""

    command: kind.Words | None = Field(None, description="The program and its arguments.")
    postgres: kind.PostgresWord | None = Field(
        None, description="`embedded`: a bundled PostgreSQL server, instead of a command."
    )
    user: kind.Text = Field("postgres", description="The superuser of an embedded PostgreSQL.")
    password: kind.Text | None = Field(
        None, description=f"Its password, as a reference; never a literal. {_REFERENCES}"
    )
    password_file: kind.Text | None = Field(
        None, description="A file that contains the password, instead of `password`."
    )
    cwd: kind.Text | None = Field(
        None, description="Its working directory. Default: the folder of this file."
    )
    environment: dict[kind.VariableName, kind.EnvironmentValue] = Field(
        {}, description="Variables for the program; they override the env file."
    )
    port: kind.Port | None = Field(None, description="The port on 127.0.0.1 on which it listens.")
    volumes: dict[kind.VolumeKey, kind.VariableName] = Field(
        {}, description="Volume keys, each with the variable that receives the path of its folder."
    )
    health: kind.Words | None = Field(
        None, description="A command; the service is healthy when it exits with 0."
    )
    health_http: kind.HttpPath | None = Field(
        None, description="A path on `port`; the service is healthy when it answers 2xx or 3xx."
    )
    depends_on: list[kind.ServiceName] = Field(
        [], description="Services that must be healthy before it starts."
    )
    stop_signal: kind.SignalName = Field("SIGTERM", description="The signal that stops it.")
    stop_timeout: kind.Duration = Field(
        "10s",
        validate_default=True,
        description="The minimum time that it gets to stop, for example `10s`.",
    )


class ProbeSection(Section):
    """A check that must pass: an HTTP request or a query."""

    service: kind.ServiceName | None = Field(None, description="The service to ask over HTTP.")
    port: kind.Port | None = Field(None, description="Its port inside the container.")
    path: kind.Text | None = Field(None, description="The path to request, for example `/health`.")
    database: kind.DatabaseName | None = Field(None, description="The database to query.")
    query: kind.Text | None = Field(
        None, description="A read-only query; its first value must be true."
    )


class CommandSection(Section):
    """A command to run in a service before or after a backup."""

    service: kind.ServiceName = Field(..., description="The service in which to run it.")
    command: kind.Words = Field(..., description="The program and its arguments; without a shell.")
    timeout: kind.Duration = Field(
        "60s", validate_default=True, description="The maximum time that it may take."
    )


class WriteSection(Section):
    """Data that a drill writes through a service, as its users do, and looks for later."""

    service: kind.ServiceName = Field(..., description="The service to ask over HTTP.")
    port: kind.Port = Field(..., description="Its port inside the container.")
    method: kind.MethodWord = Field("POST", description="`POST` or `PUT`.")
    path: kind.Text = Field(..., description="The path to write to; `{mark}` is the marker.")
    body: kind.Text | None = Field(None, description="The body to send; it contains `{mark}`.")
    read: kind.Text = Field(
        ...,
        description="The path to read it from, as in `/notes/{id}`, with `id` of the response.",
    )
    remove: kind.Text | None = Field(
        None, description="The path to delete after a drill on the instance itself."
    )


class DrillSection(Section):
    """How drills run."""

    network: kind.NetworkWord = Field(
        "internal", description="`open`: the copy of a drill may reach other networks."
    )
    writes: list[WriteSection] = Field(
        [], description="What a drill writes through the API of the services."
    )


class LegacySection(Section):
    """Where to restore the parts of an older script's archive."""

    db: kind.DatabaseName | None = Field(None, description="The database of `db_backup_*.sql`.")
    media: kind.VolumeKey | None = Field(None, description="The volume of `media_backup_*.tar.gz`.")
    static: kind.VolumeKey | None = Field(
        None, description="The volume of `static_backup_*.tar.gz`."
    )


class StackFile(Section):
    """What is backed up, how services stop and start, and how long backups are kept."""

    version: kind.Version = Field(..., description="The version of this format: 1.")
    timezone: kind.Text | None = Field(
        None, description="For names and retention, as in `Europe/Berlin`. Default: TZ, then UTC."
    )
    default_instance: kind.InstanceName | None = Field(
        None, description="The instance to use without `--instance`. Not needed with only one."
    )
    instances: dict[kind.InstanceName, InstanceSection] = Field(
        ..., min_length=1, description="The places where the stack runs."
    )
    databases: dict[kind.DatabaseName, DatabaseSection] = Field(
        {}, description="The databases to back up."
    )
    exclude_databases: list[kind.Text] = Field(
        [], description="Databases on the servers that are deliberately not backed up."
    )
    volumes: dict[kind.VolumeKey, VolumeSection] = Field(
        {}, description="The named volumes, by their keys in the Compose file."
    )
    exclude_volumes: list[kind.ExcludedVolume] = Field(
        [],
        description="Volume keys of the Compose file that Quiesce deliberately ignores, and "
        "anonymous volumes as `SERVICE:/path`.",
    )
    paths: dict[kind.PathKey, PathSection] = Field(
        {}, description="Bind-mounted folders. Their keys must not be keys of volumes."
    )
    writers: WritersSection = Field(
        {},
        validate_default=True,
        description="Writers that cannot be detected from volumes and depends_on.",
    )
    restart: RestartSection = Field(
        {}, validate_default=True, description="How services stop and start again."
    )
    retention: dict[kind.RetentionName, RetentionSection] = Field(
        {}, description="Retention profiles; each instance uses one."
    )
    services: dict[kind.ServiceName, ServiceSection] = Field(
        {}, description="The services of `runtime: host`. Compose has its own."
    )
    schedule: list[kind.TimingText] = Field(
        [], description="Jobs for `inv schedule --install`, for example `daily 02:00 data`."
    )
    stores: dict[kind.StoreName, StoreSection] = Field(
        {}, description="Off-site places for copies of sets."
    )
    encrypt: EncryptSection = Field(
        {}, validate_default=True, description="The recipients for whom sets are encrypted."
    )
    notify: list[NotifySection] = Field([], description="Who is notified of the results of runs.")
    ping: dict[kind.TaskWord, PingSection] = Field(
        {}, description="Monitors that raise an alarm if a run does not report, by task."
    )
    metrics: kind.Text | None = Field(
        None, description="The folder that node_exporter's textfile collector reads."
    )
    before: list[CommandSection] = Field(
        [], description="Commands to run before services stop for a backup."
    )
    after: list[CommandSection] = Field(
        [],
        description="Commands to run once services are back, even after a failure. "
        "They may run twice.",
    )
    probes: list[ProbeSection] = Field(
        [], description="Checks that must pass after a restore and in drills."
    )
    drill: DrillSection = Field({}, validate_default=True, description="How drills run.")
    legacy: LegacySection = Field(
        {},
        validate_default=True,
        description="Where to restore the parts of a `full_backup_*.tar.gz` of an older script.",
    )
    max_downtime: kind.Duration | None = Field(
        None, description="A backup that stops services for longer ends with exit code 7."
    )
    lock_patience: kind.Duration = Field(
        "5s",
        validate_default=True,
        description="How long a backup may keep another session waiting for a table.",
    )
    signing_key_file: kind.Text | None = Field(
        None,
        description="The key that signs sets in stores; keep a copy with the key that decrypts "
        "them. Default: `backups/.keys/signing.key`, created when a set is first "
        "uploaded.",
    )
    helper_image: kind.ImageName | None = Field(
        None,
        description="An image with GNU tar, GNU find, coreutils and zstd, for volumes that cannot "
        "be read directly.",
    )
