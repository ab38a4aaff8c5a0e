"""The contract suites over UCX, and what UCX adds: each choice of paths in its own process.

UCX reads UCX_TLS once a process, so the suites run as a pytest of their own for each. The two ends
of a link have a worker each (tests/contract/links.py), so the bytes take the path that is meant.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchfs.rpc.transports.base import TransportUnavailableError
from benchfs.rpc.transports.choose import choose
from benchfs.rpc.transports.sockets import SocketTransport
from benchfs.rpc.transports.ucx.binding import AM_SEND_EAGER, AM_SEND_RENDEZVOUS, AM_SEND_REPLY
from benchfs.rpc.transports.ucx.door import only_from
from benchfs.rpc.transports.ucx.introduction import NUMBER_BYTES, Card
from benchfs.rpc.transports.ucx.lifeline import Lifeline
from benchfs.rpc.transports.ucx.outgoing import HEADER, HELLO
from benchfs.rpc.transports.ucx.worker import hold
from tests.contract.links import Recorder, turns
from tests.ucx import needs_ucx

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 20.0
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


FEW_DESCRIPTORS = """
import asyncio, resource
from tests.contract.links import Recorder, engine_of

async def main():
    async with engine_of("ucx") as engine:
        listener = await engine.transport.listen(engine.address(), Recorder)
        address = listener.address
        resource.setrlimit(resource.RLIMIT_NOFILE, (MOST, MOST))
        links, problems = [], []
        for together in (1, 1, 1, 60):
            connects = (engine.transport.connect(address, Recorder()) for _ in range(together))
            for one in await asyncio.gather(*connects, return_exceptions=True):
                (problems if isinstance(one, OSError) else links).append(one)
        print(len(links), problems[-1])
        for link in links:
            link.abort()
        listener.close()

asyncio.run(main())
"""


@needs_ucx
@pytest.mark.parametrize("limit", [256, 300])
def test_descriptors_that_run_out_cost_connections_and_not_the_process(limit: int) -> None:
    """UCX 1.13 ends the process when it gets no socket."""
    ended = python("tcp,self", "-c", FEW_DESCRIPTORS.replace("MOST", str(limit)))

    assert ended.returncode == 0, ended.stderr
    made, _, problem = ended.stdout.partition(" ")
    assert int(made) >= 3
    assert "too few descriptors are left" in problem


EAGER = [AM_SEND_EAGER, AM_SEND_EAGER | AM_SEND_REPLY]


class Foreigner:
    """The owner of an endpoint that does not care what comes back."""

    def reached(self, owner: object) -> None: ...
    def arrived(self, header: bytes, data: bytes) -> None: ...
    def offered(self, header: bytes, rendezvous: object, size: int) -> None: ...
    def failed(self, status: int) -> None: ...
    def handle(self) -> None: ...


async def introduced(address: str) -> tuple[Lifeline, Card]:
    """A lifeline to a listener that has no secret, and the card that it showed."""
    shown: asyncio.Future[Card] = asyncio.get_running_loop().create_future()
    own = Card(os.urandom(NUMBER_BYTES), 0)
    lifeline = Lifeline(
        b"",
        lambda: own,
        lambda _, peer: shown.set_result(peer),
        lambda *_: None,
        connects=True,
    )
    await SocketTransport().connect(address.replace("ucx:", "tcp:"), lifeline)
    return lifeline, await shown


@needs_ucx
@pytest.mark.parametrize("knows_a_number", [False, True])
async def test_a_peer_that_speaks_ucx_and_not_benchfs_is_turned_away(knows_a_number: bool) -> None:
    """Any header, any data, eager and rendezvous; from a stranger, and from one of the cluster."""
    rng = random.Random(1)
    far: list[Recorder] = []

    def accept() -> Recorder:
        far.append(Recorder())
        return far[-1]

    transport = choose("ucx").transport("ucx")
    listener = await transport.listen("ucx://127.0.0.1:0", accept)
    near = Recorder()
    link = await transport.connect(listener.address, near)
    worker = hold("foreigner")
    for count in range(20):
        lifeline, peer = await introduced(listener.address)
        number = peer.number if knows_a_number else os.urandom(NUMBER_BYTES)
        endpoint = worker.connect("127.0.0.1", peer.port, Foreigner())
        if count % 2:
            hello = HEADER.pack(number, HELLO, 0, 0)
            worker.send(endpoint, hello, b"", AM_SEND_EAGER | AM_SEND_REPLY, int)
        for _ in range(rng.randrange(1, 12)):
            kinds = (number, rng.randrange(24), rng.randrange(4), rng.randrange(1 << 40))
            header = rng.choice([HEADER.pack(*kinds), rng.randbytes(rng.randrange(40)), number])
            data = rng.randbytes(rng.choice([0, 1, 5000, 300_000]))
            flags = rng.choice(EAGER + [AM_SEND_RENDEZVOUS] * 2 if data else EAGER)
            worker.send(endpoint, header, data, flags, int)
        await turns(30)
        worker.close(endpoint)
        lifeline.close()

    link.write([b"still here"])
    link.flush()
    await far[0].until(lambda far: far.data == b"still here")
    worker.let_go()
    listener.close()
    for recorder in far:
        recorder.link.abort()
    await near.until(lambda near: bool(near.lost_reasons))


@needs_ucx
async def test_an_introduced_peer_that_never_says_hello_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchfs.rpc.transports.ucx.transport.GREETING_SECONDS", 0.05)
    listener = await choose("ucx").transport("ucx").listen("ucx://127.0.0.1:0", Recorder)

    lifeline, _ = await introduced(listener.address)

    ended = asyncio.Event()
    lifeline.on_lost = lambda *_: ended.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await ended.wait()
    listener.close()


async def answered(address: tuple[str, int], seconds: float = 0.2) -> bool:
    """Whether anybody answers there in this time; who is to be found there gets more of it."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(*address)
    except TimeoutError:
        return False
    writer.close()
    return True


