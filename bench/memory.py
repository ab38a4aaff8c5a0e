"""Memory: idle daemons, and the peaks while a 4 GiB file is copied in and out.

Targets: an idle daemon 80 MiB; client and daemons 250 MiB each during the copies.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchfs.bench.floor import default_directory
from benchfs.bench.processes import peak_bytes
from benchfs.localcluster import LocalCluster

SIZE_MIB = 4096
MIB = 1 << 20
PIECE_BYTES = 1 << 20
CLIENT = """
import sys, uvloop
from pathlib import Path
from benchfs.client import AsyncClient
from benchfs.transfer import Transfer
async def main(url, direction, local, remote):
    async with AsyncClient(url) as fs:
        copy = Transfer(fs)
        result = await (copy.put(Path(local), remote) if direction == "put"
                        else copy.get(remote, Path(local)))
        if result.failures:
            raise SystemExit(str(result.failures))
uvloop.run(main(*sys.argv[1:]))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def copy(url: str, direction: str, local: Path) -> float:
    """Copy in a process of its own; its peak in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, url, direction, str(local), "/large"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1024


def main() -> None:
    """Measure and print."""
    table = Table("process", "peak MiB", "target", box=None)
    with tempfile.TemporaryDirectory(dir=default_directory()) as name:
        place = Path(name)
        source, target = place / "source", place / "target"
        with source.open("wb") as file:
            for number in range(SIZE_MIB):
                file.write(bytes([number % 251]) * PIECE_BYTES)
        with LocalCluster(nodes=3, data=place / "data") as cluster:
            idle = max(peak_bytes(node.pid) for node in cluster.nodes)
            table.add_row("idle daemon", f"{idle / MIB:.0f}", "80")
            table.add_row("client, 4 GiB in", f"{copy(cluster.url, 'put', source):.0f}", "250")
            source.unlink()
            table.add_row("client, 4 GiB out", f"{copy(cluster.url, 'get', target):.0f}", "250")
            busy = max(peak_bytes(node.pid) for node in cluster.nodes)
            table.add_row("daemon, after both", f"{busy / MIB:.0f}", "250")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
