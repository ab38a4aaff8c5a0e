"""What is measured of every system: the rows, and the stages that they are measured in.

A stage begins with a client that has cached nothing, or with nothing cached anywhere; its steps
follow each other. What a process reads or asks for is what another one has written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from benchfs.bench.ior.settings import Settings as IorSettings
from benchfs.bench.mdtest.settings import Settings as MdtestSettings

MIB = 1 << 20
HARD_BYTES = 47_008  # of IOR hard: neither pages nor chunks fit
RANDOM_BYTES = 4096
SMALL_BYTES = 3901  # of mdtest hard
LEAVE, FRESH, COLD = "leave", "fresh client", "nothing cached"

StepSettings: TypeAlias = IorSettings | MdtestSettings


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one round: MiB of each process's files, how many files each makes, seconds.

    ValueError for what cannot be.
    """

    processes: int = 2
    file_mib: int = 128
    hard_mib: int = 64
    files: int = 1000
    small_files: int = 400
    random_seconds: int = 2

    def __post_init__(self) -> None:
        numbers = (self.file_mib, self.hard_mib, self.files, self.small_files, self.random_seconds)
        if min(numbers) < 1 or self.processes < 2:
            raise ValueError("sizes are 1 at least, and there are two processes or more")

    @property
    def disk_bytes(self) -> int:
        """What one system's round needs of the disk, with room for what it keeps beside files."""
        data = self.processes * (self.file_mib + self.hard_mib) * MIB
        files = self.processes * (self.files + 2 * self.small_files) * 8192
        return 2 * (data + files) + 1024 * MIB


@dataclass(frozen=True, slots=True)
class Row:
    """A figure's name and its unit, MiB/s or /s."""

    title: str
    unit: str

    @property
    def is_bandwidth(self) -> bool:
        """Whether it is held against copying, and not against answers a second."""
        return self.unit == "MiB/s"


WRITE = Row("write, 1 MiB", "MiB/s")
HARD_WRITE = Row("write, 47,008 bytes, shared file", "MiB/s")
CREATE = Row("create", "/s")
SMALL_CREATE = Row("create and write 3,901 bytes", "/s")
READ = Row("read, 1 MiB", "MiB/s")
HARD_READ = Row("read, 47,008 bytes, shared file", "MiB/s")
STAT = Row("stat", "/s")
SMALL_READ = Row("open and read 3,901 bytes", "/s")
RANDOM_READ = Row("random reads, 4 KiB", "/s")
COLD_READ = Row("read, 1 MiB, from the disk", "MiB/s")
REMOVE = Row("remove", "/s")
SMALL_REMOVE = Row("remove files of 3,901 bytes", "/s")

ROWS = (
    WRITE, READ, COLD_READ, HARD_WRITE, HARD_READ, RANDOM_READ,
    CREATE, STAT, REMOVE, SMALL_CREATE, SMALL_READ, SMALL_REMOVE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One row, by these settings of IOR or mdtest."""

    row: Row
    settings: StepSettings


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that follow each other. `before`: LEAVE, FRESH or COLD."""

    before: str
    steps: tuple[Step, ...]


def stages(sizes: Sizes, directory: str) -> tuple[Stage, ...]:
    """All that one system does in a round, below `directory`."""
    easy = IorSettings(
        file=f"{directory}/easy",
        block=sizes.file_mib * MIB,
        transfer=MIB,
        signature=1,
        file_per_process=True,
    )
    hard = IorSettings(
        file=f"{directory}/hard",
        block=HARD_BYTES,
        transfer=HARD_BYTES,
        signature=1,
        segments=max(1, sizes.hard_mib * MIB // HARD_BYTES),
    )
    read = replace(easy, write=False, reorder=True)
    random = replace(
        read, transfer=RANDOM_BYTES, random_offsets=True, deadline=sizes.random_seconds
    )

    def empty(operation: str) -> MdtestSettings:
        return _mdtest(operation, f"{directory}/empty", sizes.files, 0)

    def small(operation: str) -> MdtestSettings:
        return _mdtest(operation, f"{directory}/small", sizes.small_files, SMALL_BYTES)

    return (
        Stage(
            LEAVE,
            (
                Step(WRITE, replace(easy, read=False, fsync=True, keep=True)),
                Step(HARD_WRITE, replace(hard, read=False, fsync=True, keep=True)),
                Step(CREATE, empty("create")),
                Step(SMALL_CREATE, small("create")),
            ),
        ),
        Stage(
            FRESH,
            (
                Step(READ, read),
                Step(HARD_READ, replace(hard, write=False, reorder=True)),
                Step(STAT, empty("stat")),
                Step(SMALL_READ, small("read")),
            ),
        ),
        Stage(FRESH, (Step(RANDOM_READ, random),)),
        Stage(
            COLD,
            (
                Step(COLD_READ, read),
                Step(REMOVE, empty("remove")),
                Step(SMALL_REMOVE, small("remove")),
            ),
        ),
    )


def _mdtest(operation: str, directory: str, items: int, bytes_of_files: int) -> MdtestSettings:
    """One operation. Empty files are in a directory for each process, others in one for all."""
    return MdtestSettings(
        items=items,
        directory=directory,
        files_only=True,
        stride=1,
        unique_directory=not bytes_of_files,
        write_bytes=bytes_of_files,
        read_bytes=bytes_of_files,
        create=operation == "create",
        stat=operation == "stat",
        read=operation == "read",
        remove=operation == "remove",
    )
