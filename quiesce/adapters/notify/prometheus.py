"""Writes metrics for Prometheus into a file for node_exporter's textfile collector.

The only module that uses `prometheus_client`. The file is replaced atomically.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quiesce.adapters.files import new_private


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric: its name, its help text, and a value for each set of labels."""

    name: str
    help: str
    values: Sequence[tuple[Mapping[str, str], float]]


def write(folder: Path, instance: str, figures: Sequence[Figure]) -> Path:
    """Write `quiesce-<instance>.prom` into the folder, readable for the collector.

    Raise OSError if that fails; the previous file is then kept.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    for figure in figures:
        if not figure.values:
            continue
        names = ("instance", *figure.values[0][0])
        gauge = Gauge(figure.name, figure.help, names, registry=registry)
        for labels, value in figure.values:
            gauge.labels(instance=instance, **labels).set(value)
    path = folder / f"quiesce-{instance}.prom"
    # Other users may write to the collector's folder, so always create a new file. The collector
    # ignores its temporary name.
    partial = folder / f".{path.name}.partial"
    partial.unlink(missing_ok=True)
    with new_private(partial) as file:
        file.write(generate_latest(registry))
        os.fchmod(file.fileno(), 0o644)
    partial.replace(path)
    return path
