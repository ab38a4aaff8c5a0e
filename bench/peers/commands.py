"""The command of `benchfs bench` that does what a step does, to repeat a row by hand."""

from __future__ import annotations

from benchfs.bench.ior.settings import Settings as IorSettings
from benchfs.bench.mdtest.settings import Settings as MdtestSettings
from benchfs.bench.peers.work import MIB, Step


def command(step: Step, processes: int) -> str:
    """One line, for a directory of this host."""
    settings = step.settings
    words = _ior(settings) if isinstance(settings, IorSettings) else _mdtest(settings)
    return " ".join(("benchfs", "bench", *words, "-a", "posix", "--tasks", str(processes)))


def _ior(settings: IorSettings) -> list[str]:
    flags = {
        "-w": settings.write,
        "-r": settings.read,
        "-e": settings.fsync,
        "-k": settings.keep,
        "-F": settings.file_per_process,
        "-C": settings.reorder,
        "-z": settings.random_offsets,
    }
    words = ["ior", *(flag for flag, is_set in flags.items() if is_set)]
    words += ["-t", _size(settings.transfer), "-b", _size(settings.block)]
    if settings.segments > 1:
        words += ["-s", str(settings.segments)]
    if settings.deadline:
        words += ["-D", str(settings.deadline)]
    return [*words, "-G", str(settings.signature), "-o", settings.file]


def _mdtest(settings: MdtestSettings) -> list[str]:
    flags = {
        "-C": settings.create,
        "-T": settings.stat,
        "-E": settings.read,
        "-r": settings.remove,
        "-F": settings.files_only,
        "-u": settings.unique_directory,
    }
    words = ["mdtest", *(flag for flag, is_set in flags.items() if is_set)]
    words += ["-n", str(settings.items), "-N", str(settings.stride)]
    if settings.write_bytes:
        words += ["-w", str(settings.write_bytes), "-e", str(settings.read_bytes)]
    return [*words, "-d", settings.directory]


def _size(count: int) -> str:
    for unit, letter in ((MIB, "m"), (1024, "k")):
        if count % unit == 0:
            return f"{count // unit}{letter}"
    return str(count)
