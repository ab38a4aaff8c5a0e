"""What a run of IO500 is: the parameters that its rules fix, and the few that they leave."""

from __future__ import annotations

from dataclasses import dataclass

from benchfs.bench.ior.settings import Settings as IorSettings
from benchfs.bench.mdtest.settings import Settings as MdtestSettings

RULES_SECONDS = 300  # of each phase that writes
EASY_TRANSFER = 2 << 20
EASY_BLOCK = 9_920_000 << 20
HARD_TRANSFER = 47_008
HARD_SEGMENTS = 10_000_000
HARD_FILE_BYTES = 3901
ITEMS = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """`stonewall`: seconds after which writing stops. The others bound what a task writes.

    ValueError for what cannot be.
    """

    directory: str = "/io500"
    stonewall: int = RULES_SECONDS
    easy_block: int = EASY_BLOCK
    hard_segments: int = HARD_SEGMENTS
    easy_items: int = ITEMS
    hard_items: int = ITEMS
    sync: bool = False

    def __post_init__(self) -> None:
        if self.stonewall < 1:
            raise ValueError(f"--stonewall {self.stonewall}: a phase writes for a second at least")
        if not self.directory.strip("/"):
            raise ValueError(f"-d {self.directory!r} does not name a directory to make")
        if min(self.hard_segments, self.easy_items, self.hard_items) < 1:
            raise ValueError("every task writes something")

    def ior(self, difficulty: str, signature: int, **more: bool | int) -> IorSettings:
        """A phase of IOR; `difficulty` is easy or hard."""
        common: dict[str, bool | int | str] = {
            "file": f"{self.directory}/ior-{difficulty}/file",
            "signature": signature,
            "reorder": True,
            "task_offset": 1,
            "barriers": True,
            "keep": True,
            "fsync": True,
        }
        if difficulty == "easy":
            shape = {"transfer": EASY_TRANSFER, "block": self.easy_block, "file_per_process": True}
        else:
            shape = {
                "transfer": HARD_TRANSFER,
                "block": HARD_TRANSFER,
                "segments": self.hard_segments,
            }
        return IorSettings(**(common | shape | more))  # type: ignore[arg-type]  # by name

    def mdtest(self, difficulty: str, **more: bool | int) -> MdtestSettings:
        """A phase of mdtest."""
        common: dict[str, bool | int | str] = {
            "directory": f"{self.directory}/mdtest-{difficulty}",
            "files_only": True,
            "stride": 1,
            "create": False,
            "stat": False,
            "read": False,
            "remove": False,
        }
        if difficulty == "easy":
            shape = {"items": self.easy_items, "unique_directory": True, "leaves_only": True}
        else:
            size = HARD_FILE_BYTES
            shape = {"items": self.hard_items, "write_bytes": size, "read_bytes": size}
        return MdtestSettings(**(common | shape | more))  # type: ignore[arg-type]  # by name


def quick(directory: str, *, sync: bool) -> Settings:
    """A run of about a minute: too short to be valid, the same phases."""
    return Settings(
        directory=directory,
        stonewall=3,
        easy_block=512 << 20,
        hard_segments=20_000,
        easy_items=10_000,
        hard_items=5_000,
        sync=sync,
    )
