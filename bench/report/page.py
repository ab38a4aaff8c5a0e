"""The page: results, plots, and what one needs to judge and to repeat the run. One file."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchfs.bench.report.plots import label, plots
from benchfs.bench.report.read import Document, parse

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse } th, td { padding: .15rem 1rem .15rem 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid #ddd } td.n, th.n { text-align: right }
code, pre { font: 13px/1.4 ui-monospace, monospace } pre { white-space: pre-wrap }
svg { width: 100%; height: auto } p.note { color: #666 }
p.mark { background: #fbe3d6; border-left: 4px solid #d55e00; padding: .6rem 1rem }
"""


def write(directory: Path, document: Mapping[str, object]) -> Path:
    """Write index.html for these results; its path. OSError, ModuleNotFoundError."""
    path = directory / "index.html"
    path.write_text(page(parse(document)), encoding="utf-8")
    return path


def page(document: Document) -> str:
    """The whole page. ModuleNotFoundError without matplotlib."""
    title = html.escape(f"{document.details.benchmark} on {document.machine}, {document.began}")
    parts = [
        f"<h1>{title}</h1>",
        *_marks(document),
        f"<pre>{html.escape(document.command)}</pre>",
        "<h2>Results</h2>",
        _results(document),
    ]
    for plot in plots(document):
        parts += [
            f"<h2>{html.escape(plot.title)}</h2>",
            f'<p class="note">{html.escape(plot.text)}</p>',
        ]
        parts.append(plot.svg)
    parts += ["<h2>The machine and the versions</h2>", _table(document.details.surroundings)]
    parts += ["<h2>The clients</h2>", _ranks(document), "<h2>Settings</h2>"]
    settings = dict(document.settings)
    for test in document.tests:
        found = test.get("Parameters")
        settings |= found if isinstance(found, Mapping) else {}
    parts.append(_table(settings))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _marks(document: Document) -> Iterable[str]:
    """What must be known before the figures are read."""
    details = document.details
    if details.failure:
        text = f"Incomplete: the run ended early. {details.failure}"
        yield f'<p class="mark">{html.escape(text)}</p>'
    if details.errors:
        text = f"{details.errors} reads returned other bytes than were written."
        yield f'<p class="mark">{html.escape(text)}</p>'
    if document.valid is False:
        yield '<p class="mark">Invalid by the rules of IO500.</p>'
    if document.score is not None:
        names = (("total", ""), ("bandwidth", "GiB/s"), ("metadata", "kIOPS"))
        shown = ", ".join(
            f"{name} {document.score[name]:.3f} {unit}".strip() for name, unit in names
        )
        yield f"<p><strong>Score: {html.escape(shown)}</strong></p>"


def _results(document: Document) -> str:
    phases = document.details.phases
    rows = [
        (
            label(phase, phases),
            f"{phase.value:,.1f} {phase.unit}",
            f"{phase.seconds:.3f} s",
            f"{phase.latency_s['p50'] * 1e3:.3f} ms" if phase.latency_s else "",
            f"{phase.latency_s['p99'] * 1e3:.3f} ms" if phase.latency_s else "",
        )
        for phase in phases
    ]
    return _rows(("phase", "result", "time", "p50", "p99"), rows)


def _ranks(document: Document) -> str:
    rows = [(str(one.rank), one.host, str(one.process)) for one in document.details.ranks]
    return _rows(("rank", "host", "process"), rows)


def _rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        first, *others = map(html.escape, cells)
        numbers = "".join(f'<{tag} class="n">{cell}</{tag}>' for cell in others)
        return f"<tr><{tag}>{first}</{tag}>{numbers}</tr>"

    return f"<table>{line(titles, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _table(values: Mapping[str, object]) -> str:
    lines = []
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        lines.append(
            f"<tr><th>{html.escape(name)}</th><td><code>{html.escape(shown)}</code></td></tr>"
        )
    return f"<table>{''.join(lines)}</table>"
