"""The command line's entry point: the commands, and what becomes of errors.

Of the commands only the one that is asked for is imported: all of them take longer to import than
most take to run. Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from benchfs import garbage
from benchfs.cli.output import note, say
from benchfs.version import installed_version

COMMANDS = (
    *("up", "down", "status", "doctor", "fsck", "scrub"),
    *("ls", "stat", "cat", "put", "get", "cp", "mv", "rm", "mkdir", "find", "du", "df"),
    *("mount", "umount"),
)
GROUPS = ("bench", "quota")


def command_line(words: Sequence[str]) -> typer.Typer:
    """What understands `words`: the command they begin with, or all if they begin with none."""
    app = typer.Typer(
        invoke_without_command=True,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=True,
    )
    app.callback()(options)
    first = next((word for word in words if not word.startswith("-")), None)
    names = [first] if first in (*COMMANDS, *GROUPS) else [*COMMANDS, *GROUPS]
    for name in names:
        module = import_module(f"benchfs.cli.{name}")
        if name in GROUPS:
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """BenchFS: one file system out of the disks of a job's machines."""
    if version:
        say(f"benchfs {installed_version()}")
        raise typer.Exit


def run() -> None:
    """`benchfs`."""
    with garbage.left():
        understood = command_line(sys.argv[1:])
    try:
        understood()
    except BrokenPipeError:
        # whoever read the output has gone: no further error at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ValueError) as exc:
        note(f"benchfs: {exc}")
        sys.exit(1)
    finally:
        garbage.leave()


if __name__ == "__main__":
    run()