@needs_ucx
async def test_nobody_gets_to_ucx_unless_an_introduced_peer_is_on_its_way() -> None:
    listener = await choose("ucx").transport("ucx").listen("ucx://127.0.0.1:0", Recorder)
    lifeline, peer = await introduced(listener.address)
    place = ("127.0.0.1", peer.port)
    assert await answered(place, PATIENCE_SECONDS)

    lifeline.close()

    async with asyncio.timeout(PATIENCE_SECONDS):
        while await answered(place):
            await asyncio.sleep(0)
    listener.close()


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_the_kernel_drops_what_others_send_to_the_door(ip: str) -> None:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((ip, 0))
        except OSError:
            pytest.skip("NOT TESTED: this host has no IPv6")
        listening.listen()
        place = listening.getsockname()[:2]
        other = "fe80::1" if ":" in ip else "192.0.2.1"

        only_from([other], [listening])
        assert not await answered(place)
        only_from([other, ip], [listening])
        assert await answered(place, PATIENCE_SECONDS)
        only_from([], [listening])
        assert not await answered(place)


@needs_ucx
async def test_a_peer_with_another_secret_is_turned_away_before_ucx_hears_of_it() -> None:
    listener = (
        await choose("ucx")
        .for_cluster(b"ours")
        .transport("ucx")
        .listen("ucx://127.0.0.1:0", Recorder)
    )
    stranger = choose("ucx").for_cluster(b"theirs").transport("ucx")

    with pytest.raises(ConnectionError, match="the peer closed the connection"):
        await stranger.connect(listener.address, Recorder())

    listener.close()


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


def test_doctor_says_what_to_install_for_ucx() -> None:
    environment = {**os.environ, "BENCHFS_UCX_LIBRARY": "libucp-that-is-not-there.so"}
    environment["BENCHFS_TRANSPORT"] = "ucx"
    ended = subprocess.run(
        [Path(sys.executable).with_name("benchfs"), "doctor", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1, ended.stderr
    [check] = [
        check for check in json.loads(ended.stdout)["checks"] if check["name"] == "transport"
    ]
    assert check["verdict"] == "problem"
    assert "libucx0" in check["seen"]


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
