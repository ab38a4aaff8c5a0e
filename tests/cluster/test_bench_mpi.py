"""The benchmarks as ranks of a real MPI, with mpirun, at 2 and 4 ranks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import benchfs

pytest.importorskip("mpi4py")
pytest.importorskip("matplotlib")
BESIDE = Path(sys.executable).with_name("mpirun")
MPIRUN = str(BESIDE) if BESIDE.exists() else shutil.which("mpirun")
pytestmark = pytest.mark.skipif(MPIRUN is None, reason="there is no mpirun")

# As root, and with more ranks than processors, Open MPI wants to be asked.
AGREED = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}


def mpirun(
    ranks: int, *arguments: str, status: int = 0, short_tmp: Path
) -> subprocess.CompletedProcess[str]:
    assert MPIRUN is not None
    done = subprocess.run(
        [MPIRUN, "-n", str(ranks), sys.executable, "-m", "benchfs.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | AGREED | {"TMPDIR": str(short_tmp)},
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def results(path: Path, done: subprocess.CompletedProcess[str]) -> Any:
    """What rank 0 wrote into a file: a busy mpirun may lose the end of a long standard output."""
    assert path.exists(), (done.stdout, done.stderr)
    return json.loads(path.read_text())


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_of_mpi_read_each_others_data_and_one_speaks(
    cluster: benchfs.LocalCluster, short_tmp: Path, ranks: int
) -> None:
    flags = ("-t", "64k", "-b", "512k", "-s", "2", "-w", "-r", "-R", "-C", "-g", "-e")

    output = ("-O", f"summaryFile={short_tmp / 'out'},summaryFormat=JSON")

    done = mpirun(
        ranks, "bench", "ior", *flags, *output, "--cluster", cluster.url, short_tmp=short_tmp
    )

    found = results(short_tmp / "out", done)
    assert done.stderr.count("results are in") == 1
    assert found["tests"][0]["Options"]["tasks"] == ranks
    assert [one["access"] for one in found["tests"][0]["Results"]] == ["write", "read"]
    assert found["summary"][0]["xsizeMiB"] == ranks
    read = found["benchfs"]["phases"][1]
    assert [client["source"] for client in read["clients"]] == [*range(1, ranks), 0]
    assert len({rank["process"] for rank in found["benchfs"]["ranks"]}) == ranks
    assert found["benchfs"]["errors"] == 0


def test_ranks_of_mpi_ask_for_each_others_files(
    cluster: benchfs.LocalCluster, short_tmp: Path
) -> None:
    flags = ("-n", "20", "-F", "-u", "-w", "100", "-e", "100", "-X", "-N", "1")

    output = ("--report", str(short_tmp))

    done = mpirun(
        4, "bench", "mdtest", *flags, *output, "--cluster", cluster.url, short_tmp=short_tmp
    )

    found = results(short_tmp / "results.json", done)
    phases = {one["name"]: one for one in found["benchfs"]["phases"]}
    assert [client["source"] for client in phases["File stat"]["clients"]] == [1, 2, 3, 0]
    assert all(client["amount"] == 20 for client in phases["File read"]["clients"])


def test_fewer_tasks_than_ranks_leave_the_others_out(short_tmp: Path) -> None:
    flags = ("-a", "posix", "-o", str(short_tmp / "f"), "-N", "2")
    output = ("-O", f"summaryFile={short_tmp / 'out'},summaryFormat=JSON")

    done = mpirun(4, "bench", "ior", *flags, *output, short_tmp=short_tmp)

    assert results(short_tmp / "out", done)["tests"][0]["Options"]["tasks"] == 2


def test_a_failure_under_mpi_is_said_once_and_ends_all_ranks(short_tmp: Path) -> None:
    flags = ("-a", "posix", "-o", str(short_tmp / "missing" / "f"), "-r")

    later = mpirun(2, "bench", "ior", *flags, status=1, short_tmp=short_tmp)
    at_once = mpirun(2, "bench", "ior", *flags, "-w", status=1, short_tmp=short_tmp)

    assert later.stderr.count("benchfs: incomplete") == 1
    assert at_once.stderr.count("missing/f") == 1


def test_a_task_of_srun_that_mpi_takes_for_the_only_one_measures_nothing(short_tmp: Path) -> None:
    """As under an srun without the right --mpi: its environment is there, and no other rank."""
    path = short_tmp / "f"
    srun = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    flags = ("-a", "posix", "-o", str(path), "-w", "-t", "64k", "-b", "64k", "-k")

    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", "bench", "ior", *flags],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | AGREED | srun | {"TMPDIR": str(short_tmp)},
    )

    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "2 ranks were started, and MPI knows of one" in done.stderr
    assert "srun --mpi=pmix" in done.stderr
    assert not path.exists()
