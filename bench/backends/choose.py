"""Backends by the name that -a gives them, in any case."""

from __future__ import annotations

from dataclasses import dataclass

from benchfs.bench.backends.base import Backend
from benchfs.bench.backends.memory import MemoryBackend
from benchfs.bench.backends.native import NativeBackend
from benchfs.bench.backends.posix import PosixBackend

NATIVE, POSIX, MEMORY = "benchfs", "posix", "memory"
BACKENDS = (NATIVE, POSIX, MEMORY)


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured: the backend's name, and of `benchfs` the cluster and how it is read.

    ValueError for a name that does not exist.
    """

    backend: str = NATIVE
    cluster: str | None = None
    local_reads: bool = True

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"-a {self.backend}: there are {', '.join(BACKENDS)}")

    def make(self) -> Backend:
        """A backend of this process, not connected yet."""
        if self.backend == NATIVE:
            return NativeBackend(self.cluster, local_reads=self.local_reads)
        return PosixBackend() if self.backend == POSIX else MemoryBackend()
