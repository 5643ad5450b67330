"""Figures for Prometheus, as a file that node_exporter's textfile collector reads.

The one home of `prometheus_client`, which also replaces the file at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()
    for figure in figures:
        if not figure.values:
            continue
        names = ("instance", *figure.values[0][0])
        gauge = Gauge(figure.name, figure.help, names, registry=registry)
        for labels, value in figure.values:
            gauge.labels(instance=instance, **labels).set(value)
    path = folder / f"quiesce-{instance}.prom"
    write_to_textfile(str(path), registry)
    path.chmod(0o644)
    return path
