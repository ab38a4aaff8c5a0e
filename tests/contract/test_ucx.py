"""The contract suites over UCX, and what UCX adds: each choice of paths in its own process.

UCX reads UCX_TLS once a process, so the suites run as a pytest of their own for each. The two ends
of a link have a worker each (tests/contract/links.py), so the bytes take the path that is meant.
"""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchfs.rpc.transports.base import TransportUnavailableError
from benchfs.rpc.transports.choose import choose
from benchfs.rpc.transports.ucx.binding import AM_SEND_EAGER, AM_SEND_RENDEZVOUS
from benchfs.rpc.transports.ucx.link import GREETING
from benchfs.rpc.transports.ucx.outgoing import HEADER, HELLO
from benchfs.rpc.transports.ucx.worker import hold
from tests.contract.links import Recorder, engine_of, turns
from tests.ucx import needs_ucx

ROOT = Path(__file__).parents[2]
STREAMS = ("test_transport", "test_cancelled_buffers")
CALLS = ("test_rpc", "test_rpc_handshake", "test_rpc_limits")
# UCX connects by an address of the network, so `tcp` is in every list; where shared memory is,
# the bytes go through that.
PATHS = {
    "tcp,self": ("tcp/", STREAMS + CALLS),
    "posix,tcp,self": ("posix/", STREAMS),
    "posix,cma,tcp,self": ("posix/memory+cma/", STREAMS + CALLS),
    "sysv,tcp,self": ("sysv/", STREAMS),
}


def python(tls: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a choice of paths."""
    environment = {**os.environ, "UCX_TLS": tls}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@needs_ucx
@pytest.mark.timeout(300)
@pytest.mark.parametrize("tls", PATHS)
def test_the_contract_suites_pass_over(tls: str, tmp_path: Path) -> None:
    suites = [f"tests/contract/{name}.py" for name in PATHS[tls][1]]

    scratch = f"--basetemp={tmp_path / 'of-it'}"
    ended = python(tls, "-m", "pytest", "-q", "-p", "no:cacheprovider", scratch, *suites)

    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout


PATH_OF_A_LINK = """
import asyncio
from tests.contract.links import Recorder, engine_of

async def main():
    async with engine_of("ucx") as engine:
        far, near = Recorder(), Recorder()
        listener = await engine.transport.listen(engine.address(), lambda: far)
        link = await engine.transport.connect(listener.address, near)
        print(link.path)
        link.abort()
        await far.until(lambda far: bool(far.lost_reasons))
        listener.close()

asyncio.run(main())
"""


@needs_ucx
@pytest.mark.parametrize("tls", PATHS)
def test_a_link_says_which_path_ucx_chose(tls: str) -> None:
    ended = python(tls, "-c", PATH_OF_A_LINK)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(PATHS[tls][0])


@needs_ucx
def test_ucx_says_nothing_on_standard_output() -> None:
    """It logs there by default, which would break every --json."""
    code = "import asyncio, sys; from benchfs.rpc.transports.choose import choose\n"
    code += "async def main():\n"
    code += " t = choose('ucx').transport('ucx')\n"
    code += " try: await t.connect('ucx://127.0.0.1:1', None)\n"
    code += " except OSError: sys.exit(7)\n"
    code += "asyncio.run(main())"
    ended = python("tcp,nonsense", "-c", code)

    assert ended.returncode == 7, ended.stderr
    assert ended.stdout == ""


@needs_ucx
async def test_a_stranger_that_says_nothing_does_no_harm() -> None:
    """Connections are made and dropped before a byte is said, as monitoring does."""
    transport = choose("ucx").transport("ucx")
    far, near = Recorder(), Recorder()
    listener = await transport.listen("ucx://127.0.0.1:0", lambda: far)
    for _ in range(20):
        _, writer = await asyncio.open_connection(*listener.address[6:].split(":"))
        writer.close()

    link = await transport.connect(listener.address, near)
    link.write([b"hello"])
    link.flush()

    await far.until(lambda far: far.data == b"hello")
    link.abort()
    await far.until(lambda far: bool(far.lost_reasons))
    listener.close()


class Foreigner:
    """The owner of an endpoint that does not care what comes back."""

    path = ""

    def arrived(self, header: bytes, data: bytes) -> None: ...
    def offered(self, header: bytes, rendezvous: object, size: int) -> None: ...
    def failed(self, status: int) -> None: ...
    def handle(self) -> None: ...


@needs_ucx
async def test_a_peer_that_speaks_ucx_and_not_benchfs_is_turned_away() -> None:
    """Any header, any data, eager and rendezvous, with and without a greeting first."""
    rng = random.Random(1)
    far: list[Recorder] = []

    def accept() -> Recorder:
        far.append(Recorder())
        return far[-1]

    async with engine_of("ucx") as engine:
        listener = await engine.transport.listen(engine.address(), accept)
        near = Recorder()
        link = await engine.transport.connect(listener.address, near)
        worker = hold("foreigner")
        for number in range(30):
            endpoint = worker.connect(
                "127.0.0.1", urlsplit(listener.address).port or 0, Foreigner()
            )
            if number % 2:
                worker.send(endpoint, HEADER.pack(HELLO, 0, GREETING), b"", AM_SEND_EAGER, int)
            for _ in range(rng.randrange(1, 12)):
                header = HEADER.pack(rng.randrange(24), rng.randrange(4), rng.randrange(1 << 40))
                header = rng.choice([header, rng.randbytes(rng.randrange(40))])
                data = rng.randbytes(rng.choice([0, 1, 5000, 300_000]))
                flags = rng.choice([AM_SEND_EAGER, AM_SEND_RENDEZVOUS]) if data else AM_SEND_EAGER
                worker.send(endpoint, header, data, flags, int)
            await turns(30)
            worker.close(endpoint)

        link.write([b"still here"])
        link.flush()
        await far[0].until(lambda far: far.data == b"still here")
        worker.let_go()
        listener.close()
        for recorder in far:
            recorder.link.abort()
        await near.until(lambda near: bool(near.lost_reasons))


def test_without_the_library_the_text_says_what_to_install() -> None:
    code = "import sys; from benchfs.rpc.transports.choose import choose\n"
    code += "try: choose('ucx')\n"
    code += "except OSError as exc: print(type(exc).__name__, exc); sys.exit(7)"
    environment = {**os.environ, "BENCHFS_UCX_LIBRARY": "libucp-that-is-not-there.so"}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.startswith(TransportUnavailableError.__name__)
    assert "libucx0" in ended.stdout


def test_without_the_extra_the_text_says_what_to_install() -> None:
    code = "import sys; sys.modules['cffi'] = None\n"
    code += "from benchfs.rpc.transports.choose import choose\n"
    code += "choose('auto')\n"
    code += "try: choose('ucx')\n"
    code += "except OSError as exc: print(exc); sys.exit(7)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 7, ended.stderr
    assert "pip install 'benchfs[ucx]'" in ended.stdout


def test_nothing_of_ucx_is_loaded_unless_it_is_asked_for() -> None:
    code = "import sys, benchfs; from benchfs.rpc.transports.choose import choose; choose()\n"
    code += "sys.exit('cffi' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert ended.returncode == 0
