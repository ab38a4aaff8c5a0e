"""Reports and comparisons from results alone: the page is whole, the ratios are right."""

from __future__ import annotations

import html.parser
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchfs.bench.compare import Samples, compare
from benchfs.bench.detail import Json
from benchfs.bench.report.page import page, write
from benchfs.bench.report.plots import plots
from benchfs.bench.report.read import load, parse, samples
from benchfs.bench.scale import Work, parse_nodes
from tests.browser import BROWSER_SECONDS, look, needs_chromium, shows_plots

pytest.importorskip("matplotlib")


def phase(name: str, iteration: int = 0, unit: str = "MiB/s", value: float = 10.0) -> Json:
    return {
        "name": name,
        "iteration": iteration,
        "unit": unit,
        "value": value,
        "seconds": 2.0,
        "timeline": [[0.5, value], [1.5, value / 2]],
        "latency_s": {"p50": 0.001, "p90": 0.002, "p99": 0.01, "p99.9": 0.02, "max": 0.05},
        "cache": {"hits": 1, "misses": 2, "local_reads": 3},
        "nodes": [
            {
                "node": f"node-{i}", "chunk_bytes": (i + 1) << 20, "chunks": 1, "inodes": 1,
                "rss_bytes": 1, "cpu_s": 0.5 if i else None,
            }
            for i in range(2)
        ],
        "clients": [
            {"rank": i, "source": i, "amount": 9, "seconds": 2.0, "cpu_s": 0.1, "errors": 0}
            for i in range(2)
        ],
    }  # fmt: skip


def results(*phases: Json, **details: Json) -> dict[str, Json]:
    return {
        "Version": "0",
        "Began": "now",
        "Command line": "benchfs bench ior -o <file>",
        "Machine": "Linux h",
        "tests": [{"Parameters": {"transferSize": 7}}],
        "benchfs": {
            "benchmark": "ior",
            "failure": None,
            "errors": 0,
            "ranks": [{"rank": 0, "host": "h", "process": 1}],
            "surroundings": {"kernel": "6", "versions": {"benchfs": "0"}},
            "phases": list(phases),
            "failed": None,
            **details,
        },
    }


