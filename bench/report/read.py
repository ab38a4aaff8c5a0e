"""The JSON documents of runs, read back: what plots and comparisons need, typed and checked.

A document of another shape is a ValueError that says what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchfs.bench.compare import Samples


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Cache(_Model):
    """Of all clients of a phase; None for what the backend does not count."""

    hits: int | None
    misses: int | None
    local_reads: int | None


class Node(_Model):
    """A daemon after a phase. `cpu_s` during the phase."""

    node: str
    chunk_bytes: int
    chunks: int
    inodes: int
    cpu_s: float | None


class Client(_Model):
    """A rank in a phase. `amount`: bytes or operations."""

    rank: int
    amount: int
    seconds: float
    cpu_s: float


class Phase(_Model):
    """A phase of any benchmark: `value` in `unit`, `timeline` of seconds and `unit`."""

    name: str
    iteration: int
    unit: str
    value: float
    seconds: float
    timeline: Sequence[tuple[float, float]]
    latency_s: Mapping[str, float]
    cache: Cache
    nodes: Sequence[Node]
    clients: Sequence[Client]


class Rank(_Model):
    """Which process a rank was, and where."""

    rank: int
    host: str
    process: int


class Details(_Model):
    """What every benchmark's document has under `benchfs`."""

    benchmark: str
    failure: str | None
    errors: int
    ranks: Sequence[Rank]
    surroundings: Mapping[str, object]
    phases: Sequence[Phase]
    failed: Phase | None


class Document(_Model):
    """A run."""

    version: str = Field(alias="Version")
    began: str = Field(alias="Began")
    command: str = Field(alias="Command line")
    machine: str = Field(alias="Machine")
    settings: Mapping[str, object] = {}
    details: Details = Field(alias="benchfs")
    tests: Sequence[Mapping[str, object]] = ()
    valid: bool | None = None
    score: Mapping[str, float] | None = None


def parse(document: object) -> Document:
    """ValueError if this is no document of a run."""
    try:
        return Document.model_validate(document)
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"this is no result of `benchfs bench`: {place}: {first['msg']}") from None


def load(path: Path) -> Document:
    """From a file. OSError, ValueError with the file's name."""
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as exc:
        raise ValueError(f"{path}: {exc}") from None


def samples(document: Document) -> list[Samples]:
    """The figures of a run, by phase, in the order in which they came."""
    found: dict[tuple[str, str], list[float]] = {}
    for phase in document.details.phases:
        found.setdefault((phase.name, phase.unit), []).append(phase.value)
    return [Samples(name, unit, tuple(values)) for (name, unit), values in found.items()]
