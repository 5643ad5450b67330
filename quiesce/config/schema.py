"""The shape of `stack.yaml`. The descriptions are what editors show, through the JSON Schema.

Rules that need more than one value are in `checks.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from quiesce.config import scalars as kind
from quiesce.config.schema_away import (
    EncryptSection,
    NotifySection,
    PingSection,
    Section,
    StoreSection,
)

# Pydantic reads the annotations of these classes, so they are not for type checking only.
_REFERENCES = "`${VAR}` comes from the env file, then from the environment."


class InstanceSection(Section):
    """One place where the stack runs."""

    runtime: kind.RuntimeWord = Field(
        "compose",
        description="Where services run: Docker Compose, or processes of this machine.",
    )
    env_file: kind.Text | None = Field(
        None,
        description="Variables for this file and for Compose, read over `.env`. From this folder.",
    )
    files: list[kind.Text] = Field(
        [], description="Compose files, in order. Default: Compose's own lookup."
    )
    project: kind.ProjectName | None = Field(
        None,
        description="Compose project name. Default: COMPOSE_PROJECT_NAME of the env file, `name:` "
        "of the Compose file, else the instance's name.",
    )
    context: kind.ContextName | None = Field(
        None, description="Docker context. Default: DOCKER_HOST, or the context in use."
    )
    profiles: list[kind.ProfileName] = Field([], description="Compose profiles to enable.")
    retention: kind.RetentionName = Field(
        ..., description="The entry of `retention:` that says how long this instance's sets live."
    )
    stores: list[kind.StoreName] = Field(
        [], description="The entries of `stores:` that get a copy of this instance's sets."
    )


class DatabaseSection(Section):
    """A PostgreSQL database to dump, restore and migrate."""

    service: kind.ServiceName = Field(..., description="The service its server runs in.")
    name: kind.PostgresName | None = Field(
        None,
        description="Its name on the server, any that PostgreSQL takes. Default: the key.",
    )
    user: kind.Text = Field(
        "postgres", description="The role to connect as; it must be able to create databases."
    )
    password: kind.Text | None = Field(
        None,
        description=f"A reference such as `${{POSTGRES_PASSWORD}}`; never a literal. {_REFERENCES}",
    )
    password_file: kind.Text | None = Field(
        None, description="A file that holds the password, instead of `password`."
    )
    port: kind.Port = Field(5432, description="The port the server listens on in its service.")
    migrations: kind.Text | None = Field(
        None, description="The Alembic ini file of this database's own history."
    )
    roles: kind.RolesWord = Field(
        "without-passwords",
        description="Whether `globals.sql` holds the hashes of the roles' passwords: "
        "`with-passwords`. Then a set is a secret.",
    )


class VolumeSection(Section):
    """A named volume, under its key in the Compose file."""

    purpose: kind.Text | None = Field(None, description="What it holds, for people.")
    priority: kind.PriorityWord = Field(
        "important", description="What losing it would mean, for `volumes` and reports."
    )
    backup: kind.BackupWord = Field(
        "files",
        description="`files`: archived. `by-dump`: a database's volume, kept by the dumps of "
        "`databases:`. `never`: not kept.",
    )
    clean: kind.CleanWord | None = Field(
        None, description="Which task empties it: `clean-logs` or `clean-cache`."
    )
    exclude: list[kind.Exclude] = Field(
        [], description="Patterns, from the volume's root, of what a backup leaves out."
    )
    max_size: kind.Size | None = Field(
        None, description="`volumes` marks it when it is larger, as in `2GiB`."
    )


class PathSection(Section):
    """A folder of the stack, bind-mounted into services, that cleaning may empty."""

    path: kind.Text = Field(..., description="Below this file's folder.")
    backup: kind.PathBackupWord = Field(
        ..., description="`never`: paths are not part of a set; a named volume can be."
    )
    clean: kind.CleanWord | None = Field(
        None, description="Which task empties it: `clean-logs` or `clean-cache`."
    )


class WritersSection(Section):
    """Who writes, where it cannot be seen from the volumes."""

    services: list[kind.ServiceName] = Field(
        [], description="Services that write to databases or volumes, besides those found."
    )
    ignore: list[kind.Text] = Field(
        [],
        description="Database clients (application or role names), services and containers outside "
        "of the stack that are known to be harmless.",
    )


class RestartSection(Section):
    """How services stop and come back."""

    order: list[kind.ServiceName] = Field(
        [], description="Start order; stopping is the reverse. Compose's depends_on goes first."
    )
    stop_timeout: kind.Duration = Field(
        "60s",
        validate_default=True,
        description="The least time a service gets to stop by itself, as in `60s`.",
    )
    health_timeout: kind.Duration = Field(
        "120s",
        validate_default=True,
        description="How long to wait for a started service to be healthy.",
    )
    keep_running: list[kind.ServiceName] = Field(
        [], description="Services that need not stop although what they depend on does."
    )


class RetentionSection(Section):
    """Which sets are kept. A set stays while any of the rules keeps it."""

    keep_last: kind.Count | None = Field(None, description="The newest so many sets.")
    keep_within: kind.Duration | None = Field(
        None, description="Every set younger than this, as in `7d`."
    )
    keep_hourly: kind.Count | None = Field(None, description="The newest of so many hours.")
    keep_daily: kind.Count | None = Field(None, description="The newest of so many days.")
    keep_weekly: kind.Count | None = Field(None, description="The newest of so many weeks.")
    keep_monthly: kind.Count | None = Field(None, description="The newest of so many months.")
    keep_yearly: kind.Count | None = Field(None, description="The newest of so many years.")


class ServiceSection(Section):
    """A service of `runtime: host`: a program of yours, or the embedded PostgreSQL."""

    command: kind.Words | None = Field(None, description="The program and its arguments.")
    postgres: kind.PostgresWord | None = Field(
        None, description="`embedded`: a PostgreSQL server of its own, instead of a command."
    )
    user: kind.Text = Field("postgres", description="The superuser of an embedded PostgreSQL.")
    password: kind.Text | None = Field(
        None, description=f"Its password, as a reference; never a literal. {_REFERENCES}"
    )
    password_file: kind.Text | None = Field(
        None, description="A file that holds the password, instead of `password`."
    )
    cwd: kind.Text | None = Field(
        None, description="The folder it runs in. Default: this file's folder."
    )
    environment: dict[kind.VariableName, kind.EnvironmentValue] = Field(
        {}, description="Variables for the program, over those of the env file."
    )
    port: kind.Port | None = Field(None, description="The port it listens on, at 127.0.0.1.")
    volumes: dict[kind.VolumeKey, kind.VariableName] = Field(
        {}, description="Volume keys, each with the variable that receives its folder."
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
        description="The least time it gets to stop by itself, as in `10s`.",
    )


class ProbeSection(Section):
    """A question that has to be answered well: over HTTP, or by a query."""

    service: kind.ServiceName | None = Field(None, description="Who is asked over HTTP.")
    port: kind.Port | None = Field(None, description="Its port inside the container.")
    path: kind.Text | None = Field(None, description="What is asked for, as in `/health`.")
    database: kind.DatabaseName | None = Field(None, description="Who is asked by a query.")
    query: kind.Text | None = Field(
        None, description="A query that changes nothing; its first value has to be true."
    )


class CommandSection(Section):
    """A command that is run in a service around a backup."""

    service: kind.ServiceName = Field(..., description="The running service.")
    command: kind.Words = Field(..., description="The program and its arguments; no shell.")
    timeout: kind.Duration = Field(
        "60s", validate_default=True, description="How long it may take."
    )


class WriteSection(Section):
    """Something that a drill writes through a service, as its users do, and looks for later."""

    service: kind.ServiceName = Field(..., description="Who is asked over HTTP.")
    port: kind.Port = Field(..., description="Its port inside the container.")
    method: kind.MethodWord = Field("POST", description="`POST` or `PUT`.")
    path: kind.Text = Field(..., description="Where it is written. `{mark}` is the drill's word.")
    body: kind.Text | None = Field(None, description="What is sent, with `{mark}` in it.")
    read: kind.Text = Field(
        ..., description="What is asked for the mark, as in `/notes/{id}`: `id` of the answer."
    )
    remove: kind.Text | None = Field(
        None, description="What is deleted again, after a drill on the instance itself."
    )


class DrillSection(Section):
    """How drills are done."""

    network: kind.NetworkWord = Field(
        "internal", description="Whether a drill's copy may reach other networks: `open`."
    )
    writes: list[WriteSection] = Field(
        [], description="What a drill writes through the services' own API."
    )


class LegacySection(Section):
    """Where the parts of an older script's archive go."""

    db: kind.DatabaseName | None = Field(None, description="The database of `db_backup_*.sql`.")
    media: kind.VolumeKey | None = Field(None, description="The volume of `media_backup_*.tar.gz`.")
    static: kind.VolumeKey | None = Field(
        None, description="The volume of `static_backup_*.tar.gz`."
    )


