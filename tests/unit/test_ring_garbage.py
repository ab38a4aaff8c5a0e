"""Errors that keep the frames of a ring's handlers, and the garbage collector that finds them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchfs.rpc import ring as rings

# In a process of its own: what must not happen is that the interpreter crashes.
PROGRAM = """
import asyncio, gc, socket
from benchfs.rpc import ring as rings

async def main():
    ring = rings.hold()
    here, there = socket.socketpair()
    here.setblocking(False)
    for number in range(20):
        done = asyncio.get_running_loop().create_future()

        def received(result, flags):
            try:
                raise ValueError
            except ValueError as exc:
                kept = exc  # a circle of the error, its traceback and its frames
            done.set_result(result)

        ring.receive(here.fileno(), memoryview(bytearray(16)), 0, received)
        there.send(b"x")
        assert await done == 1
        await asyncio.sleep(0)
        gc.collect()
    ring.let_go()
    here.close()
    there.close()

asyncio.run(main())
print("well")
"""


def test_a_receive_is_never_part_of_garbage() -> None:
    try:
        rings.probe()
    except rings.RingUnavailableError as exc:
        pytest.skip(str(exc))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
