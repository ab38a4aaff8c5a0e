"""When Python looks for garbage in cycles: not while a process starts, and not when it ends.

What is imported stays, and at the end all goes at once, so neither look finds anything. They take
a fifth of the CPU time of a command or of a daemon that is started and stopped.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left() -> Iterator[None]:
    """Import here: nothing is looked at meanwhile, and what is there at the end never again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave() -> None:
    """The process is about to end: have Python not look at all that is there first."""
    gc.freeze()