class StackFile(Section):
    """What a stack keeps, how its services come back, and how long backups live."""

    version: kind.Version = Field(..., description="The version of this format: 1.")
    timezone: kind.Text | None = Field(
        None, description="For names and retention, as in `Europe/Berlin`. Default: TZ, then UTC."
    )
    default_instance: kind.InstanceName | None = Field(
        None, description="The instance meant without `--instance`. Not needed with only one."
    )
    instances: dict[kind.InstanceName, InstanceSection] = Field(
        ..., min_length=1, description="The places where the stack runs."
    )
    databases: dict[kind.DatabaseName, DatabaseSection] = Field(
        {}, description="The PostgreSQL databases to keep."
    )
    exclude_databases: list[kind.Text] = Field(
        [], description="Databases that are on a server and are not kept, on purpose."
    )
    volumes: dict[kind.VolumeKey, VolumeSection] = Field(
        {}, description="The named volumes, each under its key in the Compose file."
    )
    exclude_volumes: list[kind.VolumeKey] = Field(
        [], description="Volume keys of the Compose file that are not looked after, on purpose."
    )
    paths: dict[kind.PathKey, PathSection] = Field(
        {}, description="Bind-mounted folders that cleaning looks after."
    )
    writers: WritersSection = Field(
        {},
        validate_default=True,
        description="Who writes, where it cannot be seen from the volumes.",
    )
    restart: RestartSection = Field(
        {}, validate_default=True, description="How services stop and come back."
    )
    retention: dict[kind.RetentionName, RetentionSection] = Field(
        {}, description="Profiles of rules; each instance names one."
    )
    services: dict[kind.ServiceName, ServiceSection] = Field(
        {}, description="The services of `runtime: host`. Compose has its own."
    )
    schedule: list[kind.TimingText] = Field(
        [], description="What `schedule --install` lets cron run, as in `daily 02:00 data`."
    )
    stores: dict[kind.StoreName, StoreSection] = Field(
        {}, description="Places away from here for copies of sets."
    )
    encrypt: EncryptSection = Field(
        {}, validate_default=True, description="For whom sets are encrypted."
    )
    notify: list[NotifySection] = Field([], description="Who is told how runs end.")
    ping: dict[kind.TaskWord, PingSection] = Field(
        {}, description="Monitors that miss a run which does not come, by task."
    )
    metrics: kind.Text | None = Field(
        None, description="The folder that node_exporter's textfile collector reads."
    )
    before: list[CommandSection] = Field(
        [], description="What is run before services rest for a backup."
    )
    after: list[CommandSection] = Field(
        [], description="What is run once they are back, whatever happened; maybe twice."
    )
    probes: list[ProbeSection] = Field(
        [], description="What has to be answered well after a restore in a drill."
    )
    drill: DrillSection = Field({}, validate_default=True, description="How drills are done.")
    legacy: LegacySection = Field(
        {},
        validate_default=True,
        description="Where the parts of a `full_backup_*.tar.gz` of an older script go.",
    )
    max_downtime: kind.Duration | None = Field(
        None, description="A backup that keeps services down for longer ends with exit code 7."
    )
    lock_patience: kind.Duration = Field(
        "5s",
        validate_default=True,
        description="How long a backup may make somebody wait for a table.",
    )
    signing_key_file: kind.Text | None = Field(
        None,
        description="The key that signs sets in stores; keep a copy with the key that decrypts "
        "them. Default: `backups/.keys/signing.key`, made when a set is first sent.",
    )
    helper_image: kind.ImageName | None = Field(
        None, description="An image with GNU tar, for volumes that are not read directly."
    )


class _Generator(GenerateJsonSchema):
    """Leaves out what editors show and nobody needs: titles, and null, which is refused."""

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        json_schema = super().default_schema(schema)
        if json_schema.get("default", 0) in (None, [], {}):
            json_schema.pop("default", None)
        return json_schema

    def field_title_should_be_set(self, _: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `stack.yaml`, as published in `stack.schema.json`."""
    body = StackFile.model_json_schema(schema_generator=_Generator)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **body,
        "title": "stack.yaml",
    }
