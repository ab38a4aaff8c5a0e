"""docs/PERFORMANCE.md, made of a recorded run by `python -m benchfs.bench.peers --render`.

The figures say what the run found; why they are so is said in `reasons.py`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import fields

from benchfs.bench.peers import tables
from benchfs.bench.peers.choose import DURABLE, GLUSTERFS, NATIVE
from benchfs.bench.peers.commands import command
from benchfs.bench.peers.reasons import WAITS, reasons
from benchfs.bench.peers.record import Record, Spread
from benchfs.bench.peers.work import ROWS, stages

COMMAND = "python -m benchfs.bench.peers"
TARGET = 2.0  # times the better peer
WIDTH = 100
PLACE = "/mnt/files/bench"  # in the commands that repeat a row


def page(record: Record, source: str) -> str:
    """The whole page; `source` names the record's file as the reader finds it."""
    return "\n\n".join(_parts(record, source)) + "\n"


def _parts(record: Record, source: str) -> Iterator[str]:
    yield "# Performance"
    yield _paragraph(
        f"Made by `{COMMAND} --render {source}` of a recorded run: change the run, not this page. "
        "One host, everything on the same disk in the same minutes: this compares programs, and "
        "says little about a network of hosts."
    )
    yield "\n".join(map(_bullet, _surroundings(record)))
    if record.failures:
        what = "; ".join(failure.splitlines()[0] for failure in record.failures)
        yield _paragraph(f"**Incomplete:** {what}")
    yield "## Figures"
    yield _paragraph(
        f"Medians; rounds: {len(record.rounds)}, processes: {record.sizes.processes}. "
        "More is better."
    )
    yield tables.markdown(tables.figures(record))
    yield "## Ratios"
    yield _paragraph(
        "Taken within a round; in brackets the least and the greatest. The aim is "
        f"{TARGET:.0f} times the better peer. The floor: two plain processes over a unix socket, "
        "copying (for MiB/s) or answering one request at a time (for rates), in the same minute."
    )
    yield tables.markdown(tables.ratios(record))
    yield from _behind(record)
    yield "## Time on CPUs"
    yield _paragraph(
        "Of clients, daemons and the benchmark's processes together, for each MiB or operation. "
        "Less is better. The kernel's own threads are not in it, and it is known to 10 ms a "
        "process only."
    )
    yield tables.markdown(tables.cpu(record))
    yield "## What the benchmark costs"
    yield _paragraph(
        "One process writes and reads a file in the kernel's memory, by IOR on `posix` and in a "
        "bare loop of `os.pwrite` and `os.preadv`: the best of several turns; medians of rounds."
    )
    yield tables.markdown(tables.loops(record))
    yield "## How it is measured"
    yield "\n".join(map(_bullet, _how(record)))
    yield "## Repeat it"
    yield _repeat(record)


def _surroundings(record: Record) -> Iterator[str]:
    machine = record.machine
    kind = "virtual machine with a virtual disk" if machine.is_virtual else "machine"
    yield (
        f"{machine.cpus} CPUs ({machine.processor}), {machine.memory_gib} GiB of memory, a {kind}; "
        f"{machine.kernel}, {machine.file_system}"
    )
    yield ", ".join(f"{name} {number}" for name, number in record.versions.items())
    yield f"the floor: {tables.floor_line(record)}"
    if record.disturbed:
        yield (
            f"**{record.disturbed} of {len(record.rounds)} rounds began while something else used "
            "the machine:** figures are too low, and ratios uncertain"
        )
    else:
        yield "nothing else used the machine as the rounds began"


