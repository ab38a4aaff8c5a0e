"""Chunks lent to clients of this host: a loan ends before its bytes change."""

import errno
import os
from pathlib import Path

import pytest

from benchfs.checks import verify_pieces
from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from tests.contract.chunks.node import GROUP, INO, MIB, Node, noise


def is_good(node: Node, loan) -> bool:
    stamps = memoryview(os.pread(node.store.board.descriptor, 8 * node.store.board.cells, 0))
    return stamps.cast("Q")[loan.cell] == loan.stamp


async def test_a_loan_gives_the_bytes_with_all_their_checks(node: Node) -> None:
    payload = noise(2 * BLOCK_SIZE + 99)
    version = node.write(0, payload)
    version = node.write(100, payload[100:200])  # its check is unknown now

    loan = await node.store.lend(GROUP, INO, 0)

    with os.fdopen(loan.descriptor, "rb") as file:
        assert verify_pieces(file.read(), 0, loan.checks) is None
        with pytest.raises(OSError):
            os.write(file.fileno(), b"x")
    assert (loan.version, loan.length) == (version, len(payload))
    assert is_good(node, loan)


@pytest.mark.parametrize("change", ["write", "cut", "purge"])
async def test_a_loan_ends_before_the_chunk_changes(node: Node, monkeypatch, change) -> None:
    node.write(0, b"lent")
    await node.store.sync(INO)
    loan = await node.store.lend(GROUP, INO, 0)
    os.close(loan.descriptor)
    good_at_change = []
    for name in ("write", "truncate", "remove"):
        real = getattr(node.files, name)

        def changed(*arguments, real=real):
            good_at_change.append(is_good(node, loan))
            real(*arguments)

        monkeypatch.setattr(node.files, name, changed)

    if change == "write":
        node.write(0, b"x")
    elif change == "cut":
        await node.store.cut(INO, 1, 1, MIB)
    else:
        await node.store.purge((INO,))

    assert good_at_change == [False]


async def test_a_loan_ends_though_the_chunk_left_memory_meanwhile(tmp_path: Path) -> None:
    node = Node(tmp_path, capacity=1)
    node.write(0, b"lent")
    await node.store.sync(INO)
    loan = await node.store.lend(GROUP, INO, 0)
    os.close(loan.descriptor)
    for index in range(1, 5):
        node.write(0, b"other", index=index)
        await node.store.sync(INO)
    assert is_good(node, loan)

    node.write(0, b"x")

    assert not is_good(node, loan)
    node.end_abruptly()


async def test_reading_and_cleaning_end_no_loan(node: Node) -> None:
    node.write(0, b"lent")
    loan = await node.store.lend(GROUP, INO, 0)
    os.close(loan.descriptor)

    await node.store.sync(INO)
    await node.read(1, 2)

    assert is_good(node, loan)


async def test_a_hole_or_a_lost_chunk_is_not_lent(node: Node) -> None:
    with pytest.raises(RemoteError) as caught:
        await node.store.lend(GROUP, INO, 0)
    assert caught.value.code == errno.ENOENT
    node.write(0, b"a")
    await node.store.sync(INO)
    node.path().unlink()

    with pytest.raises(RemoteError, match="missing") as caught:
        await node.store.lend(GROUP, INO, 0)
    assert caught.value.code == errno.EBADMSG
    assert len(node.store.board) == 0
