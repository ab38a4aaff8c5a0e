"""What the process of one mount in the background does.

Started by `benchfs mount`, which passes a descriptor: on it this process says `ready`, or why it
is not. Standard output and error are the log.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import uvloop

from benchfs.fuse import mounts
from benchfs.fuse.background import READY_VARIABLE
from benchfs.fuse.session import serve
from benchfs.fuse.settings import Settings


def run() -> int:
    """Exit status 0: unmounted, and all that was written is at its node."""
    settings = Settings.decode(sys.argv[1])
    teller = int(os.environ.pop(READY_VARIABLE))
    os.set_inheritable(teller, False)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    record = mounts.record(Path(settings.path))
    record.pid.write_text(f"{os.getpid()}\n")

    def ready() -> None:
        os.write(teller, b"ready\n")
        os.close(teller)

    try:
        uvloop.run(serve(settings, ready))
    except OSError as exc:
        logging.getLogger("benchfs.fuse").critical("%s", exc)
        try:
            os.write(teller, f"{exc}\n".encode(errors="backslashreplace"))
        except OSError:
            pass  # it was ready, and nobody waits any more
        return 1
    finally:
        record.pid.unlink(missing_ok=True)
    return 0
