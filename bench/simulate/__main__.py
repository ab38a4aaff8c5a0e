"""`python -m benchfs.bench.simulate FILE`: put the tables of simulations into a page."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchfs.bench.floor import default_directory
from benchfs.bench.simulate.load import Offered
from benchfs.bench.simulate.run import parse_sizes, simulate
from benchfs.bench.simulate.text import in_page, tables

SEED = 1


def main() -> None:
    """Raises OSError, ValueError for a page without marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--sizes", type=parse_sizes, default="3,10,100,1000")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=default_directory()) as place:
        found = []
        for size in simulate(arguments.sizes, Offered(), Path(place), SEED):
            found.append(size)
            sys.stderr.write(f"{size.nodes} nodes: {size.seconds:.0f} s\n")
    page = in_page(arguments.page.read_text(encoding="utf-8"), tables(found))
    arguments.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
