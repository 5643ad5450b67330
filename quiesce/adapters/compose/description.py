"""The files that describe a stack in its sets, without any secret."""

from __future__ import annotations

from collections.abc import Mapping

from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.redact import redact


def describe(compose: ComposeCommand) -> Mapping[str, bytes]:
    """Return `compose.yaml`: the model before interpolation, with its literals redacted."""
    import yaml

    done = compose.run("config", "--no-interpolate", profiles=("*",))
    model = redact(yaml.safe_load(done.stdout) or {})
    text = yaml.safe_dump(model, sort_keys=True, allow_unicode=True)
    for value in compose.secrets():
        text = text.replace(value, "***")
    return {"compose.yaml": text.encode()}
