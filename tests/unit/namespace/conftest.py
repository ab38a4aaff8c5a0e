"""One group in memory, its root, and a clock that stands still."""

import pytest

from benchfs.env import FixedEnv, fixed_env
from benchfs.rpc.messages import Attributes
from benchfsd.renaming import RenamingNamespace as Namespace
from tests.unit.memory_rows import MemoryRows
from tests.unit.namespace.group import create


@pytest.fixture
def env() -> FixedEnv:
    return fixed_env(1)


@pytest.fixture
def memory() -> MemoryRows:
    return MemoryRows()


@pytest.fixture
def names(memory: MemoryRows, env: FixedEnv) -> Namespace:
    namespace = Namespace(0, memory, env)
    namespace.inodes.format_root(uid=10, gid=20)
    env.clock.advance(1)
    return namespace


@pytest.fixture
def file(names: Namespace) -> Attributes:
    return create(names, b"file")
