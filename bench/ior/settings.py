"""What IOR's flags say, checked. Sizes in bytes; the names are those of IOR's documentation.

Where IOR leaves a choice, it is made so that a figure cannot flatter: see `order.py` for who
reads whose data, and `pattern.py` for what is written.
"""

from __future__ import annotations

import errno
import posixpath
from dataclasses import dataclass
from pathlib import Path

from benchfs.bench.pattern import PACKETS

DEFAULT_TRANSFER = 256 << 10
DEFAULT_BLOCK = 1 << 20
DEFAULT_FILE = "testFile"
LARGEST_FILE = 1 << 62
LARGEST_TRANSFER = 1 << 30


@dataclass(frozen=True, slots=True)
class Settings:
    """One test. The letter is IOR's flag; ValueError, which names flags, for what cannot be.

    `deadline` (-D): seconds after which a phase stops, 0: never; with `wear_out` every rank goes
    on until all have made as many transfers as the fastest. `wear_out_transfers`: make exactly
    this many, 0: as many as there are. `signature` (-G): of what is written, None: the time.
    `reference`: a number that comes back in the summary.
    """

    write: bool = True  # -w
    read: bool = True  # -r
    check_write: bool = False  # -W
    check_read: bool = False  # -R
    transfer: int = DEFAULT_TRANSFER  # -t
    block: int = DEFAULT_BLOCK  # -b
    segments: int = 1  # -s
    repetitions: int = 1  # -i
    file: str = DEFAULT_FILE  # -o
    file_per_process: bool = False  # -F
    unique_directory: bool = False  # -u
    reorder: bool = False  # -C
    task_offset: int = 1  # -Q
    reorder_random: bool = False  # -Z
    random_seed: int = 0  # -X
    random_offsets: bool = False  # -z
    fsync: bool = False  # -e
    keep: bool = False  # -k
    keep_with_error: bool = False  # -K
    use_existing: bool = False  # -E
    barriers: bool = False  # -g
    deadline: int = 0  # -D
    wear_out: bool = False
    wear_out_transfers: int = 0
    status_file: str = ""
    signature: int | None = None  # -G
    packet: str = "t"  # -l
    reference: int = 0  # -A

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_flags()

    def _check_sizes(self) -> None:
        if not 1 <= self.transfer <= LARGEST_TRANSFER:
            raise ValueError(f"-t {self.transfer}: a transfer has 1 to {LARGEST_TRANSFER} bytes")
        if self.block < 1 or self.block % self.transfer:
            text = f"-b {self.block} is no multiple of -t {self.transfer}"
            raise ValueError(f"{text}: a block is made of whole transfers")
        if self.segments < 1 or self.repetitions < 1:
            raise ValueError(f"-s {self.segments} -i {self.repetitions}: there must be one of each")
        if self.block * self.segments > LARGEST_FILE:
            raise ValueError(f"-b {self.block} -s {self.segments}: no file is that large")
        if self.deadline < 0 or self.wear_out_transfers < 0:
            raise ValueError(f"-D {self.deadline}: it cannot be negative")

    def _check_flags(self) -> None:
        if not (self.write or self.read or self.check_write or self.check_read):
            raise ValueError("neither -w nor -r nor -W nor -R: there is nothing to do")
        if not self.file or self.file.endswith("/"):
            raise ValueError(f"-o {self.file!r} does not name a file")
        if self.packet not in PACKETS:
            raise ValueError(f"-l {self.packet}: there are {', '.join(PACKETS)}")
        if self.unique_directory and not self.file_per_process:
            raise ValueError("-u gives each file a directory of its own: it needs -F")
        if self.reorder and self.reorder_random:
            raise ValueError("-C and -Z are two orders of reading: choose one")
        if self.task_offset < 0:
            raise ValueError(f"-Q {self.task_offset}: it cannot be negative")
        if self.wear_out and not self.deadline:
            raise ValueError("stoneWallingWearOut needs a time to stop after: -D")
        if self.status_file and self.write and not self.keep:
            raise ValueError("stoneWallingStatusFile says what was written: keep it, with -k")
        if self.status_file and self.write and not self.wear_out:
            raise ValueError("stoneWallingStatusFile is written with stoneWallingWearOut=1")

    @property
    def reads(self) -> bool:
        """Whether there is a phase of reading: -R alone reads, and checks."""
        return self.read or self.check_read

    @property
    def transfers(self) -> int:
        """How many transfers a rank has in a phase."""
        return self.transfers_of_block * self.segments

    @property
    def transfers_of_block(self) -> int:
        """How many transfers make a block."""
        return self.block // self.transfer

    def path(self, rank: int) -> str:
        """The file that a rank's data is in."""
        if not self.file_per_process:
            return self.file
        directory, name = posixpath.split(self.file)
        if self.unique_directory:
            directory = posixpath.join(directory, str(rank))
        return posixpath.join(directory, f"{name}.{rank:08}")

    def total_bytes(self, tasks: int) -> int:
        """All files together."""
        return self.block * self.segments * tasks


def read_status(path: str) -> int:
    """How many transfers of a rank an earlier run wrote. OSError."""
    text = Path(path).read_text(encoding="ascii").strip()
    if not text.isdigit():
        raise OSError(errno.EINVAL, f"{text[:40]!r} is no number", path)
    return int(text)


def write_status(path: str, transfers: int) -> None:
    """Tell a later run how many transfers each rank has written."""
    Path(path).write_text(f"{transfers}\n", encoding="ascii")
