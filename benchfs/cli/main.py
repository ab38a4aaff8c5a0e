"""The command line's entry point: the commands, and what becomes of errors.

Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from benchfs.cli import (
    bench,
    bench_rpc,
    cat,
    cp,
    df,
    doctor,
    down,
    du,
    find,
    fsck,
    get,
    ls,
    mkdir,
    mount,
    mv,
    put,
    rm,
    scrub,
    stat,
    status,
    umount,
    up,
)
from benchfs.cli.output import note, say

app = typer.Typer(
    invoke_without_command=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
COMMANDS = (
    *(up, down, status, doctor, fsck, scrub),
    *(ls, stat, cat, put, get, cp, mv, rm, mkdir, find, du, df),
    *(mount, umount),
)
for module in COMMANDS:
    name = module.__name__.rpartition(".")[2]
    app.command(name)(getattr(module, name))
bench.app.command("rpc")(bench_rpc.rpc)
app.add_typer(bench.app, name="bench")


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """BenchFS: one file system out of the disks of a job's machines."""
    if version:
        say(f"benchfs {metadata.version('benchfs')}")
        raise typer.Exit


def run() -> None:
    """`benchfs`."""
    try:
        app()
    except BrokenPipeError:
        # whoever read the output has gone: no further error at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ValueError) as exc:
        note(f"benchfs: {exc}")
        sys.exit(1)


if __name__ == "__main__":
    run()
