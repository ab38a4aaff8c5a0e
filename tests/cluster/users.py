"""The users that tests of permissions act for, and what they share."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable

import pytest

import benchfs

SHARED = 60_100
ALICE = benchfs.User(50_001, 60_001, (SHARED,))
BOB = benchfs.User(50_002, 60_002, (SHARED,))
CAROL = benchfs.User(50_003, 60_003)

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act for other users")


async def home(fs: benchfs.AsyncClient, user: benchfs.User, mode: int = 0o755) -> str:
    """A directory of the user's own."""
    path = f"/home-{user.uid}"
    await fs.mkdir(path)
    await fs.chown(path, user.uid, user.gid)
    await fs.chmod(path, mode)
    return path


async def denied(ask: Awaitable[object], code: int = errno.EACCES) -> None:
    """Ask, and be refused."""
    with pytest.raises(PermissionError) as failure:
        await ask
    assert failure.value.errno == code
