"""The `docker compose` command line of one instance: its arguments, its environment, its model."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from quiesce.adapters.compose.address import Address
from quiesce.adapters.process import program
from quiesce.adapters.redaction import is_secret
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Instance

#: The variables that a child inherits. In Compose the environment takes precedence over env files,
#: so variables of an interactive shell must not change the stack: cron does not have them.
INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TMPDIR|XDG_\w+|SSH_\w+"
    r"|(?i:https?_proxy|no_proxy|all_proxy)"
    r"|DOCKER_CONFIG|DOCKER_BUILDKIT|DOCKER_DEFAULT_PLATFORM|BUILDKIT_\w+|BUILDX_\w+"
    r"|COMPOSE_FILE|COMPOSE_PATH_SEPARATOR|COMPOSE_PROFILES"
)
#: cron's PATH has only /usr/bin and /bin, and Docker is often elsewhere.
MORE_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin")
DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_FILES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
INSTALL = "install Docker's command line and its Compose plugin, version 2"


class ComposeCommand:
    """Runs `docker compose` for one instance against its engine."""

    def __init__(
        self, instance: Instance, address: Address, environment: Mapping[str, str]
    ) -> None:
        self._instance = instance
        self._address = address
        self._outer = environment
        self._version = ""

    def run(
        self,
        *arguments: str,
        profiles: Sequence[str] | None = None,
        hint: str = "",
        more_files: Sequence[str] = (),
        lines: int = 20,
    ) -> program.Completed:
        """Run `docker compose` with these arguments and return the result. `more_files` are Compose
        files that are added after those of the instance; the last `lines` of stderr are kept.

        Raise RequestError if Compose v2 is not installed, QuiesceError if the command fails.
        """
        self.version()
        chosen = self._instance.profiles if profiles is None else profiles
        options = self._options(chosen)
        if more_files:
            # If one is named, Compose does not look for its default files.
            own = () if self._instance.files else self.files()
            options += [f"--file={path}" for path in (*own, *more_files)]
        argv = [*self._docker(), "compose", *options, *arguments]
        return program.run(
            argv,
            environment=self.environment(),
            cwd=self._instance.directory,
            what=f"docker compose {arguments[0]}",
            hint=hint,
            secrets=self.secrets(),
            lines=lines,
        )

    def docker(self, *arguments: str, timeout: float) -> str:
        """Run `docker` itself against this engine and return what it printed."""
        done = program.run(
            [*self._docker(), *arguments],
            environment=self.environment(),
            timeout=timeout,
            what=f"docker {arguments[0]}",
            hint=INSTALL,
        )
        return done.stdout.decode("utf-8", "replace").strip()

    def docker_argv(self, *arguments: str) -> list[str]:
        """Return the command line of `docker` against this engine."""
        return [*self._docker(), *arguments]

    def argv(self, *arguments: str) -> list[str]:
        """Return the command line of `docker compose` for this instance."""
        self.version()
        options = self._options(self._instance.profiles)
        return [*self._docker(), "compose", *options, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the complete environment of a child. It does not contain variables that an env
        file sets."""
        kept = {
            name: value
            for name, value in self._outer.items()
            if INHERITED.fullmatch(name) and name not in self._instance.environment
        }
        if self._instance.files:
            kept.pop("COMPOSE_FILE", None)
        kept["HOME"] = self._outer.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
        path = [part for part in self._outer.get("PATH", "").split(os.pathsep) if part]
        kept["PATH"] = os.pathsep.join([*path, *(more for more in MORE_PATH if more not in path)])
        return kept

    def files(self) -> tuple[Path, ...]:
        """Return the Compose files; if the instance names none, by Compose's own rules."""
        folder = self._instance.directory
        if self._instance.files:
            return tuple(folder / path for path in self._instance.files)
        named = self.setting("COMPOSE_FILE")
        if named:
            separator = self.setting("COMPOSE_PATH_SEPARATOR") or os.pathsep
            return tuple(folder / part for part in named.split(separator) if part)
        first = next((folder / name for name in DEFAULT_FILES if (folder / name).is_file()), None)
        if first is None:
            return ()
        second = (folder / name for name in OVERRIDE_FILES if (folder / name).is_file())
        return (first, *list(second)[:1])

    def env_files(self) -> tuple[Path, ...]:
        """Return the env files, the lowest precedence first."""
        shared = self._instance.directory / ".env"
        given = (self._instance.env_file,) if self._instance.env_file is not None else ()
        return ((shared,) if shared.is_file() and shared not in given else ()) + given

    def setting(self, name: str) -> str:
        """Return one of Compose's own variables, from the env file or the environment."""
        return self._instance.environment.get(name) or self._outer.get(name, "")

    def profiles(self) -> frozenset[str]:
        """Return the active profiles."""
        variable = self.setting("COMPOSE_PROFILES").split(",")
        return frozenset(filter(None, (*self._instance.profiles, *map(str.strip, variable))))

    def variables(self) -> Collection[str]:
        """Return the names of the env file's variables."""
        return tuple(self._instance.environment)

    def secrets(self) -> Collection[str]:
        """Return the values of the env file that must not be printed."""
        return tuple(
            value for name, value in self._instance.environment.items() if is_secret(name, value)
        )

    def _docker(self) -> list[str]:
        return ["docker", *self._address.arguments()]

    def _options(self, profiles: Sequence[str]) -> list[str]:
        options = ["--ansi", "never", "--progress", "plain"]
        # Without a name Compose chooses it: for a folder that has no stack.yaml yet.
        options += ["--project-name", self._instance.project] if self._instance.project else []
        options += ["--project-directory", str(self._instance.directory)]
        for path in self._instance.files:
            options += ["--file", str(self._instance.directory / path)]
        for path in self.env_files():
            options += ["--env-file", str(path)]
        for profile in profiles:
            options += ["--profile", profile]
        return options

    def version(self) -> str:
        """Return Compose's version as in its labels: numbers, without a distribution's suffix.
        Raise RequestError if Compose is missing or older than 2.
        """
        if self._version:
            return self._version
        try:
            version = self.docker("compose", "version", "--short", timeout=30)
        except RequestError:
            raise
        except QuiesceError as error:
            raise RequestError(
                "docker has no Compose plugin", INSTALL, details=error.details
            ) from None
        found = re.match(r"v?((\d+)(?:\.\d+)+)", version)
        if found is None or int(found[2]) < 2:
            raise RequestError(
                f"docker compose is version {version}, but version 2 or newer is needed", INSTALL
            )
        self._version = found[1]
        return self._version
