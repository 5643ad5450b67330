"""Collects the files that define a stack for a set, without any that contains a secret.

Kept are Compose files, the files that these include or extend, the sources of `configs`, and single
files that services mount, if they are in the stack's folder. Files that may contain a secret are
left out and named: the sources of `secrets`, env files, keys, and every file that contains a value
of an env file. In Compose files, literals that may be secrets are replaced, as in the resolved
model.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.model import ComposeModel
from quiesce.adapters.compose.redact import redact
from quiesce.model import LeftOutFile, Stack, StackFiles

#: A larger file is data, and not a definition.
LARGEST = 1024 * 1024
_SHORTEST_SECRET = 4

_SECRET_NAME = re.compile(
    r"secret|passw|token|credential|\.(key|pem|p12|pfx|jks|kdbx|age|gpg|ppk)$"
    r"|^id_(rsa|dsa|ecdsa|ed25519)|^acme\.json$|^\.(htpasswd|netrc|pgpass)$|^\.?env$|\.env(\.|$)",
    re.IGNORECASE,
)
#: Names that `sha256sum` and every file system can write.
_PLAIN_NAME = re.compile(r"[^\x00-\x1f\x7f\\]+")
#: A comment that may contain a former secret.
_SECRET_COMMENT = re.compile(
    rb"#.*(PASS|SECRET|TOKEN|KEY|CREDENTIAL)\w*[\"']?\s*[:=]\s*[^\s$]", re.IGNORECASE
)
_SQLITE = b"SQLite format 3\0"
_REPLACED = "# Written by Quiesce: literals that may be secrets were replaced.\n"


@dataclass
class Collector:
    """Collects the files of one stack. `secrets` are values that no kept file may contain; `apart`
    are folders that are left out: those of Quiesce, and those that `paths` declares."""

    directory: Path
    secrets: Collection[str]
    apart: Collection[Path]
    kept: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def compose_file(self, path: Path) -> None:
        """Add a Compose file and the files that it names."""
        name = self._name(path)
        if name is None or name in self.kept or name in self.left_out:
            return
        content = self._read(path, name)
        if content is None:
            return
        model = _parsed(content)
        if model is None:
            self.left_out[name] = "it is not valid YAML"
            return
        shown = redact(model)
        if shown != model or self._has_secret(content) or _SECRET_COMMENT.search(content):
            content = self._without_literals(shown)
            self.left_out[name] = "kept with literals that may be secrets replaced"
        self.kept[name] = content
        base = path.parent
        for other in _named_files(model):
            self.compose_file(base / other)
        for kind in ("secrets", "configs"):
            for entry in (model.get(kind) or {}).values():
                if isinstance(entry, Mapping) and isinstance(entry.get("file"), str):
                    self._other(base / entry["file"], "a secret" if kind == "secrets" else "")
        for env in _env_files(model):
            self._other(base / env, "an env file")

    def file(self, path: Path) -> None:
        """Add a single file that a service mounts."""
        self._other(path, "")

    def env_file(self, path: Path) -> None:
        """Name an env file of the instance as left out."""
        self._other(path, "an env file")

    def _other(self, path: Path, secret: str) -> None:
        name = self._name(path)
        if name is None or name in self.kept or "${" in name:
            return
        if secret or _SECRET_NAME.search(path.name):
            self.left_out[name] = secret or "its name is that of a secret"
            return
        content = self._read(path, name)
        if content is None:
            return
        if content.startswith(_SQLITE):
            self.left_out[name] = "a SQLite database; mount its folder, and declare that in paths"
        elif self._has_secret(content):
            self.left_out[name] = "it contains a secret"
        else:
            self.kept[name] = content

    def _name(self, path: Path) -> str | None:
        """Return the name of a file in the stack's folder; None for what need not be named."""
        real = Path(os.path.realpath(path))
        if any(real.is_relative_to(folder) for folder in self.apart):
            return None
        if not real.is_relative_to(self.directory):
            # Files of the machine, such as /etc/localtime or a socket, do not define a stack.
            inside = Path(os.path.normpath(path)).is_relative_to(self.directory)
            if inside:
                self.left_out[str(path)] = "a link out of the stack's folder"
            return None
        return str(real.relative_to(self.directory))

    def _read(self, path: Path, name: str) -> bytes | None:
        if not _PLAIN_NAME.fullmatch(name):
            self.left_out[name] = "its name has special characters"
            return None
        try:
            content = _regular_content(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.left_out[name] = f"it cannot be read: {error.strerror}"
            return None
        if content is None:
            return None
        if len(content) > LARGEST:
            self.left_out[name] = "it is larger than 1 MiB"
            return None
        return content

    def _has_secret(self, content: bytes) -> bool:
        values = (value.encode() for value in self.secrets if len(value) >= _SHORTEST_SECRET)
        return b"PRIVATE KEY-----" in content or any(value in content for value in values)

    def _without_literals(self, model: Mapping[str, Any]) -> bytes:
        import yaml

        text = yaml.safe_dump(model, sort_keys=False, allow_unicode=True)
        for value in self.secrets:
            text = text.replace(value, "***")
        return (_REPLACED + text).encode()

    def result(self, variables: Collection[str]) -> StackFiles:
        """Return the collected files, and the names of the env file's variables."""
        files = {f"files/{name}": content for name, content in sorted(self.kept.items())}
        if variables:
            files["variables.txt"] = "".join(f"{name}\n" for name in sorted(variables)).encode()
        gaps = tuple(LeftOutFile(name, why) for name, why in sorted(self.left_out.items()))
        return StackFiles(files, gaps)


def collect(
    compose: ComposeCommand, stack: Stack, model: ComposeModel, *, local: bool
) -> StackFiles:
    """Return the files that define this stack. Mounted files are files of the engine's machine, so
    they can be collected only if this is the same machine (`local`)."""
    directory = Path(os.path.realpath(stack.directory))
    kept = [entry.folder for entry in stack.folders if entry.folder is not None]
    apart = [directory / "backups", directory / ".quiesce", *kept]
    collector = Collector(directory, compose.secrets(), [Path(os.path.realpath(p)) for p in apart])
    for path in compose.files():
        collector.compose_file(path)
    for path in compose.env_files():
        collector.env_file(path)
    sources = {m.source for s in model.services for m in s.mounts if m.volume is None}
    for source in sorted(sources) if local else ():
        if not Path(source).is_dir():
            collector.file(Path(source))
    return collector.result(compose.variables())


def _regular_content(path: Path) -> bytes | None:
    """Return at most one byte more than `LARGEST` of a regular file; None for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            return None
        return opened.read(LARGEST + 1)


def _parsed(content: bytes) -> dict[str, Any] | None:
    """Return a Compose file as plain values; Compose's own tags are dropped."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def plain(loader: Any, suffix: str, node: Any) -> Any:
        del suffix
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("!", plain)
    try:
        found = yaml.load(content, Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _services(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    services = model.get("services")
    if isinstance(services, Mapping):
        yield from (entry for entry in services.values() if isinstance(entry, Mapping))


def _named_files(model: Mapping[str, Any]) -> Iterator[str]:
    """Yield the Compose files that a file includes, or extends services of."""
    included = model.get("include")
    for entry in included if isinstance(included, list) else ():
        paths = entry.get("path") if isinstance(entry, Mapping) else entry
        yield from _texts(paths)
    for service in _services(model):
        extends = service.get("extends")
        if isinstance(extends, Mapping):
            yield from _texts(extends.get("file"))


def _env_files(model: Mapping[str, Any]) -> Iterator[str]:
    included = model.get("include")
    for entry in included if isinstance(included, list) else ():
        if isinstance(entry, Mapping):
            yield from _texts(entry.get("env_file"))
    for service in _services(model):
        named = service.get("env_file")
        for one in named if isinstance(named, list) else [named]:
            yield from _texts(one.get("path") if isinstance(one, Mapping) else one)


def _texts(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str) and one and "$" not in one and "://" not in one:
            yield one
