"""Many calls over each engine leave memory as it was; the long version is `benchfs.bench.soak`."""

from __future__ import annotations

import pytest

from benchfs.bench import soak
from benchfs.bench.soak import MOST_GROWTH_BYTES, SAMPLES, Sample, Soak
from benchfs.rpc.transports.choose import choose

CALLS = 100_000  # some four seconds
ATTEMPTS = 3  # an allocator may take more at any time; what leaks grows every time


@pytest.mark.parametrize("engine", ["sockets", "uring"])
def test_memory_is_flat_over_many_calls(engine: str) -> None:
    if (summary := choose(engine).summary) != engine:
        pytest.skip(f"needs the engine {engine}: {summary}")

    found = [soak.soak(engine, CALLS, "unix")]
    while not found[-1].flat:
        assert len(found) < ATTEMPTS, found
        found.append(soak.soak(engine, CALLS, "unix"))

    assert len(found[0].samples) == SAMPLES + 1
    assert found[0].samples[-1].calls == CALLS


@pytest.mark.parametrize("process", ["client", "server"])
@pytest.mark.parametrize(("bytes_a_call", "flat"), [(0.0, True), (1.9, True), (2.1, False)])
def test_growth_of_either_process_in_the_second_half_is_found(
    process: str, bytes_a_call: float, flat: bool
) -> None:
    samples = []
    for number in range(SAMPLES + 1):
        calls = number * MOST_GROWTH_BYTES // SAMPLES
        size = int(calls * bytes_a_call)
        client, server = (size, 0) if process == "client" else (0, size)
        samples.append(Sample(calls, float(number), client, server))

    assert Soak("sockets", tuple(samples)).flat is flat


def test_growth_while_pools_are_filled_is_none() -> None:
    sizes = [min(number, 9) * MOST_GROWTH_BYTES for number in range(SAMPLES + 1)]
    samples = [Sample(number, 1.0, size, size) for number, size in enumerate(sizes)]

    assert Soak("sockets", tuple(samples)).flat
