"""A look at pages in a real browser, for the tests of every folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

XDG = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
PLOT_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))
LEAST_POINTS = 100
BROWSER_SECONDS = 150  # it starts a dozen processes: seconds, and many on a busy machine
needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None,
    reason="NOT TESTED: a report in a browser needs chromium (Debian: chromium)",
)


def look(page: Path, picture: Path) -> str:
    """Have a browser draw a page into a picture; what it said, its console included."""
    home = picture.parent
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--user-data-dir={home / 'profile'}", "--window-size=1000,3500"),
            *(f"--screenshot={picture}", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=BROWSER_SECONDS,
        check=False,
        env=os.environ | {name: str(home) for name in ("HOME", *XDG)},
    )
    assert picture.exists(), done.stderr
    return done.stderr


def shows_plots(picture: Path) -> bool:
    """Whether the lines, bars and dots of plots are in a picture."""
    image = pytest.importorskip("PIL.Image").open(picture).convert("RGB")
    points = {colour: count for count, colour in image.getcolors(maxcolors=1 << 24)}
    return all(points.get(colour, 0) > LEAST_POINTS for colour in PLOT_COLOURS)
