"""`make demo`: three nodes store a real tree and a large file, and give them back unchanged.

The tree is the standard library of the Python that runs this. Everything is read back by a
new client and compared by hash; exit status 1 if anything differs.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import uvloop
import xxhash
from rich.console import Console
from rich.table import Table

from benchfs.bench.floor import Floor, default_directory, measure
from benchfs.client import AsyncClient
from benchfs.localcluster import LocalCluster
from benchfs.transfer import Result, Transfer

LARGE_BYTES = 512 << 20
NEEDED_BYTES = 3 << 30
PIECE_BYTES = 1 << 20
LEFT_OUT = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages")


class Step(NamedTuple):
    """A row of the table."""

    name: str
    files: int
    bytes: int
    seconds: float


def main() -> None:
    """Run the demonstration."""
    console = Console(highlight=False)
    shared = default_directory()
    space = shutil.disk_usage(shared).free
    base = shared if space > NEEDED_BYTES else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="benchfs-demo-", dir=base) as name:
        place = Path(name)
        console.print("measuring the floor: two plain processes over a unix socket ...")
        floor = measure(place, repeats=3)
        console.print("preparing a real tree and a large file ...")
        tree, large = place / "tree", place / "large"
        shutil.copytree(sysconfig.get_path("stdlib"), tree, ignore=LEFT_OUT)
        _write_large(large)
        started = time.perf_counter()
        with LocalCluster(nodes=3, data=place / "data") as cluster:
            seconds = time.perf_counter() - started
            console.print(f"three nodes are ready after {seconds:.2f} s: {len(cluster.nodes)} up")
            steps = uvloop.run(_store(cluster.url, tree, large))
            more, different = uvloop.run(_read_back(cluster.url, tree, large, place / "back"))
            started = time.perf_counter()
        console.print(f"stopped and removed in {time.perf_counter() - started:.2f} s")
    _show(console, floor, steps + more)
    if different:
        console.print(f"[bold red]{len(different)} files differ:[/] {', '.join(different[:5])}")
        sys.exit(1)
    console.print("[bold green]every byte came back as it was stored[/]")


def _write_large(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(LARGE_BYTES // PIECE_BYTES):
            file.write(os.urandom(PIECE_BYTES))


def _require(result: Result) -> Result:
    if result.failures:
        path, why = result.failures[0]
        raise OSError(f"{len(result.failures)} files failed, the first: {path}: {why}")
    return result


async def _store(url: str, tree: Path, large: Path) -> list[Step]:
    async with AsyncClient(url) as fs:
        small = _require(await Transfer(fs).put(tree, "/tree"))
        big = _require(await Transfer(fs).put(large, "/large"))
    return [
        Step("store the tree", small.files, small.bytes, small.seconds),
        Step("store the large file", big.files, big.bytes, big.seconds),
    ]


async def _read_back(url: str, tree: Path, large: Path, back: Path) -> tuple[list[Step], list[str]]:
    """Read everything with a new client; the steps, and the paths that differ."""
    async with AsyncClient(url) as fs:
        small = _require(await Transfer(fs).get("/tree", back))
        started = time.perf_counter()
        digest = xxhash.xxh3_128()  # so fast that hashing what is read hardly costs time
        size = 0
        buffer = bytearray(PIECE_BYTES)
        async with await fs.open("/large") as file:
            while count := await file.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
                size += count
        seconds = time.perf_counter() - started
    different = await asyncio.to_thread(differences, tree, back)
    if file_hash(large) != digest.digest():
        different.append("large")
    steps = [
        Step("read the tree back", small.files, small.bytes, small.seconds),
        Step("read the large file back", 1, size, seconds),
    ]
    return steps, different


def differences(tree: Path, back: Path) -> list[str]:
    """Relative paths of files that are in one tree only, or have other bytes."""
    ours, theirs = _hashes(tree), _hashes(back)
    names = ours.keys() | theirs.keys()
    return sorted(name for name in names if ours.get(name) != theirs.get(name))


def _hashes(tree: Path) -> dict[str, bytes]:
    files = (path for path in tree.rglob("*") if path.is_file())
    return {str(path.relative_to(tree)): file_hash(path) for path in files}


def file_hash(path: Path) -> bytes:
    """The hash of a local file's content."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.digest()


def _show(console: Console, floor: Floor, steps: list[Step]) -> None:
    table = Table("", "files", "size", "time", "files/s", "MiB/s", "of the floor", title="BenchFS")
    for column in table.columns[1:]:
        column.justify = "right"
    for step in steps:
        rate = step.bytes / (1 << 20) / step.seconds
        table.add_row(
            step.name,
            f"{step.files:,}",
            f"{step.bytes / (1 << 20):,.0f} MiB",
            f"{step.seconds:.2f} s",
            f"{step.files / step.seconds:,.0f}",
            f"{rate:,.0f}",
            f"{rate / floor.copy_mib_s:.2f}",
        )
    table.add_section()
    table.add_row("floor: plain copy", "", "", "", "", f"{floor.copy_mib_s:,.0f}", "1.00")
    console.print(table)


if __name__ == "__main__":
    main()
