"""What tests of the names and inodes of one group begin with."""

from collections.abc import Callable

import pytest

from benchfs.inode import ROOT_INO, FileType, make_ino
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    LayoutRecord,
    MakeInode,
    Open,
    ReadDirectory,
    Rename,
    RenameHow,
)
from benchfsd.renaming import RenamingNamespace as Namespace
from benchfsd.rows import Call
from tests.unit.memory_rows import MemoryRows

LAYOUT = LayoutRecord(chunk_size=65536, first=9, stripe=())
GONE = make_ino(0, 5, 5000)
ELSEWHERE = make_ino(8, 5, 5000)
CALL = Call(b"session-of-16-by", 2, 77)
BODY_LIMIT = 1024 * 1024


def renamed(parent: int, name: bytes, new_parent: int, new_name: bytes) -> Rename:
    """A rename inside this group."""
    return Rename(parent, name, new_parent, new_name, 0, RenameHow.REPLACE)


def create(names: Namespace, name: bytes, parent: int = ROOT_INO) -> Attributes:
    made = names.open(Open(parent, name, True, True, 0o640, 10, 20, LAYOUT)).attributes
    assert made is not None
    return made


def make_directory(names: Namespace, name: bytes, parent: int = ROOT_INO) -> int:
    """A directory whose home is the group of its entry."""
    ino = names.inodes.make_inode(MakeInode(parent, 0o755, 10, 20, 1)).attributes.ino
    names.add_entry(parent, name, ino, FileType.DIRECTORY)
    return ino


def listed(names: Namespace, ino: int = ROOT_INO) -> list[bytes]:
    return [entry.name for entry in names.read_directory(ReadDirectory(ino, b"", 4096)).entries]


def root(names: Namespace) -> Attributes:
    return names.inodes.get(ROOT_INO)


def refused(code: int, names: Namespace, memory: MemoryRows, call: Callable[[], object]) -> None:
    """The call raises this code, and has written nothing."""
    before = memory.snapshot()
    with pytest.raises(RemoteError) as caught:
        call()
    assert caught.value.code == code
    assert memory.snapshot() == before
