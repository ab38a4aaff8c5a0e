"""BenchFS beside GlusterFS, MooseFS and the bare disk: `python -m benchfs.bench.peers`, as root.

Exit status 0: everything was measured; 1: something failed, and what was measured is shown and
saved; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

from benchfs.bench.peers import choose, packages, rounds, tables
from benchfs.bench.peers.namespaces import PROGRAMS, run_inside
from benchfs.bench.peers.page import page
from benchfs.bench.peers.record import Record, Round, load, save
from benchfs.bench.peers.surveyed import machine
from benchfs.bench.peers.work import Sizes
from benchfs.bench.surroundings import version

ROUNDS = 5


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it, too, leaves nothing
    parser = _parser()
    given = parser.parse_args()
    try:
        if given.render is not None:
            _write_page(load(given.render), given.render, given.page)
            return
        sizes = Sizes(**{one.name: getattr(given, one.name) for one in fields(Sizes)})
        names = _names(given.systems)
    except ValueError as exc:
        parser.error(str(exc))
    except OSError as exc:
        sys.exit(f"peers: {exc}")
    try:
        _require_ready(names, install=given.install)
        with tempfile.TemporaryDirectory(prefix="benchfs-peers-", dir=given.directory) as place:
            _require_room(Path(place), sizes)
            record = _measure(names, sizes, given.rounds, Path(place))
    except OSError as exc:
        sys.exit(f"peers: {exc}")
    except KeyboardInterrupt:
        sys.exit("peers: interrupted before a round was complete")
    _show(record)
    if given.json is not None:
        save(record, given.json)
        record = load(given.json)  # as others will read it
    if given.page is not None:
        _write_page(record, given.json or Path("RECORD"), given.page)
    if record.failures:
        sys.exit("peers: incomplete:\n" + "\n".join(record.failures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchfs.bench.peers", description=__doc__)
    parser.add_argument("--install", action="store_true", help="missing packages, by apt-get")
    parser.add_argument("--rounds", type=_positive, default=ROUNDS)
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; default: that of temporary files"
    )
    parser.add_argument("--systems", help=f"some of: {', '.join(choose.SYSTEMS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the record of the run")
    parser.add_argument("--page", type=Path, metavar="FILE", help="for the page made of it")
    parser.add_argument(
        "--render", type=Path, metavar="RECORD", help="measure nothing, make the page of a record"
    )
    for one in fields(Sizes):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=int, default=one.default)
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("1 at least")
    return number


def _names(wanted: str | None) -> list[str]:
    names = [name.strip() for name in wanted.split(",")] if wanted else list(choose.SYSTEMS)
    for name in names:
        choose.make(name)  # or ValueError
    return names


def _require_ready(names: list[str], *, install: bool) -> None:
    """OSError that says what is missing."""
    if os.geteuid() != 0:
        raise OSError("needs root, for mounts and namespaces of its own")
    if lacking := packages.missing(names):
        if not install:
            text = f"missing: {' '.join(lacking)}; --install installs them, and starts none of them"
            raise OSError(text)
        print(f"installing {' '.join(lacking)}", file=sys.stderr)
        packages.install(lacking)
    for program in (*PROGRAMS, "umount"):
        if shutil.which(program) is None:
            raise OSError(f"{program} is missing: apt-get install iproute2 util-linux mount")
    if not Path("/dev/fuse").exists():
        raise OSError("there is no /dev/fuse: load the kernel's module fuse")


def _require_room(place: Path, sizes: Sizes) -> None:
    free = shutil.disk_usage(place).free
    if free < sizes.disk_bytes:
        text = f"{place} has {free >> 20} MiB free, {sizes.disk_bytes >> 20} are needed"
        raise OSError(f"{text}: see --directory and --file-mib")


def _measure(names: list[str], sizes: Sizes, count: int, place: Path) -> Record:
    """All rounds; after an interrupt, those before it."""
    began = time.monotonic()
    done: list[Round] = []
    versions = {
        "BenchFS": version(),
        "Python": platform.python_version(),
        **packages.versions(names),
    }
    try:
        for number in range(count):
            found = rounds.one_round(number, names, sizes, place, run=run_inside, say=_say)
            done.append(found)
    except KeyboardInterrupt:
        if not done:
            raise  # else the record says how many rounds it has
    seconds = time.monotonic() - began
    return Record(machine(place), versions, sizes, seconds, count, tuple(done))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(record: Record) -> None:
    print(f"\nmedians of {len(record.rounds)} rounds; floor: {tables.floor_line(record)}")
    print(tables.text(tables.figures(record)))
    if choose.MOUNT in record.systems:
        print("\nratios")
        print(tables.text(tables.ratios(record)))
    print("\ntime on CPUs, of clients and servers together")
    print(tables.text(tables.cpu(record)))
    print("\nwhat the benchmark costs")
    print(tables.text(tables.loops(record)))
    if record.disturbed:
        print(
            f"\n{record.disturbed} rounds began on a busy machine: measure again when it is quiet"
        )


def _write_page(record: Record, source: Path, target: Path | None) -> None:
    text = page(record, str(source))
    if target is None:
        print(text, end="")
    else:
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
