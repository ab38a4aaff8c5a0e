"""Memory: idle daemons, and the peaks while a 4 GiB file is copied in and out.

`python -m benchfs.bench.memory`. Targets: an idle daemon 80 MiB; client and daemons 250 MiB each
during the copies. Needs 8 GiB where the data goes, /dev/shm if it can be written to.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchfs.bench.floor import default_directory
from benchfs.localcluster import LocalCluster

SIZE_MIB = 4096
PIECE_BYTES = 1 << 20
CLIENT = """
import sys, uvloop
from pathlib import Path
from benchfs.client import AsyncClient
from benchfs.transfer import Transfer
async def main(url, direction, local, remote, local_reads):
    async with AsyncClient(url, local_reads=local_reads == "local") as fs:
        copy = Transfer(fs)
        result = await (copy.put(Path(local), remote) if direction == "put"
                        else copy.get(remote, Path(local)))
        if result.failures:
            raise SystemExit(str(result.failures))
uvloop.run(main(*sys.argv[1:]))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@dataclass(frozen=True, slots=True)
class Peak:
    """The greatest resident size of a process, and what it should stay within; MiB."""

    process: str
    mib: float
    target_mib: float

    @property
    def reached(self) -> bool:
        """Whether it stayed within its target."""
        return self.mib <= self.target_mib


def peak_mib(pid: int | str) -> float:
    """The greatest resident size a process ever had; `self` is this one."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def copy(url: str, direction: str, local: Path, *, local_reads: bool = True) -> float:
    """Copy in a process of its own; its peak in MiB."""
    how = "local" if local_reads else "remote"
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, url, direction, str(local), "/large", how],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1024


def write_pieces(path: Path, count: int) -> None:
    """A file of `count` MiB, each of a byte of its own."""
    with path.open("wb") as file:
        for number in range(count):
            file.write(_piece(number))


def require_pieces(path: Path, count: int) -> None:
    """OSError unless the file is what `write_pieces` wrote."""
    with path.open("rb") as file:
        for number in range(count):
            if file.read(PIECE_BYTES) != _piece(number):
                raise OSError(f"{path}: MiB {number} came back with other bytes")
        if file.read(1):
            raise OSError(f"{path}: came back longer than it was")


def _piece(number: int) -> bytes:
    return bytes([number % 251]) * PIECE_BYTES


def measure(size_mib: int = SIZE_MIB) -> list[Peak]:
    """Run a cluster, copy a file in and out, and look at everybody's peak."""
    with tempfile.TemporaryDirectory(dir=default_directory()) as name:
        place = Path(name)
        source, target = place / "source", place / "target"
        write_pieces(source, size_mib)
        with LocalCluster(nodes=3, data=place / "data") as cluster:
            idle = max(peak_mib(node.pid) for node in cluster.nodes)
            peaks = [
                Peak("idle daemon", idle, 80),
                Peak("client, copying in", copy(cluster.url, "put", source), 250),
            ]
            source.unlink()
            for what, local in (("local reads", True), ("over sockets", False)):
                peak = copy(cluster.url, "get", target, local_reads=local)
                require_pieces(target, size_mib)
                target.unlink()
                peaks.append(Peak(f"client, copying out, {what}", peak, 250))
            busy = max(peak_mib(node.pid) for node in cluster.nodes)
    return [*peaks, Peak("daemon, after all", busy, 250)]


def main() -> None:
    """Measure and print."""
    table = Table("process", "peak MiB", "target", "verdict", box=None)
    for peak in measure():
        verdict = "reached" if peak.reached else "not reached"
        table.add_row(peak.process, f"{peak.mib:.0f}", f"{peak.target_mib:.0f}", verdict)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
