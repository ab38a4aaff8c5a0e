"""`benchfsd --config node.toml`: one node's daemon. Exit status 2: bad settings, 1: no start."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

from benchfs.version import installed_version
from benchfsd import logs
from benchfsd.config import ConfigError, load
from benchfsd.daemon import StartError, run
from benchfsd.identity import IdentityError


def main() -> None:
    """Run the daemon until it is told to stop."""
    parser = argparse.ArgumentParser(prog="benchfsd", description="One node of a BenchFS cluster.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML")
    parser.add_argument("--version", action="store_true", help="show it, and end")
    arguments = parser.parse_args()
    if arguments.version:
        sys.stdout.write(f"benchfsd {installed_version()}\n")
        return
    try:
        config = load(arguments.config)
    except ConfigError as exc:
        sys.stderr.write(f"benchfsd: {exc}\n")
        sys.exit(2)
    logs.start(config.node_id, config.log_level, config.log_file)
    try:
        uvloop.run(run(config))
    except (StartError, IdentityError, OSError) as exc:
        sys.stderr.write(f"benchfsd: {exc}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
