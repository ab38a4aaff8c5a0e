"""Ranks under mpirun or srun, through mpi4py (extra `bench`): real ranks of MPI_COMM_WORLD.

An exchange waits for the others in a barrier that does not block, so that the event loop runs on
and no processor is spent on polling; the values then travel by allgather, at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING

import uvloop

from benchfs.bench.launch.base import (
    EXCHANGE_SECONDS,
    Job,
    Program,
    RankLostError,
    Result,
    StoppedError,
    Value,
)

if TYPE_CHECKING:
    from mpi4py import MPI

POLL_SECONDS = 0.0002


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher of MPI started this process as one of several, or as a single rank."""
    if "OMPI_COMM_WORLD_SIZE" in environment or "PMI_SIZE" in environment:
        return True
    tasks = environment.get("SLURM_NTASKS", "1")
    return "SLURM_STEP_ID" in environment and tasks.isdigit() and int(tasks) > 1


def started(environment: Mapping[str, str] = os.environ) -> int:
    """How many ranks the launcher says that it started; 1 where it says nothing."""
    names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]
    if "SLURM_STEP_ID" in environment:
        names.append("SLURM_NTASKS")
    said = next((environment[name] for name in names if name in environment), "1")
    return int(said) if said.isdigit() else 1


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process, started by a launcher, is the one that speaks: rank 0."""
    names = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
    return next((environment[name] for name in names if name in environment), "0") == "0"


class MpiRanks:
    """A communicator as `Ranks`."""

    def __init__(self, communicator: MPI.Comm) -> None:
        self.rank = communicator.Get_rank()
        self.size = communicator.Get_size()
        self._communicator = communicator

    async def exchange(self, value: Value) -> list[Value]:
        """As in `Ranks`."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + EXCHANGE_SECONDS
        barrier = self._communicator.Ibarrier()
        while not barrier.Test():
            if loop.time() > give_up_at:
                text = f"the others did not come in {EXCHANGE_SECONDS:.0f} s"
                raise RankLostError(text)
            await asyncio.sleep(POLL_SECONDS)
        values: list[Value] = self._communicator.allgather(value)
        return values


def run(program: Program[Job, Result], job: Job, tasks: int | None) -> Result | None:
    """Run `program` on the first `tasks` ranks, None: on all; what it returned on rank 0.

    None on all other ranks. A rank that fails ends them all, with its words on standard error.
    Raises ValueError if there are fewer ranks, ModuleNotFoundError without mpi4py, OSError if MPI
    does not see the others that the launcher started.
    """
    from mpi4py import MPI  # noqa: PLC0415 (optional, and importing it starts MPI)

    world = MPI.COMM_WORLD
    if world.Get_size() == 1 < started():
        # Each would run the whole benchmark, and the figures of one would be taken for all.
        text = "the MPI of mpi4py is not the launcher's: try srun --mpi=pmix, or another mpirun"
        raise OSError(f"{started()} ranks were started, and MPI knows of one: {text}")
    if tasks is not None and not 1 <= tasks <= world.Get_size():
        raise ValueError(f"{tasks} tasks: the launcher started {world.Get_size()} ranks")
    takes_part = tasks is None or world.Get_rank() < tasks
    communicator = world.Split(0 if takes_part else MPI.UNDEFINED, world.Get_rank())
    if not takes_part:
        return None
    try:
        result = uvloop.run(program(MpiRanks(communicator), job))
    except StoppedError:
        if world.Get_rank() == 0:
            raise
        return None  # rank 0 says why
    except BaseException as exc:
        if not isinstance(exc, OSError):
            traceback.print_exc()
        sys.stderr.write(f"rank {world.Get_rank()}: {exc}\n")
        sys.stderr.flush()
        world.Abort(1)
        raise
    return result if world.Get_rank() == 0 else None
