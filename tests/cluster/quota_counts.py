"""What quotas say is used, for the modules that test them."""

from __future__ import annotations

import asyncio
import errno

import pytest

import benchfs
from benchfs.errors import NoSpaceError


async def used(fs: benchfs.AsyncClient, path: str) -> tuple[int, int]:
    """Bytes and inodes; what the nodes count anew is the same."""
    quota = await fs.get_quota(path)
    assert quota is not None
    assert quota.exact
    assert await fs.check_quota(path) == quota
    return quota.used_bytes, quota.used_inodes


async def until_used(fs: benchfs.AsyncClient, path: str, goal: tuple[int, int]) -> None:
    """The nodes hear of a close a little later."""
    async with asyncio.timeout(30):
        while (quota := await fs.get_quota(path)) is None or (
            (quota.used_bytes, quota.used_inodes) != goal
        ):
            await asyncio.sleep(0.01)
    assert await used(fs, path) == goal


def refused(failure: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether it says EDQUOT, and of which quota."""
    assert isinstance(failure.value, NoSpaceError)
    assert "the quota of /p (" in str(failure.value)
    return failure.value.errno == errno.EDQUOT
