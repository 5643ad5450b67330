"""Rules of `stack.yaml` that concern more than one value, the disk, or the chosen instance.

Checks see only values of the right shape, but all names in the file, so that one mistake does not
cause others.
"""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quiesce.config.engine_checks import check_engines
from quiesce.config.findings import (
    Findings,
    YamlPath,
    is_there,
    read_bounded,
)
from quiesce.config.host_checks import check_host_services
from quiesce.config.path_checks import check_by_dump, check_paths
from quiesce.config.scalars import Unresolved, show
from quiesce.config.schema import DatabaseSection, InstanceSection, StackFile
from quiesce.config.store_checks import check_stores
from quiesce.config.yaml_nodes import Value
from quiesce.model import Secret
from quiesce.plan.schedule import TASKS, parse
from quiesce.suggest import suggest

_RULES = "write at least one, for example 'keep_last: 7'"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: the sections, the names in the file, and its path.

    `secrets` is filled with the passwords found, by the path of their section.
    """

    stack: StackFile
    data: Mapping[str, Value]
    instance: str | None
    file: Path
    env_file: Path | None
    findings: Findings
    secrets: dict[YamlPath, Secret] = field(default_factory=dict)

    def names(self, section: str) -> list[str]:
        """The keys of a section, of entries with mistakes too."""
        entries = self.data.get(section)
        return list(entries) if isinstance(entries, dict) else []

    @property
    def directory(self) -> Path:
        """The folder of the file, to which paths are relative."""
        return self.file.parent

    @property
    def chosen(self) -> InstanceSection | None:
        """The chosen instance, if its shape is right."""
        return self.stack.instances.get(self.instance) if self.instance else None


def check_stack(subject: Subject) -> None:
    """Report every mistake that is not one of shape."""
    _check_lists(subject)
    _check_instances(subject)
    _check_databases(subject)
    on_host = subject.chosen is not None and subject.chosen.runtime == "host"
    check_engines(subject.stack, host=on_host, findings=subject.findings)
    _check_volumes(subject)
    check_paths(
        subject.stack,
        subject.names("databases"),
        subject.directory,
        _own_files(subject),
        subject.findings,
    )
    _check_retention(subject)
    _check_schedule(subject)
    _check_probes(subject)
    _check_writes(subject)
    _check_legacy(subject)
    check_stores(subject.stack, subject.names("retention"), subject.findings)
    if subject.chosen:
        _check_chosen(subject, subject.chosen)


def check_timezone(zone: str, findings: Findings, *, of_environment: bool = False) -> None:
    """Report a time zone that is not in the zone database."""
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        zones = zoneinfo.available_timezones()
        what, hint = show(zone), suggest(zone, zones, unlike="write it like Europe/Berlin or UTC")
        if of_environment:
            what, hint = "the environment variable TZ", "add 'timezone: Europe/Berlin', or unset TZ"
        findings.add(("timezone",), f"{what} is not a time zone", hint)


def _check_lists(subject: Subject) -> None:
    stack = subject.stack
    lists: dict[YamlPath, Iterable[str]] = {
        ("exclude_databases",): stack.exclude_databases,
        ("exclude_volumes",): stack.exclude_volumes,
        ("schedule",): stack.schedule,
        ("writers", "services"): stack.writers.services,
        ("writers", "ignore"): stack.writers.ignore,
        ("restart", "order"): stack.restart.order,
        ("restart", "keep_running"): stack.restart.keep_running,
    }
    for name, instance in stack.instances.items():
        lists["instances", name, "files"] = instance.files
        lists["instances", name, "profiles"] = instance.profiles
        lists["instances", name, "stores"] = instance.stores
    for name, service in stack.services.items():
        lists["services", name, "depends_on"] = service.depends_on
    for path, words in lists.items():
        first: dict[str, int] = {}
        for index, word in enumerate(words):
            if isinstance(word, Unresolved):
                continue
            if word in first:
                line = subject.findings.line((*path, first[word]))
                fact = f"{show(word)} occurs twice, first in line {line}"
                subject.findings.add((*path, index), fact, "keep one of them")
            first.setdefault(word, index)


def _check_instances(subject: Subject) -> None:
    known = subject.names("retention")
    projects: dict[tuple[str, str | None], str] = {}
    for name, entry in subject.stack.instances.items():
        path: YamlPath = ("instances", name)
        if not isinstance(entry.retention, Unresolved) and entry.retention not in known:
            hint = suggest(entry.retention, known, none="add 'retention:' with this entry")
            fact = f"there is no {show(entry.retention)} in retention"
            subject.findings.add((*path, "retention"), fact, hint)
        if entry.runtime == "host":
            for key in ("files", "context", "profiles"):
                if getattr(entry, key):
                    fact = "applies to 'runtime: compose' only"
                    subject.findings.add((*path, key), fact, "remove it")
        elif not any(isinstance(word, Unresolved) for word in (entry.project, entry.context)):
            place = (entry.project or name, entry.context)
            if other := projects.get(place):
                fact = f"project {show(place[0])} is also the project of instance '{other}'"
                hint = "give each instance its own 'project:'"
                subject.findings.add((*path, "project") if entry.project else path, fact, hint)
            projects.setdefault(place, name)


def _check_databases(subject: Subject) -> None:
    servers: dict[tuple[str, str], str] = {}
    files: dict[str, str] = {}
    for key, entry in subject.stack.databases.items():
        path: YamlPath = ("databases", key)
        if (other := files.setdefault(key.lower(), key)) != key:
            fact = (
                f"'{other}' differs only in upper and lower case, and their file names could "
                "collide"
            )
            hint = "choose another key, and give the database's name in 'name:'"
            subject.findings.add(path, fact, hint)
        name = entry.name or key
        if (entry.service, name) in servers:
            other = servers[entry.service, name]
            line = subject.findings.line(("databases", other))
            fact = f"is the same database as '{other}' in line {line}"
            subject.findings.add(path, fact, "remove one, or give it another 'name:'")
        servers.setdefault((entry.service, name), key)
        if name in subject.stack.exclude_databases:
            _note_excluded(subject, path, "exclude_databases")
        _check_password(subject, path, entry.password, entry.password_file)
        if entry.password_from is not None:
            _check_password_from(subject, path, entry)


def _check_password_from(subject: Subject, path: YamlPath, entry: DatabaseSection) -> None:
    place = (*path, "password_from")
    for other in ("password", "password_file"):
        if getattr(entry, other) is not None:
            subject.findings.add(place, f"'{other}' is also given", "keep one of them")
    if subject.chosen and subject.chosen.runtime == "host":
        fact = "applies to 'runtime: compose' only"
        subject.findings.add(place, fact, "use 'password' or 'password_file'")


def _check_volumes(subject: Subject) -> None:
    for key, entry in subject.stack.volumes.items():
        path: YamlPath = ("volumes", key)
        if key in subject.stack.exclude_volumes:
            _note_excluded(subject, path, "exclude_volumes")
        if entry.backup != "by-dump":
            continue
        databases, cleaned = subject.names("databases"), entry.clean is not None
        check_by_dump(cleaned, databases, path, "volume", subject.findings)


def _note_excluded(subject: Subject, path: YamlPath, section: str) -> None:
    line = subject.findings.line((section,))
    fact = f"also excluded in line {line}"
    subject.findings.add(path, fact, f"remove it here or from '{section}'")


def _check_password(
    subject: Subject, path: YamlPath, password: str | None, file: str | None
) -> None:
    place = (*path, "password_file")
    if file is None or isinstance(file, Unresolved):
        if password is not None:
            subject.secrets[path] = Secret(str(password))
        return
    if password is not None:
        subject.findings.add(place, "'password' is also given", "keep one of them")
    try:
        text = read_bounded(subject.directory / file).decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        subject.findings.add(place, f"cannot read {show(file)}: {reason}", "check the path")
        return
    if not text or "\n" in text or "\0" in text:
        fact = f"{show(file)} does not contain exactly one line"
        subject.findings.add(place, fact, "put only the password into it")
    subject.secrets[path] = Secret(text)


def _own_files(subject: Subject) -> list[Path]:
    """Return the files and folders that no entry of `paths` may contain, or be inside of."""
    own = [subject.file.name, "backups", ".quiesce", ".env"]
    own += subject.chosen.files if subject.chosen else []
    own += [entry.migrations for entry in subject.stack.databases.values() if entry.migrations]
    own += [str(subject.env_file)] if subject.env_file else []
    return [Path(os.path.normpath(subject.directory / name)) for name in own]


def _check_retention(subject: Subject) -> None:
    written = subject.data.get("retention")
    for name in subject.stack.retention:
        if isinstance(written, dict) and written.get(name) == {}:
            fact = "has no rule, so no set would be kept"
            subject.findings.add(("retention", name), fact, _RULES)


def _check_schedule(subject: Subject) -> None:
    stack = subject.stack
    sources = (*stack.volumes.items(), *stack.paths.items())
    files = [key for key, source in sources if source.backup == "files"]
    names = [*subject.names("databases"), *files]
    for index, text in enumerate(stack.schedule):
        if isinstance(text, Unresolved):
            continue
        what = parse(text).what
        if len(what) == 1 and what[0] in TASKS:
            continue
        for name in what:
            if name in TASKS:
                fact = f"{show(name)} cannot be combined with others"
                hint = "write a separate entry for it"
            elif name in names:
                continue
            else:
                fact = (
                    f"{show(name)} is not a task, nor a database, volume or path that is backed up"
                )
                hint = suggest(name, [*TASKS, *names])
            subject.findings.add(("schedule", index), fact, hint)


def _check_probes(subject: Subject) -> None:
    for index, probe in enumerate(subject.stack.probes):
        path: YamlPath = ("probes", index)
        http = [probe.service, probe.port, probe.path]
        query = [probe.database, probe.query]
        asks_http = all(value is not None for value in http) and query == [None, None]
        asks_sql = all(value is not None for value in query) and http == [None, None, None]
        if not asks_http and not asks_sql:
            fact = "is neither an HTTP probe nor a query"
            hint = "give either service, port and path, or database and query"
            subject.findings.add(path, fact, hint)
        if probe.database is not None:
            _expect_known(subject, (*path, "database"), probe.database, "databases")
        _expect_path(subject, (*path, "path"), probe.path)


def _check_writes(subject: Subject) -> None:
    for index, write in enumerate(subject.stack.drill.writes):
        path: YamlPath = ("drill", "writes", index)
        sent = [text for text in (write.path, write.body) if not isinstance(text, Unresolved)]
        if not any(text and "{mark}" in text for text in sent):
            fact, hint = "does not write the marker", "put {mark} into its path or its body"
            subject.findings.add(path, fact, hint)
        for name in ("path", "read", "remove"):
            _expect_path(subject, (*path, name), getattr(write, name))


def _check_legacy(subject: Subject) -> None:
    for name, key in subject.stack.legacy.model_dump().items():
        if key is not None:
            section = "databases" if name == "db" else "volumes"
            _expect_known(subject, ("legacy", name), key, section)


def _expect_known(subject: Subject, path: YamlPath, name: str, section: str) -> None:
    known = subject.names(section)
    if not isinstance(name, Unresolved) and name not in known:
        subject.findings.add(path, f"{show(name)} is not in {section}", suggest(name, known))


def _expect_path(subject: Subject, path: YamlPath, text: str | None) -> None:
    if text is not None and not isinstance(text, Unresolved) and not text.startswith("/"):
        subject.findings.add(path, f"{show(text)} is not a URL path", "start it with /")


def _check_chosen(subject: Subject, chosen: InstanceSection) -> None:
    findings, directory = subject.findings, subject.directory
    if chosen.runtime != "host":
        for index, name in enumerate(chosen.files):
            path: YamlPath = ("instances", str(subject.instance), "files", index)
            _expect_file(name, path, directory, findings)
    for key, database in subject.stack.databases.items():
        if database.migrations is not None:
            path = ("databases", key, "migrations")
            _expect_file(database.migrations, path, directory, findings)
    if chosen.runtime == "host":
        check_host_services(
            subject.stack,
            subject.names("services"),
            subject.names("volumes"),
            directory,
            findings,
        )
        for name, service in subject.stack.services.items():
            _check_password(subject, ("services", name), service.password, service.password_file)


def _expect_file(name: str, path: YamlPath, directory: Path, findings: Findings) -> None:
    if not isinstance(name, Unresolved) and not is_there((directory / name).is_file):
        hint = f"paths are relative to {directory.name}/"
        findings.add(path, f"{show(name)} does not exist", hint)
