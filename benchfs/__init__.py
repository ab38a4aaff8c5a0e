"""BenchFS: an ad hoc file system that pools the disks of a job's machines.

`AsyncClient` and `Client` use a cluster, `LocalCluster` starts one on this machine. Names are
loaded when they are first used, so that the daemon, which shares the core, stays small.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchfs.attributes import UTIME_NOW, UTIME_OMIT
    from benchfs.client import AsyncClient
    from benchfs.errors import BenchFSError, ClusterError, TransportError
    from benchfs.file import AsyncFile
    from benchfs.localcluster import LocalCluster
    from benchfs.sync import Client, File
    from benchfs.user import User

_MODULES = {
    "AsyncClient": "benchfs.client",
    "AsyncFile": "benchfs.file",
    "BenchFSError": "benchfs.errors",
    "Client": "benchfs.sync",
    "ClusterError": "benchfs.errors",
    "File": "benchfs.sync",
    "LocalCluster": "benchfs.localcluster",
    "TransportError": "benchfs.errors",
    "UTIME_NOW": "benchfs.attributes",
    "UTIME_OMIT": "benchfs.attributes",
    "User": "benchfs.user",
}

__all__ = [
    "UTIME_NOW",
    "UTIME_OMIT",
    "AsyncClient",
    "AsyncFile",
    "BenchFSError",
    "Client",
    "ClusterError",
    "File",
    "LocalCluster",
    "TransportError",
    "User",
]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'benchfs' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)
