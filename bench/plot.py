"""Plots of measured calls, as PNG. Needs matplotlib, which is imported only here and only then."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchfs.bench.rpc import FLOOR, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = 3.2  # width and height of one panel
STYLES = {"tcp": "-", "unix": "--"}
MARKERS = {"tcp": "o", "unix": "s"}


class NoPlotsError(Exception):
    """matplotlib is missing; the text says what to do."""


def require() -> None:
    """Raise NoPlotsError unless plots can be drawn."""
    try:
        importlib.import_module("matplotlib")
    except ImportError as exc:
        text = f"plots need matplotlib ({exc}): pip install 'benchfs[bench]'"
        raise NoPlotsError(text) from None


def save(results: Sequence[Result], file: Path) -> None:
    """Draw rate and median latency over calls in flight, a column for each payload.

    The floor is a dot at one call in flight. Raises NoPlotsError, OSError.
    """
    require()
    from matplotlib.figure import Figure  # noqa: PLC0415 (an optional package)

    sizes = sorted({result.case.size for result in results})
    figure = Figure(figsize=(INCHES * len(sizes), 2 * INCHES), layout="constrained")
    panels = figure.subplots(2, len(sizes), squeeze=False)
    for column, size in enumerate(sizes):
        of_size = [result for result in results if result.case.size == size]
        rates, latencies = panels[0][column], panels[1][column]
        rates.set_title(f"payload {size:,} B")
        _draw(rates, of_size, [result.calls_s for result in of_size])
        _draw(latencies, of_size, [result.p50_us for result in of_size])
        latencies.set_xlabel("calls in flight")
    panels[0][0].set_ylabel("calls/s")
    panels[1][0].set_ylabel("median latency, µs")
    panels[0][0].legend(fontsize="small")
    figure.savefig(file, format="png", dpi=120)


def _draw(panel: Axes, results: Sequence[Result], values: Sequence[float]) -> None:
    """One line for each transport and scheme."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for result, value in zip(results, values, strict=True):
        case = result.case
        lines.setdefault((case.transport, case.scheme), []).append((case.depth, value))
    colours = {name: f"C{number}" for number, name in enumerate(sorted({key[0] for key in lines}))}
    for (transport, scheme), points in lines.items():
        depths, heights = zip(*points, strict=True)
        panel.plot(
            depths,
            heights,
            linestyle="" if transport == FLOOR else STYLES[scheme],
            color=colours[transport],
            marker=MARKERS[scheme],
            label=f"{transport}, {scheme}",
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    ticks = sorted({result.case.depth for result in results})
    panel.set_xticks(ticks, [str(depth) for depth in ticks])
    panel.set_xticks([], minor=True)
    panel.grid(visible=True, alpha=0.3)