def _behind(record: Record) -> Iterator[str]:
    """Where the mount is behind the better peer, or short of the aim, and why."""
    peers = tables.peers_of(record)
    found = {row: tables.to_peers(record, row) for row in ROWS}
    if not any(found.values()):
        return
    behind = [row for row, spread in found.items() if spread and spread.median < 1]
    short = [row.title for row, spread in found.items() if spread and 1 <= spread.median < TARGET]
    yield "## Where the mount is behind"
    if short:
        yield _paragraph(f"Ahead, but short of {TARGET:.0f} times: {'; '.join(short)}.")
    if behind:
        natively = [row for row in behind if _is_behind(record.ratio(row, NATIVE, peers))]
        why = reasons(behind, natively)
        if NATIVE not in record.systems:  # which reason it is would be a guess
            why = {"": [row.title for row in behind]}
        yield f"It is behind the better peer on {len(behind)} of {len(ROWS)} rows:"
        yield "\n".join(
            _bullet(f"*{'; '.join(titles)}.* {reason}") for reason, titles in why.items()
        )
    else:
        yield "It is behind the better peer on no row."
    durable = {row.title: record.ratio(row, DURABLE, (GLUSTERFS,)) for row in ROWS}
    slower = [title for title, spread in durable.items() if spread and spread.median < 1]
    if slower:
        yield _paragraph(
            f"In mode *durable* it is behind GlusterFS on: {'; '.join(slower)}. {WAITS}"
        )


def _is_behind(found: Spread | None) -> bool:
    return found is not None and found.median < 1


def _how(record: Record) -> Iterator[str]:
    sizes = record.sizes
    yield (
        "Each system runs alone, in namespaces of its own, started anew in each round with an "
        "empty directory; the order of the systems is turned round after each round."
    )
    yield (
        "GlusterFS: one volume distributed over three bricks. MooseFS: a master and three chunk "
        "servers, one copy, no trash. BenchFS: three nodes, one copy. All other settings are as "
        "they come: MooseFS runs at niceness −19."
    )
    yield (
        "What fsync means differs. On the raw disk, in GlusterFS and in BenchFS' mode *durable* "
        "the disk has the data; in MooseFS and in BenchFS' default mode the servers' kernels do."
    )
    yield (
        f"IOR: a file of {sizes.file_mib} MiB for each process, and {sizes.hard_mib} MiB of each "
        f"in one file; writing ends with fsync. mdtest: {sizes.files:,} empty files of each "
        f"process in a directory of its own, and {sizes.small_files:,} with 3,901 bytes in a "
        "directory for all."
    )
    yield (
        "Each process reads, asks for and removes what another one has made, by a client that was "
        "mounted anew and has cached nothing. What the servers have in memory stays there; on the "
        "raw disk the kernel is the server, and reads from memory. Random reads stop after "
        f"{sizes.random_seconds} s. *From the disk*: all caches of the machine were dropped before "
        "(the machine below a virtual disk may have one more)."
    )
    yield "*native* is the asynchronous client without a mount, a new one for each stage."
    yield (
        "While BenchFS is used, and up to 0.1 s longer, idle CPUs do not halt: nodes and mounts "
        "that run as root on machines of up to 16 CPUs ask the kernel for that "
        "([why](decisions/016-cpus-do-not-halt.md)). *no polling* is the mount without it; the "
        "others ask for nothing, nor does the floor."
    )


def _repeat(record: Record) -> str:
    sizes = record.sizes
    values = ((one.name.replace("_", "-"), getattr(sizes, one.name)) for one in fields(sizes))
    flags = " ".join((f"--rounds {len(record.rounds)}", *(f"--{k} {v}" for k, v in values)))
    steps = {step.row: step for stage in stages(sizes, PLACE) for step in stage.steps}
    rows = [
        (row.title, f"`{command(steps[row], sizes.processes)}`") for row in ROWS if row in steps
    ]
    intro = _paragraph(
        f"As root, on Debian 12; it took {record.seconds:.0f} s. `--install` brings the "
        "peers' packages, and starts none of their services. Nothing is left running or mounted."
    )
    single = _paragraph(
        "A single row, in a directory of any mount (natively: `-a benchfs`). Unmount and mount "
        "before reading what was written."
    )
    commands = tables.Grid(("row", "command"), rows)
    ours = f"```console\n# {COMMAND} --install \\\n    {flags}\n```"
    return "\n\n".join((intro, ours, single, tables.markdown(commands, numbers=False)))


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _bullet(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="* ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
