"""Which ranks: those of the launcher that started this process, else processes started here."""

from __future__ import annotations

from benchfs.bench.launch import local, mpi
from benchfs.bench.launch.base import Job, Program, Result


def launch(program: Program[Job, Result], job: Job, tasks: int | None) -> Result | None:
    """Run `program` on `tasks` ranks; rank 0's result, or None if this process is another rank.

    `tasks` None: all that mpirun or srun started, and one process without them. Raises
    RankLostError, ValueError, and under a launcher ModuleNotFoundError without mpi4py.
    """
    if not mpi.launched():
        return local.run(program, job, 1 if tasks is None else tasks)
    try:
        return mpi.run(program, job, tasks)
    except ModuleNotFoundError as exc:
        if exc.name != "mpi4py":
            raise
        text = "started by an MPI launcher, but mpi4py is missing: install benchfs[bench]"
        raise OSError(text) from exc
