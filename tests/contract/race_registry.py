"""One of several processes that race to write a key of a registry. Started by test_registry.

Arguments: where the registry is, how many epochs. Says that it is ready, waits for the key "go",
then tries to swap every epoch of "race" as soon as it sees it. Prints what it won as JSON.
"""

import json
import os
import sys

import anyio

from benchfs.env import system_env
from benchfs.registry import DirectoryRegistry, Registry


async def race(registry: Registry, epochs: int) -> list[int]:
    won = []
    await registry.cas(f"ready/{os.getpid()}", 0, b"")
    while not (await registry.read("go")).revision:
        await anyio.sleep(0.001)
    while (seen := (await registry.read("race")).revision) < epochs:
        if await registry.cas("race", seen, b"%d %d" % (os.getpid(), seen + 1)):
            won.append(seen + 1)
    return won


if __name__ == "__main__":
    place, epochs = sys.argv[1:]
    won = anyio.run(race, DirectoryRegistry(place, system_env()), int(epochs))
    print(json.dumps({"pid": os.getpid(), "won": won}))
