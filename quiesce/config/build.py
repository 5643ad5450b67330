"""Builds the typed `Stack` from valid sections: defaults, absolute paths, secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from quiesce.config.compose_name import ProjectName, names_of_compose
from quiesce.config.findings import YamlPath
from quiesce.config.schema import (
    CommandSection,
    InstanceSection,
    RestartSection,
    ServiceSection,
    StackFile,
    VolumeSection,
)
from quiesce.config.schema_remote import PingSection
from quiesce.config.variables import Variables
from quiesce.model import (
    Command,
    Database,
    DrillWrite,
    HostService,
    Instance,
    Notify,
    OffsiteStore,
    PathEntry,
    Ping,
    Probe,
    Recipients,
    Restart,
    Retention,
    Secret,
    Stack,
    Volume,
    engine_of,
)
from quiesce.plan.schedule import parse


def build_stack(
    sections: StackFile,
    *,
    instance: str,
    file: Path,
    digest: str,
    timezone: str,
    variables: Variables,
    secrets: Mapping[YamlPath, Secret],
) -> Stack:
    """Return the stack. Paths are relative to the folder of `file`."""
    directory = file.parent
    chosen = sections.instances[instance]
    return Stack(
        file=file,
        digest=digest,
        timezone=timezone,
        instance=_instance(instance, sections, directory, variables),
        instance_names=tuple(sections.instances),
        probes=tuple(
            Probe(**{k: v for k, v in probe.model_dump().items() if v is not None})
            for probe in sections.probes
        ),
        drill_open=sections.drill.network == "open",
        before=tuple(map(_command, sections.before)),
        after=tuple(map(_command, sections.after)),
        notify=tuple(Notify(Secret(str(entry.url)), tuple(entry.on)) for entry in sections.notify),
        ping={str(task): _ping(entry) for task, entry in sections.ping.items()},
        metrics=None if sections.metrics is None else _below(directory, sections.metrics),
        stores=_stores(sections, chosen, directory),
        recipients=_recipients(sections)
        if sections.encrypt.where == "everywhere"
        else Recipients(),
        drill_writes=tuple(DrillWrite(**write.model_dump()) for write in sections.drill.writes),
        legacy={
            part: str(key) for part, key in sections.legacy.model_dump().items() if key is not None
        },
        is_default=sections.default_instance in (None, instance),
        databases=_databases(sections, directory, secrets),
        excluded_databases=_texts(sections.exclude_databases),
        volumes=_volumes(sections, directory),
        excluded_volumes=_texts(sections.exclude_volumes),
        paths=tuple(
            PathEntry(key, _below(directory, entry.path), entry.backup, entry.clean)
            for key, entry in sections.paths.items()
        ),
        writers=_texts(sections.writers.services),
        ignored_writers=_texts(sections.writers.ignore),
        restart=_restart(sections.restart),
        retention=_retention(sections, chosen),
        host_services=tuple(
            _host_service(name, entry, directory, secrets.get(("services", name)))
            for name, entry in sections.services.items()
            if chosen.runtime == "host"
        ),
        max_downtime=sections.max_downtime,
        lock_patience=sections.lock_patience,
        helper_image=_text(sections.helper_image),
        signing_key_file=None
        if sections.signing_key_file is None
        else _below(directory, sections.signing_key_file),
        schedule=tuple(parse(str(text)) for text in sections.schedule),
    )


def _instance(name: str, sections: StackFile, directory: Path, variables: Variables) -> Instance:
    section = sections.instances[name]
    files = tuple(_below(directory, entry) for entry in section.files)
    siblings = _siblings(name, sections)
    given = _text(section.project)
    names: tuple[ProjectName, ...] = (ProjectName(given or name, "stack.yaml"),)
    if given is None and section.runtime == "compose":
        names = _projects(name, sections, siblings, (directory, files, variables))
    return Instance(
        name=name,
        runtime=section.runtime,
        project=names[0].name,
        directory=directory,
        env_file=variables.env_file,
        files=files,
        context=_text(section.context),
        retention=str(section.retention),
        profiles=_texts(section.profiles),
        state=directory / ".quiesce" / name,
        environment=variables.values,
        project_from=names[0].source,
        other_projects=tuple(entry.name for entry in names[1:]),
        siblings=siblings,
    )


def _siblings(name: str, sections: StackFile) -> tuple[str, ...]:
    """Return the projects of the other instances, `*` for one that its env file defines."""
    return tuple(
        other if entry.project is None else str(entry.project) or "*"
        for other, entry in sections.instances.items()
        if other != name and entry.runtime == "compose"
    )


def _projects(
    name: str,
    sections: StackFile,
    siblings: tuple[str, ...],
    where: tuple[Path, tuple[Path, ...], Variables],
) -> tuple[ProjectName, ...]:
    """Return the project name of a new stack, then other names that this one may have on its
    engine.

    If several instances have no project, each gets its own name: Compose's would be the same for
    all.
    """
    directory, files, variables = where
    found = names_of_compose(directory, files, variables.values, variables.environ)
    own = ProjectName(name, "instance")
    unnamed = [
        e for e in sections.instances.values() if e.runtime == "compose" and e.project is None
    ]
    ranked = (own, *found) if len(unnamed) > 1 else (*found, own)
    names = {entry.name: entry for entry in reversed(ranked) if entry.name not in siblings}
    return tuple(entry for entry in ranked if names.get(entry.name) is entry) or (own,)


def _databases(
    sections: StackFile, directory: Path, secrets: Mapping[YamlPath, Secret]
) -> tuple[Database, ...]:
    return tuple(
        Database(
            key=key,
            name=_text(entry.name) or key,
            service=str(entry.service),
            user=_text(entry.user) or engine_of(entry.engine).user,
            password=secrets.get(("databases", key)),
            port=entry.port or engine_of(entry.engine).port,
            role_passwords=entry.roles == "with-passwords",
            password_from=_text(entry.password_from) or "",
            migrations=None if entry.migrations is None else _below(directory, entry.migrations),
            engine=entry.engine,
        )
        for key, entry in sections.databases.items()
    )


def _volumes(sections: StackFile, directory: Path) -> tuple[Volume, ...]:
    kept = {key: entry for key, entry in sections.paths.items() if entry.backup != "never"}
    return (
        *(_volume(key, entry, None) for key, entry in sections.volumes.items()),
        *(_volume(key, entry, _below(directory, entry.path)) for key, entry in kept.items()),
    )


def _volume(key: str, entry: VolumeSection, folder: Path | None) -> Volume:
    return Volume(
        key=key,
        purpose=_text(entry.purpose) or "",
        priority=entry.priority,
        backup=entry.backup,
        clean=entry.clean,
        exclude=_texts(entry.exclude),
        max_size=entry.max_size,
        folder=folder,
    )


def _restart(section: RestartSection) -> Restart:
    return Restart(
        order=_texts(section.order),
        stop_timeout=section.stop_timeout,
        health_timeout=section.health_timeout,
        keep_running=_texts(section.keep_running),
    )


def _retention(sections: StackFile, chosen: InstanceSection) -> Retention:
    rules = sections.retention[chosen.retention]
    return Retention(name=str(chosen.retention), **rules.model_dump())


def _command(section: CommandSection) -> Command:
    return Command(str(section.service), tuple(section.command), section.timeout)


def _ping(section: PingSection) -> Ping:
    base = None if section.url is None else str(section.url).rstrip("/")

    def address(own: str | None, ending: str) -> Secret | None:
        if own is not None:
            return Secret(str(own))
        return None if base is None else Secret(base + ending)

    return Ping(
        address(section.start, "/start"),
        address(section.success, ""),
        address(section.fail, "/fail"),
    )


def _stores(
    sections: StackFile, chosen: InstanceSection, directory: Path
) -> tuple[OffsiteStore, ...]:
    found = []
    for name in chosen.stores:
        entry = sections.stores[name]
        url = str(entry.url)
        if "://" not in url and not url.startswith("rclone:"):
            url = _below(directory, url).as_uri()
        rules = None
        if entry.retention is not None:
            section = sections.retention[entry.retention]
            rules = Retention(name=str(entry.retention), **section.model_dump())
        found.append(
            OffsiteStore(
                name=str(name),
                url=url,
                endpoint=_text(entry.endpoint),
                region=_text(entry.region),
                credentials_file=None
                if entry.credentials_file is None
                else _below(directory, entry.credentials_file),
                retention=rules,
                recipients=_recipients(sections),
            )
        )
    return tuple(found)


def _recipients(sections: StackFile) -> Recipients:
    return Recipients(_texts(sections.encrypt.age), _texts(sections.encrypt.gpg))


def _host_service(
    name: str, section: ServiceSection, directory: Path, password: Secret | None
) -> HostService:
    return HostService(
        name=name,
        command=tuple(section.command or ()),
        cwd=_below(directory, section.cwd or "."),
        environment={key: str(value) for key, value in section.environment.items()},
        port=section.port,
        postgres=section.postgres,
        postgres_user=str(section.user),
        postgres_password=password,
        volumes={key: str(value) for key, value in section.volumes.items()},
        health=tuple(section.health or ()),
        health_http=_text(section.health_http),
        depends_on=_texts(section.depends_on),
        stop_signal=section.stop_signal,
        stop_timeout=section.stop_timeout,
    )


def _text(value: str | None) -> str | None:
    """Return plain text. Until here, text from a variable also has its source."""
    return None if value is None else str(value)


def _texts(values: list[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _below(directory: Path, text: str) -> Path:
    return Path(os.path.normpath(directory / text))
