"""The process that serves one mount in the background: `python -m benchfs.fuse SETTINGS`."""

from __future__ import annotations

import sys

from benchfs import garbage


def main() -> int:
    """Exit status 0: unmounted, and all that was written is at its node."""
    with garbage.left():
        from benchfs.fuse import program  # noqa: PLC0415 (all of the mount)
    try:
        return program.run()
    finally:
        garbage.leave()


if __name__ == "__main__":
    sys.exit(main())
