"""`benchfsd --config node.toml`: one node's daemon. Exit status 2: bad settings, 1: no start."""

from __future__ import annotations

from benchfs import garbage


def main() -> None:
    """Run the daemon until it is told to stop."""
    with garbage.left():
        from benchfsd import program  # noqa: PLC0415 (all of the daemon)
    try:
        program.run()
    finally:
        garbage.leave()


if __name__ == "__main__":
    main()
