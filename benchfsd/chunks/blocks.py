"""Reading the blocks of a chunk, of its file or its record, and holding them against their checks.

Bytes leave this module only if they match: of a block that is asked for in part, the whole is
read and verified here; a block that is asked for as a whole is left to the reader, who gets the
stored check with it. A file that is missing or short is damage like any other, and never zeros.

Measured (see `benchfsd/chunks/store.py`): reading 64 KiB from memory 4 µs, its check 1 µs; so a
4 KiB read may as well verify its block every time.
"""

from __future__ import annotations

from benchfs.checks import CHECK_SIZE
from benchfs.layout import BLOCK_SIZE
from benchfsd.chunks import refusals
from benchfsd.chunks.files import Buffers, ChunkFiles
from benchfsd.chunks.state import BAD_CHECK, ChunkState, block_bits, blocks_of, check_of


class BlockReader:
    """Reads from `files`. All methods but `fetch` raise BlockingIOError unless told to `wait`.

    RemoteError tells of damage.
    """

    def __init__(self, files: ChunkFiles) -> None:
        self._files = files
        self._head = memoryview(bytearray(BLOCK_SIZE))
        self._tail = memoryview(bytearray(BLOCK_SIZE))

    def read(
        self, state: ChunkState, offset: int, count: int, into: memoryview, *, wait: bool
    ) -> bytes:
        """Fill into[:count] from `offset` of the chunk, and return the checks of its pieces.

        All of it lies within the chunk's length.
        """
        end = offset + count
        first = offset // BLOCK_SIZE
        last = (end - 1) // BLOCK_SIZE
        last_end = state.block_end(last)
        if first == last and (offset % BLOCK_SIZE or end < last_end):
            return self._read_in_block(state, offset, count, into, wait)
        start = offset
        whole_first, whole_end = first, last + 1  # blocks that go straight into `into`
        buffers: list[memoryview] = []
        head = tail = self._head[:0]
        if offset % BLOCK_SIZE:
            start = first * BLOCK_SIZE
            whole_first += 1
            head = self._head
            buffers.append(head)
        if end < last_end:
            whole_end -= 1
            tail = self._tail[: last_end - last * BLOCK_SIZE]
        skip = whole_first * BLOCK_SIZE - offset if head else 0
        stop = whole_end * BLOCK_SIZE - offset if tail else count
        if skip < stop:
            buffers.append(into[skip:stop])
        if tail:
            buffers.append(tail)
        self._fill(state, start, buffers, wait)

        if state.unknown:
            for block in blocks_of(state.unknown & block_bits(offset, end)):
                if whole_first <= block < whole_end:
                    at = block * BLOCK_SIZE - offset
                    state.set_check(block, check_of(into[at : state.block_end(block) - offset]))
        checks = bytes(state.checks[CHECK_SIZE * whole_first : CHECK_SIZE * whole_end])
        if head:
            self._verify(state, first, head)
            into[:skip] = head[BLOCK_SIZE - skip :]
            checks = check_of(into[:skip]) + checks
        if tail:
            self._verify(state, last, tail)
            into[stop:count] = tail[: count - stop]
            checks += check_of(into[stop:count])
        return checks

    def _read_in_block(
        self, state: ChunkState, offset: int, count: int, into: memoryview, wait: bool
    ) -> bytes:
        block = offset // BLOCK_SIZE
        start = block * BLOCK_SIZE
        whole = self._head[: state.block_end(block) - start]
        self._fill(state, start, (whole,), wait)
        self._verify(state, block, whole)
        piece = whole[offset - start : offset - start + count]
        into[:count] = piece
        return check_of(piece)

    def verify(self, state: ChunkState, blocks: int, *, wait: bool) -> None:
        """Hold the blocks of a mask against their checks."""
        for block in blocks_of(blocks):
            whole = self._head[: state.block_end(block) - block * BLOCK_SIZE]
            self._fill(state, block * BLOCK_SIZE, (whole,), wait)
            self._verify(state, block, whole)

    def complete(self, state: ChunkState, *, wait: bool) -> None:
        """Make all checks known: read the blocks whose checks are not.

        Blocks that cannot be read get a check that no bytes have: reading them is an error.
        """
        for block in blocks_of(state.unknown):
            whole = self._head[: state.block_end(block) - block * BLOCK_SIZE]
            try:
                count = self._files.read(
                    state.ino, state.index, block * BLOCK_SIZE, (whole,), wait=wait
                )
            except BlockingIOError:
                raise
            except OSError:
                count = 0
            state.set_check(block, check_of(whole) if count == len(whole) else BAD_CHECK)

    async def fetch(self, state: ChunkState, offset: int, end: int) -> None:
        """Bring the blocks of these bytes into memory, so that reading them need not wait."""
        if state.data:
            return
        start = offset - offset % BLOCK_SIZE
        stop = min(end + -end % BLOCK_SIZE, state.length)
        await self._files.fetch(state.ino, state.index, start, stop - start)

    async def fetch_unknown(self, state: ChunkState) -> None:
        """Bring the blocks whose checks are unknown, and those between them, into memory."""
        blocks = blocks_of(state.unknown)
        if blocks:
            await self.fetch(state, blocks[0] * BLOCK_SIZE, state.block_end(blocks[-1]))

    def _fill(self, state: ChunkState, start: int, buffers: Buffers, wait: bool) -> None:
        if state.data:
            for buffer in buffers:
                buffer[:] = state.data[start : start + len(buffer)]
                start += len(buffer)
            return
        ino, index = state.ino, state.index
        wanted = sum(map(len, buffers))
        try:
            count = self._files.read(ino, index, start, buffers, wait=wait)
        except BlockingIOError:
            raise
        except FileNotFoundError:
            why = "the chunk's file is missing"
            raise refusals.damaged(ino, index, start, start + wanted, why) from None
        except OSError as problem:
            why = f"cannot be read: {problem}"
            raise refusals.damaged(ino, index, start, start + wanted, why) from problem
        if count < wanted:
            why = f"the chunk's file ends at {start + count}"
            raise refusals.damaged(ino, index, start + count, start + wanted, why)

    def _verify(self, state: ChunkState, block: int, whole: memoryview) -> None:
        check = check_of(whole)
        if state.unknown >> block & 1:
            state.set_check(block, check)
        elif state.check(block) != check:
            start = block * BLOCK_SIZE
            raise refusals.damaged(
                state.ino, state.index, start, start + len(whole), "failed their check"
            )
