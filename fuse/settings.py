"""What a mount is made with, and how one process tells another. Needs no pyfuse3."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What a mount is made with. `path` is canonical, see `mounts.canonical`."""

    path: str
    cluster: str | None = None
    timeout: float | None = None  # seconds that an operation may take
    attribute_seconds: float | None = None  # how long names and attributes are believed
    allow_other: bool = False  # other users than the one who mounts
    read_only: bool = False
    writeback: bool = False
    polling: bool = True  # no CPU halts, or sleeps, while requests follow each other

    def encode(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Settings:
        """What `encode` made."""
        return cls(**json.loads(text))
