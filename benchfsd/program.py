"""The daemon's program: its command line, its settings, its log, and then all it does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

from benchfs.version import installed_version
from benchfsd import logs
from benchfsd.config import ConfigError, load
from benchfsd.daemon import StartError
from benchfsd.daemon import run as serve
from benchfsd.identity import IdentityError


def run() -> None:
    """Run the daemon until it is told to stop. SystemExit as `benchfsd/__main__.py` says."""
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
        uvloop.run(serve(config))
    except (StartError, IdentityError, OSError) as exc:
        sys.stderr.write(f"benchfsd: {exc}\n")
        sys.exit(1)
