"""IOR's directives, -O name=value,...: names in any case, values as the flags take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchfs.bench.sizes import parse_size

Value = bool | int | str

FORMATS = ("default", "json", "csv")


def _flag(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text == "1"


def _format(text: str) -> str:
    if text.lower() not in FORMATS:
        raise ValueError(f"{text!r}: there are {', '.join(FORMATS)}")
    return text.lower()


# IOR's name, the name in Settings (or Output), how the value is read.
_KNOWN: dict[str, tuple[str, Callable[[str], Value]]] = {
    "api": ("api", str.lower),
    "blocksize": ("block", parse_size),
    "checkread": ("check_read", _flag),
    "checkwrite": ("check_write", _flag),
    "deadlineforstonewalling": ("deadline", int),
    "fileperproc": ("file_per_process", _flag),
    "fsync": ("fsync", _flag),
    "intratestbarriers": ("barriers", _flag),
    "keepfile": ("keep", _flag),
    "keepfilewitherror": ("keep_with_error", _flag),
    "numtasks": ("tasks", int),
    "randomoffset": ("random_offsets", _flag),
    "readfile": ("read", _flag),
    "refnum": ("reference", int),
    "reordertasks": ("reorder", _flag),
    "reordertasksconstant": ("reorder", _flag),
    "reordertasksrandom": ("reorder_random", _flag),
    "reordertasksrandomseed": ("random_seed", int),
    "repetitions": ("repetitions", int),
    "segmentcount": ("segments", parse_size),
    "settimestampsignature": ("signature", int),
    "stonewallingstatusfile": ("status_file", str),
    "stonewallingwearout": ("wear_out", _flag),
    "stonewallingwearoutiterations": ("wear_out_transfers", int),
    "summaryfile": ("summary_file", str),
    "summaryformat": ("summary_format", _format),
    "taskpernodeoffset": ("task_offset", int),
    "testfile": ("file", str),
    "transfersize": ("transfer", parse_size),
    "uniquedir": ("unique_directory", _flag),
    "useexistingtestfile": ("use_existing", _flag),
    "writefile": ("write", _flag),
}
_OUTPUT = frozenset({"api", "tasks", "summary_file", "summary_format"})


@dataclass(slots=True)
class Directives:
    """What directives said: fields of Settings, and what is no setting of the test."""

    settings: dict[str, Value] = field(default_factory=dict)
    other: dict[str, Value] = field(default_factory=dict)


def parse(texts: list[str]) -> Directives:
    """Read all -O of a command line, later ones last. ValueError, which names the directive."""
    found = Directives()
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = part.partition("=")
        known = _KNOWN.get(name.strip().lower())
        if not equals or known is None:
            raise ValueError(f"-O {part!r} is no directive that is known here")
        target, read = known
        try:
            one = read(value.strip())
        except ValueError as exc:
            raise ValueError(f"-O {part}: {exc}") from None
        (found.other if target in _OUTPUT else found.settings)[target] = one
    return found
