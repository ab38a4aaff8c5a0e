"""Any sequence of operations, stops and kills reads as bytes in memory would."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.checks import verify_pieces
from benchfs.layout import BLOCK_SIZE
from benchfsd.chunks.cleaning import IDLE_SECONDS
from benchfsd.mode import Mode
from tests.contract.chunks.node import GROUP, INO, KIB, KINDS, Node, noise

CHUNK = 256 * KIB
INDEXES = st.integers(0, 2)
OFFSETS = st.one_of(
    st.sampled_from([0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE, CHUNK - 1]),
    st.integers(0, CHUNK - 1),
)
SIZES = st.one_of(
    st.sampled_from([1, 100, 4096, 4097, BLOCK_SIZE, 2 * BLOCK_SIZE]), st.integers(1, CHUNK)
)
STEPS = st.one_of(
    st.tuples(st.just("write"), INDEXES, OFFSETS, SIZES),
    st.tuples(st.just("read"), INDEXES, OFFSETS, SIZES),
    st.tuples(st.just("cut"), INDEXES, OFFSETS, st.just(0)),
    st.tuples(
        st.sampled_from(["sync", "idle", "stop", "kill", "sweep", "lend"]),
        *(INDEXES, st.just(0), st.just(0)),
    ),
)


def is_small(node: Node, index: int) -> bool:
    """Whether the chunk has no file to be lent."""
    return bool(node.record(index).data)


@pytest.mark.timeout(240)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=20),
    kind=st.sampled_from(sorted(KINDS)),
    mode=st.sampled_from(Mode),
    capacity=st.sampled_from([1, 100]),
    small=st.sampled_from([0, 4096]),
)
async def test_any_sequence_reads_as_a_model_does(steps, kind, mode, capacity, small) -> None:
    with tempfile.TemporaryDirectory() as place:
        node = Node(Path(place), kind, mode, capacity=capacity, small_bytes=small)
        model: dict[int, bytearray] = {}
        epoch = 0
        for number, (verb, index, offset, size) in enumerate(steps):
            if verb == "write":
                payload = noise(min(size, CHUNK - offset), number)
                node.write(offset, payload, index=index, truncation=epoch, chunk_size=CHUNK)
                chunk = model.setdefault(index, bytearray())
                chunk.extend(bytes(max(offset + len(payload) - len(chunk), 0)))
                chunk[offset : offset + len(payload)] = payload
            elif verb == "read":
                expected = bytes(model.get(index, b"")[offset : offset + size])
                assert await node.read(offset, size, index=index) == expected
            elif verb == "cut":
                epoch += 1
                await node.store.cut(INO, epoch, index * CHUNK + offset, CHUNK)
                for beyond in [i for i in model if i > index or (i == index and not offset)]:
                    del model[beyond]
                if index in model:
                    del model[index][offset:]
            elif verb == "sync":
                await node.store.sync(INO)
            elif verb == "idle":
                node.env.clock.advance(IDLE_SECONDS)
                await node.store.clean_idle(node.env.clock.monotonic())
                assert node.store.dirty_count == 0
            elif verb == "stop":
                await node.stop()
                node.open(clean_stop=True)
            elif verb == "kill":
                await asyncio.sleep(0)  # what was acknowledged was committed before
                node.end_abruptly()
                node.open(clean_stop=False)
            elif verb == "sweep":
                assert await node.store.sweep() == 0
            elif verb == "lend" and index in model and not is_small(node, index):
                loan = await node.store.lend(GROUP, INO, index)
                with os.fdopen(loan.descriptor, "rb") as file:
                    assert file.read() == model[index]
                assert verify_pieces(model[index], 0, loan.checks) is None
            assert node.store.chunk_count == len(model)
            assert node.store.chunk_bytes == sum(map(len, model.values()))
        for index in range(3):
            assert await node.read(0, CHUNK, index=index) == model.get(index, b"")
        node.end_abruptly()
        assert node.fatal == []
