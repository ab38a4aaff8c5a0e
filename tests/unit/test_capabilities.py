"""Capabilities: sealed for one session and one inode, remembered when they were shown."""

import asyncio
import errno
from pathlib import Path

import pytest

from benchfs.env import system_env
from benchfs.inode import READ, WRITE
from benchfs.registry import DirectoryRegistry
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code
from benchfsd import capabilities
from benchfsd.capabilities import KEY_BYTES, Capabilities, shared_key

KEY = b"a key that only nodes know......"
MINE, THINE = b"m" * 16, b"t" * 16


def refused(code: int, table: Capabilities, session: bytes, ino: int, wanted: int) -> None:
    with pytest.raises(RemoteError) as caught:
        table.require(session, ino, wanted)
    assert caught.value.code == code


def test_what_one_node_sealed_another_takes() -> None:
    capability = Capabilities(KEY).seal(MINE, 5, READ)
    table = Capabilities(KEY)
    refused(Code.NO_CAPABILITY, table, MINE, 5, READ)

    table.present(MINE, 5, capability)

    table.require(MINE, 5, READ)
    refused(Code.NO_CAPABILITY, table, MINE, 5, WRITE)
    refused(Code.NO_CAPABILITY, table, MINE, 6, READ)
    refused(Code.NO_CAPABILITY, table, THINE, 5, READ)


def test_rights_of_several_openings_add_up() -> None:
    table = Capabilities(KEY)
    table.present(MINE, 5, table.seal(MINE, 5, READ))
    table.present(MINE, 5, table.seal(MINE, 5, WRITE))

    table.require(MINE, 5, READ | WRITE)


def test_a_capability_is_of_no_use_elsewhere() -> None:
    table = Capabilities(KEY)
    good = table.seal(MINE, 5, READ)
    more = bytes([READ | WRITE]) + good[1:]
    other_cluster = Capabilities(b"another key").seal(MINE, 5, READ)
    for session, ino, capability in (
        (THINE, 5, good),
        (MINE, 6, good),
        (MINE, 5, more),
        (MINE, 5, good[:-1]),
        (MINE, 5, b""),
        (MINE, 5, other_cluster),
    ):
        with pytest.raises(RemoteError) as caught:
            table.present(session, ino, capability)
        assert caught.value.code == errno.EACCES


async def test_all_nodes_of_a_cluster_seal_with_one_random_key(tmp_path: Path) -> None:
    env = system_env()

    keys = await asyncio.gather(
        *(shared_key(DirectoryRegistry(tmp_path / "registry", env), env.rng) for _ in range(4)),
    )
    other = await shared_key(DirectoryRegistry(tmp_path / "other", env), env.rng)

    assert len(set(keys)) == 1
    assert len(keys[0]) == len(other) == KEY_BYTES
    assert other != keys[0]


def test_what_was_shown_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "REMEMBERED", 2)
    table = Capabilities(KEY)
    for ino in (1, 2, 1, 3):
        table.present(MINE, ino, table.seal(MINE, ino, READ))

    table.require(MINE, 1, READ)
    table.require(MINE, 3, READ)
    refused(Code.NO_CAPABILITY, table, MINE, 2, READ)
