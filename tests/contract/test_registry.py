"""What every registry promises. A new one joins by a line in `opened`."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import anyio
import pytest

from benchfs.env import system_env
from benchfs.registry import ABSENT, MAX_VALUE, DirectoryRegistry, Registry

RACER = Path(__file__).with_name("race_registry.py")


def opened(kind: str, place: Path) -> Registry:
    """The registry at `place`, as one more client of it."""
    return {"directory": lambda: DirectoryRegistry(place, system_env(), interval=0.01)}[kind]()


@pytest.fixture(params=["directory"])
def kind(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "some" / "registry"


@pytest.fixture
def registry(kind: str, place: Path) -> Registry:
    return opened(kind, place)


async def test_a_key_that_nobody_wrote_is_absent(registry: Registry) -> None:
    assert await registry.read("cluster") == ABSENT == (0, b"")
    assert list(await registry.list("")) == []


@pytest.mark.parametrize("value", [b"", b"value", bytes(range(256)), bytes(MAX_VALUE)])
async def test_what_was_written_is_read(registry: Registry, value: bytes) -> None:
    assert await registry.cas("cluster", 0, value)

    assert await registry.read("cluster") == (1, value)


async def test_another_client_reads_it(registry: Registry, kind: str, place: Path) -> None:
    await registry.cas("cluster", 0, b"value")

    assert await opened(kind, place).read("cluster") == (1, b"value")


async def test_a_swap_based_on_the_newest_revision_wins(registry: Registry) -> None:
    for revision in range(10):
        assert await registry.cas("group/1", revision, b"%d" % revision)

    assert await registry.read("group/1") == (10, b"9")


async def test_a_swap_based_on_any_older_revision_loses(registry: Registry) -> None:
    """However old: also one that the registry keeps no longer."""
    for revision in range(20):
        assert await registry.cas("group/1", revision, b"%d" % revision)

    for stale in range(20):
        assert not await registry.cas("group/1", stale, b"late")

    assert await registry.read("group/1") == (20, b"19")


async def test_a_swap_based_on_a_revision_that_never_was_loses(registry: Registry) -> None:
    assert not await registry.cas("group/1", 1, b"early")
    assert await registry.cas("group/1", 0, b"first")
    assert not await registry.cas("group/1", 2, b"early")

    assert await registry.read("group/1") == (1, b"first")


async def test_keys_do_not_touch_each_other(registry: Registry) -> None:
    keys = ["a", "a/b", "a.b", "a,b", "A", "a_b", ".a", "a/..", "ä", "group/1", "group/10", "@1"]

    for key in keys:
        assert await registry.cas(key, 0, key.encode())

    assert [await registry.read(key) for key in keys] == [(1, key.encode()) for key in keys]
    assert list(await registry.list("")) == sorted(keys)


async def test_a_list_has_the_keys_with_the_prefix(registry: Registry) -> None:
    for key in ["group/2", "group/10", "node/a", "groups"]:
        await registry.cas(key, 0, b"value")
    await registry.cas("group/3", 5, b"lost: there is no such revision")

    assert list(await registry.list("group/")) == ["group/10", "group/2"]
    assert list(await registry.list("node/a")) == ["node/a"]
    assert list(await registry.list("x")) == []


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", "k" * 1000])
async def test_what_is_no_key_is_refused(registry: Registry, key: str) -> None:
    with pytest.raises(ValueError):
        await registry.read(key)
    with pytest.raises(ValueError):
        await registry.cas(key, 0, b"")


async def test_values_and_revisions_have_limits(registry: Registry) -> None:
    with pytest.raises(ValueError):
        await registry.cas("a", 0, bytes(MAX_VALUE + 1))
    with pytest.raises(ValueError):
        await registry.cas("a", -1, b"")


async def told(watch: AsyncIterator[str], count: int) -> list[str]:
    with anyio.fail_after(10):
        return [await anext(watch) for _ in range(count)]


async def test_a_watch_tells_what_is_there_and_then_what_changes(
    registry: Registry, kind: str, place: Path
) -> None:
    other = opened(kind, place)
    await other.cas("group/1", 0, b"")
    await other.cas("group/2", 0, b"")
    await other.cas("node/a", 0, b"")

    async with aclosing(registry.watch("group/")) as watch:
        assert sorted(await told(watch, 2)) == ["group/1", "group/2"]
        await other.cas("group/2", 1, b"")
        assert await told(watch, 1) == ["group/2"]
        await other.cas("node/a", 1, b"")
        await other.cas("group/3", 0, b"")
        assert await told(watch, 1) == ["group/3"]


async def test_a_watch_of_a_registry_that_is_not_there_yet_waits(
    registry: Registry, kind: str, place: Path
) -> None:
    async with aclosing(registry.watch("")) as watch:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened(kind, place).cas, "cluster", 0, b"value")
            assert await told(watch, 1) == ["cluster"]


async def test_a_reader_always_sees_a_whole_value_and_never_goes_back(
    registry: Registry, kind: str, place: Path
) -> None:
    """While another client swaps so fast that what was just found is pruned."""
    done = anyio.Event()

    async def write() -> None:
        other = opened(kind, place)
        for revision in range(100):
            assert await other.cas("group/1", revision, b"%d" % (revision + 1) * 1000)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        last = 0
        while not done.is_set():
            revision, value = await registry.read("group/1")
            assert value == b"%d" % revision * 1000 if revision else value == b""
            assert revision >= last
            last = revision


async def test_of_racing_tasks_one_wins(kind: str, place: Path) -> None:
    for revision in range(10):
        wins: list[bool] = []

        async def swap(revision: int = revision, wins: list[bool] = wins) -> None:
            wins.append(await opened(kind, place).cas("new", revision, b""))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(swap)
        assert wins.count(True) == 1


async def test_of_racing_processes_one_wins_each_epoch(registry: Registry, place: Path) -> None:
    epochs = 50
    racers = [
        subprocess.Popen(  # noqa: ASYNC220 (returns at once)
            [sys.executable, RACER, place, str(epochs)], stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]

    with anyio.fail_after(30):
        while len(await registry.list("ready/")) < len(racers):
            await anyio.sleep(0.01)
    await registry.cas("go", 0, b"")
    outputs = [await anyio.to_thread.run_sync(racer.communicate) for racer in racers]

    assert [racer.returncode for racer in racers] == [0] * 4
    results = [json.loads(stdout) for stdout, _ in outputs]
    winners = Counter(epoch for result in results for epoch in result["won"])
    assert winners == dict.fromkeys(range(1, epochs + 1), 1)
    [last] = [result["pid"] for result in results if epochs in result["won"]]
    assert await registry.read("race") == (epochs, b"%d %d" % (last, epochs))
