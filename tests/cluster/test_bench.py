"""The benchmarks against a real cluster, small: what they count and check, never how fast."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import benchfs
from benchfs.bench import base, md, memory

MIB = 1 << 20


def names(cluster: benchfs.LocalCluster) -> list[str]:
    with benchfs.Client(cluster.url) as fs:
        return fs.listdir("/")


async def test_metadata_rates_are_measured_and_nothing_stays(
    cluster: benchfs.LocalCluster,
) -> None:
    rates = await md.run(cluster.url, md.Settings(operations=50, tasks=8, file_bytes=MIB))

    assert [rate.name for rate in rates] == [
        *(md.CREATE, md.STAT, md.RENAME, md.UNLINK, md.STORE, md.LOAD),
        *(md.MAKE, md.REMOVE, md.LIST, md.RANDOM_READ),
    ]
    assert all(rate.operations == 50 and rate.per_s > 0 for rate in rates)
    assert await asyncio.to_thread(names, cluster) == []


async def test_a_round_of_the_base_has_every_figure(cluster: benchfs.LocalCluster) -> None:
    found = await base.one_round(cluster.url, base.Sizes(file_bytes=2 * MIB, operations=40))

    assert base.TARGETS.keys() <= found.keys()
    assert min(found.values()) > 0


def test_the_peaks_of_all_processes_are_found_while_a_file_is_copied() -> None:
    peaks = memory.measure(size_mib=8)

    assert len(peaks) == 5
    assert all(peak.mib > 10 for peak in peaks)


def test_a_file_that_came_back_changed_ends_the_measurement(tmp_path: Path) -> None:
    path = tmp_path / "file"
    memory.write_pieces(path, 2)
    memory.require_pieces(path, 2)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"?")

    for size in (1, 2, 3):  # longer than it was, changed, shorter
        with pytest.raises(OSError, match="came back"):
            memory.require_pieces(path, size)
