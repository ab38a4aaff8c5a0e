"""Plots of a run as SVG, by matplotlib, which is imported when the first one is drawn.

Text stays text, nothing is fetched, and the same results give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchfs.bench.report.read import Document, Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIB = 1 << 20
WIDTH_INCHES = 9.0
ROW_INCHES = 0.32
# Okabe and Ito: told apart with any colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
STYLES = ("-", "--", ":")

Draw = Callable[["Axes"], None]


class Plot(NamedTuple):
    """A title, what one sees, and the picture: an svg element."""

    title: str
    text: str
    svg: str


def plots(document: Document) -> list[Plot]:
    """All plots that the results have figures for. ModuleNotFoundError without matplotlib."""
    phases = [phase for phase in document.details.phases if phase.clients]
    found = [*_over_time(phases), *_latencies(phases), *_balance(phases)]
    return [*found, *_caches(phases), *_processors(phases)]


def _svg(name: str, rows: float, draw: Draw) -> str:
    """Draw on one pair of axes, `rows` lines high."""
    import matplotlib as mpl  # noqa: PLC0415 (optional, and slow to import)
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}):
        figure = Figure(figsize=(WIDTH_INCHES, 1.0 + rows * ROW_INCHES), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def label(phase: Phase, phases: Sequence[Phase]) -> str:
    """A phase's name, with its iteration if there are several."""
    several = any(one.iteration for one in phases)
    return f"{phase.name} {phase.iteration}" if several else phase.name


def _over_time(phases: Sequence[Phase]) -> list[Plot]:
    found = []
    for unit in dict.fromkeys(phase.unit for phase in phases):
        chosen = [phase for phase in phases if phase.unit == unit and len(phase.timeline) > 1]
        if not chosen:
            continue

        def draw(axes: Axes, unit: str = unit, chosen: Sequence[Phase] = chosen) -> None:
            for i, phase in enumerate(chosen):
                colour, style = COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]
                at, rate = zip(*phase.timeline, strict=True)
                axes.plot(at, rate, style, color=colour, label=label(phase, chosen), linewidth=1.3)
            axes.set_xlabel("seconds since the phase began")
            axes.set_ylabel(unit)
            if unit == "MiB/s":
                axes.set_ylim(bottom=0)
            else:
                axes.set_yscale("log")  # rates of metadata differ by powers of ten
            axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

        title = "Bandwidth over time" if unit == "MiB/s" else "Operations over time"
        text = "All clients together. What falls off at the end is the clients that are done first."
        found.append(Plot(title, text, _svg(f"time {unit}", max(7, len(chosen) * 0.7), draw)))
    return found


def _latencies(phases: Sequence[Phase]) -> list[Plot]:
    chosen = [phase for phase in phases if phase.latency_s]
    if not chosen:
        return []

    def draw(axes: Axes) -> None:
        names = [label(phase, chosen) for phase in chosen]
        for i, quantile in enumerate(chosen[0].latency_s):
            values = [phase.latency_s[quantile] * 1e3 for phase in chosen]
            axes.plot(values, range(len(names)), "o", color=COLOURS[i], label=quantile)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds, one operation")
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.legend(frameon=False, ncols=5, loc="lower left", bbox_to_anchor=(0, 1.0))

    text = "How long single transfers or operations took, as a client sees it; to 9 %."
    return [Plot("Latency", text, _svg("latency", len(chosen), draw))]


def _balance(phases: Sequence[Phase]) -> list[Plot]:
    """What the nodes hold when they hold most, and what each client moved."""
    with_nodes = [phase for phase in phases if phase.nodes]
    found = []
    if with_nodes:
        fullest = max(with_nodes, key=lambda one: sum(node.chunk_bytes for node in one.nodes))
        names = [node.node for node in fullest.nodes]
        bytes_of = [node.chunk_bytes / MIB for node in fullest.nodes]
        if any(bytes_of):
            text = f"Chunks on each node after {label(fullest, phases)}; the line is the mean."
            svg = _svg("nodes", len(names), lambda axes: _bars(axes, names, bytes_of, "MiB"))
            found.append(Plot("Balance of the nodes", text, svg))
    slowest = max(phases, key=lambda one: one.seconds, default=None)
    if slowest is not None and len(slowest.clients) > 1:
        ranks = [f"rank {client.rank}" for client in slowest.clients]
        scale, unit = (MIB, "MiB/s") if slowest.unit == "MiB/s" else (1, slowest.unit)
        rates = [one.amount / scale / one.seconds if one.seconds else 0 for one in slowest.clients]
        text = f"What each client reached in {label(slowest, phases)}; the line is the mean."
        svg = _svg("clients", len(ranks), lambda axes: _bars(axes, ranks, rates, unit))
        found.append(Plot("Balance of the clients", text, svg))
    return found


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], unit: str) -> None:
    axes.barh(range(len(names)), values, color=COLOURS[0], height=0.65)
    axes.axvline(sum(values) / len(values), color=COLOURS[1], linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(unit)


def _stacked(
    axes: Axes, names: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str
) -> None:
    left = [0.0] * len(names)
    for (name, values), colour in zip(parts.items(), COLOURS, strict=False):
        axes.barh(range(len(names)), values, left=left, label=name, color=colour, height=0.65)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0))


def _caches(phases: Sequence[Phase]) -> list[Plot]:
    def counts(phase: Phase) -> list[int]:
        cache = phase.cache
        return [cache.hits or 0, cache.local_reads or 0, cache.misses or 0]

    chosen = [phase for phase in phases if any(counts(phase))]
    if not chosen:
        return []
    names = [label(phase, phases) for phase in chosen]
    shares = [[100 * part / sum(counts(one)) for part in counts(one)] for one in chosen]
    titles = ("from the cache", "from a chunk of this host", "asked of a node")
    parts = {title: [one[i] for one in shares] for i, title in enumerate(titles)}
    text = "Where the clients found what they read."
    svg = _svg("caches", len(chosen), lambda axes: _stacked(axes, names, parts, "% of look-ups"))
    return [Plot("Cache hit rates", text, svg)]


def _processors(phases: Sequence[Phase]) -> list[Plot]:
    if not phases:
        return []
    names = [label(phase, phases) for phase in phases]
    clients = [sum(one.cpu_s for one in p.clients) / max(p.seconds, 1e-9) for p in phases]
    parts: dict[str, Sequence[float]] = {"clients": clients}
    known = [node.cpu_s is not None for phase in phases for node in phase.nodes]
    if any(known):
        parts["daemons"] = [
            sum(node.cpu_s or 0 for node in p.nodes) / max(p.seconds, 1e-9) for p in phases
        ]
    text = "Processor time a second, of all clients"
    text += " and of the daemons on the host of rank 0." if any(known) else "."
    svg = _svg("processors", len(phases), lambda axes: _stacked(axes, names, parts, "processors"))
    return [Plot("Processors in use", text, svg)]
