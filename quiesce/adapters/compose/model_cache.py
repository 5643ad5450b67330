"""The Compose model as `docker compose config` resolves it, read again when a file changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.engine import EngineConnection
from quiesce.adapters.compose.model import ComposeModel, declaration_order, parse_model
from quiesce.adapters.compose.redact import redact
from quiesce.adapters.compose.unused_volumes import with_unused
from quiesce.errors import QuiesceError, RequestError


class ModelReader:
    """Reads the model of one project, with the volumes of `keys` that no service mounts."""

    def __init__(
        self,
        command: ComposeCommand,
        connection: EngineConnection,
        project: str,
        keys: Collection[str],
    ) -> None:
        self._command = command
        self._connection = connection
        self._project = project
        self._keys = keys
        self._models: dict[str, ComposeModel] = {}

    def model(self) -> ComposeModel:
        """Return the model. Raise RequestError when Compose cannot use its files."""
        files = self._command.files()
        content = hashlib.sha256()
        for path in (*files, *self._command.env_files()):
            content.update(path.read_bytes() if path.is_file() else b"")
        key = content.hexdigest()
        if key not in self._models:
            self._models = {key: self._read(files)}
        return self._models[key]

    def description(self) -> Mapping[str, bytes]:
        """Return `compose.yaml`: the model before interpolation, with its literals redacted."""
        import yaml

        done = self._command.run("config", "--no-interpolate", profiles=("*",))
        model = redact(yaml.safe_load(done.stdout) or {})
        text = yaml.safe_dump(model, sort_keys=True, allow_unicode=True)
        for value in self._command.secrets():
            text = text.replace(value, "***")
        return {"compose.yaml": text.encode()}

    def _read(self, files: Sequence[Path]) -> ComposeModel:
        try:
            # With every profile, to include volumes that only inactive services use.
            done = self._command.run("config", "--format", "json", profiles=("*",))
        except RequestError:
            raise
        except QuiesceError as error:
            raise RequestError(
                f"the Compose file of {self._project} cannot be used",
                "correct it until 'docker compose config' succeeds",
                details=error.details,
            ) from None
        config = self.with_unused(json.loads(done.stdout))
        return parse_model(config, declaration_order(files), self._command.profiles())

    def with_unused(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resolved model with the volumes that Compose left out."""
        return with_unused(self._command, self._connection, self._project, config, self._keys)