class Tags(html.parser.HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href"} and value and not value.startswith("#"):
                self.fetched.append(value)


@pytest.fixture(scope="module")
def shown() -> str:
    """A page with all there is: drawing it takes seconds."""
    return page(parse(results(phase("write"), phase("read"), phase("stat", unit="ops/s"))))


def test_a_page_has_every_plot_and_fetches_nothing(shown: str) -> None:
    tags = Tags(shown)

    assert re.findall("<h2>(.*?)</h2>", shown) == [
        "Results",
        "Bandwidth over time",
        "Operations over time",
        "Latency",
        "Balance of the nodes",
        "Balance of the clients",
        "Cache hit rates",
        "Processors in use",
        "The machine and the versions",
        "The clients",
        "Settings",
    ]
    drawn = re.findall("<svg.*?</svg>", shown, re.DOTALL)
    assert len(drawn) == tags.tags.count("svg") == 7
    for svg in drawn:
        assert ET.fromstring(svg).tag.endswith("svg")
    assert tags.fetched == []
    assert "script" not in tags.tags
    assert "&lt;file&gt;" in shown
    assert "transferSize" in shown


def test_the_same_results_give_the_same_page() -> None:
    document = parse(results(phase("write")))

    assert page(document) == page(document)


def test_what_is_incomplete_wrong_or_invalid_is_marked() -> None:
    made = results(failure="read: node-1 is lost", errors=3)

    shown = page(parse(made | {"valid": False}))

    assert shown.count('class="mark"') == 3
    assert "read: node-1 is lost" in shown
    assert "3 reads" in shown


def test_results_without_nodes_or_caches_have_no_plot_of_them() -> None:
    one = phase("write")
    assert isinstance(one, dict)
    one |= {"nodes": [], "cache": {"hits": None, "misses": None, "local_reads": None}}

    titles = [plot.title for plot in plots(parse(results(one)))]

    assert "Cache hit rates" not in titles
    assert "Balance of the nodes" not in titles


def test_a_run_that_measured_nothing_has_a_page_too(tmp_path: Path) -> None:
    path = write(tmp_path, results(failure="no cluster"))

    assert "no cluster" in path.read_text()


@needs_chromium
@pytest.mark.timeout(BROWSER_SECONDS + 30)
def test_a_browser_shows_the_plots_and_has_nothing_to_complain_about(
    shown: str, tmp_path: Path
) -> None:
    path, picture = tmp_path / "index.html", tmp_path / "page.png"
    path.write_text(shown)

    said = look(path, picture)

    assert "CONSOLE" not in said
    assert shows_plots(picture)


@needs_chromium
@pytest.mark.timeout(BROWSER_SECONDS + 30)
def test_what_a_browser_complains_about_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><script>missing()</script>")

    assert "missing is not defined" in look(page, tmp_path / "page.png")


# ---------------------------------------------------------------- comparing


def test_a_ratio_is_of_the_means_and_its_spread_of_the_extremes() -> None:
    found = compare([Samples("w", "MiB/s", (10, 20))], [Samples("w", "MiB/s", (30, 60))])

    [ratio] = found.ratios
    assert (ratio.first, ratio.second, ratio.ratio) == (15, 45, 3)
    assert (ratio.least, ratio.most) == (1.5, 6)
    assert ratio.differs


def test_runs_that_overlap_or_are_single_do_not_differ() -> None:
    overlapping = compare([Samples("w", "/s", (10, 20))], [Samples("w", "/s", (15, 40))])
    single = compare([Samples("w", "/s", (10,))], [Samples("w", "/s", (40,))])

    assert not overlapping.ratios[0].differs
    assert not single.ratios[0].differs


def test_phases_of_one_run_only_are_named() -> None:
    first = [Samples("w", "/s", (1,)), Samples("r", "/s", (1,))]
    second = [Samples("w", "/s", (1,)), Samples("w", "MiB/s", (1,))]

    found = compare(first, second)

    assert (found.only_first, found.only_second) == (["r"], ["w"])
    with pytest.raises(ValueError, match="no phase in common"):
        compare(first[1:], second)


def test_repetitions_of_a_phase_are_its_samples() -> None:
    document = parse(results(phase("write", 0, value=1.0), phase("write", 1, value=3.0)))

    assert samples(document) == [Samples("write", "MiB/s", (1.0, 3.0))]


def test_the_command_compares_files(tmp_path: Path) -> None:
    for name, value in (("a", 10.0), ("b", 5.0)):
        (tmp_path / name).write_text(json.dumps(results(phase("write", value=value))))
    command = [sys.executable, "-m", "benchfs.cli.main", "bench", "compare"]

    def run(*names: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *names], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done, wrong = run("a", "b"), run("a", "missing")

    assert done.returncode == 0, done.stderr
    assert "0.500" in done.stdout
    assert wrong.returncode == 1
    assert "missing" in wrong.stderr


@pytest.mark.parametrize("text", ["{}", "[]", "nothing", '{"Version": 1}'])
def test_a_file_that_holds_no_results_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"a\.json"):
        load(path)


# ---------------------------------------------------------------- sizes of clusters


def test_sizes_of_clusters_are_numbers_with_commas() -> None:
    assert parse_nodes("1,2, 8") == [1, 2, 8]
    for wrong in ("", "0", "1,,2", "-1", "x", "1000000"):
        with pytest.raises(ValueError, match="--nodes"):
            parse_nodes(wrong)


@pytest.mark.parametrize("wrong", [{"block": 5}, {"tasks": 0}, {"items": 0}, {"repetitions": 0}])
def test_impossible_work_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Work(**wrong)
