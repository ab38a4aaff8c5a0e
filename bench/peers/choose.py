"""The systems that are measured, by the names that tables show."""

from __future__ import annotations

from benchfs.bench.peers.glusterfs import GlusterFS
from benchfs.bench.peers.moosefs import MooseFS
from benchfs.bench.peers.ours import Mounted, Native, RawDisk
from benchfs.bench.peers.system import System

RAW = "raw disk"
GLUSTERFS = "GlusterFS"
MOOSEFS = "MooseFS"
MOUNT = "BenchFS mount"
RESTING = "BenchFS mount, no polling"
DURABLE = "BenchFS mount, durable"
NATIVE = "BenchFS native"

SYSTEMS = (RAW, GLUSTERFS, MOOSEFS, MOUNT, RESTING, DURABLE, NATIVE)
PEERS = (GLUSTERFS, MOOSEFS)


def make(name: str) -> System:
    """A system, not started. ValueError for a name that there is not."""
    if name == RAW:
        return RawDisk()
    if name == GLUSTERFS:
        return GlusterFS()
    if name == MOOSEFS:
        return MooseFS()
    if name in {MOUNT, RESTING, DURABLE}:
        mode = "durable" if name == DURABLE else "writeback"
        return Mounted(mode, polling=name != RESTING)
    if name == NATIVE:
        return Native()
    raise ValueError(f"there is no {name!r}: {', '.join(SYSTEMS)}")
