"""Figures for Prometheus, as a file that node_exporter's textfile collector reads.

The one home of `prometheus_client`. The file is replaced at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quiesce.adapters.files import new_private


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric: its name, what it means, and a value for each set of labels."""

    name: str
    help: str
    values: Sequence[tuple[Mapping[str, str], float]]


def write(folder: Path, instance: str, figures: Sequence[Figure]) -> Path:
    """Write `quiesce-<instance>.prom` into the folder, readable for the collector.

    Raise OSError when that is not possible; the older file is then still there.
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
    # Others may write in the collector's folder, so the file is new and nobody's link. Its name
    # ends in nothing that a collector reads.
    partial = folder / f".{path.name}.partial"
    partial.unlink(missing_ok=True)
    with new_private(partial) as file:
        file.write(generate_latest(registry))
        os.fchmod(file.fileno(), 0o644)
    partial.replace(path)
    return path
