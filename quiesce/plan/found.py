"""What `init` found in a folder with a Compose file: the facts from which it proposes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from quiesce.model import DEFAULT_ENGINE
from quiesce.observed import Mount

FolderKind = Literal["folder", "file", "missing", "special"]


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server with a driver. `user` and the password are texts for stack.yaml, never a value.

    `password` is a key of `databases:` and its value; None if the server asks for none. `asked`:
    the databases were read from the running server, not from its environment.
    """

    service: str
    user: str
    databases: tuple[str, ...]
    password: tuple[str, str] | None = None
    data: str = "/var/lib/postgresql"
    asked: bool = False
    problem: str = ""
    engine: str = DEFAULT_ENGINE


@dataclass(frozen=True, slots=True)
class FoundProbe:
    """An HTTP path that a service answers. `reason` says where it was found."""

    service: str
    port: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundService:
    """A service: `stores` is the kind of store it is, such as `MariaDB`, if its image is known.

    `anonymous` are the paths in its container at which it has anonymous volumes.
    """

    name: str
    image: str
    depends_on: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    profiles: tuple[str, ...] = ()
    active: bool = True
    running: bool = False
    stores: str = ""
    server: FoundServer | None = None
    anonymous: tuple[str, ...] = ()
    probes: tuple[FoundProbe, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundFolder:
    """A path of this machine that is mounted. `shown` is what stack.yaml calls it.

    `files` and `bytes` are None if they could not be counted; `more`: counting was ended early. If
    it is a single file that a service can write to, `unkept` is the reason why sets do not contain
    it.
    """

    shown: str
    kind: FolderKind
    inside: bool = True
    files: int | None = None
    bytes: int | None = None
    more: bool = False
    unkept: str = ""


@dataclass(frozen=True, slots=True)
class FoundStack:
    """Everything found. `folders` are by the mount's source; `env_file` and `files` only if they
    are not those that Compose finds by itself."""

    project: str
    compose_file: str
    services: tuple[FoundService, ...]
    volumes: tuple[str, ...]
    external: frozenset[str] = frozenset()
    folders: Mapping[str, FoundFolder] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    env_file: str = ""
    context: str = ""
    profiles: tuple[str, ...] = ()
    timezone: str = ""
    reserved: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
