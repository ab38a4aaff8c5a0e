"""`benchfs bench io500` on a real cluster, as short as it can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import benchfs
from benchfs.bench.backends.choose import Target
from benchfs.bench.io500 import __main__ as one_liner
from benchfs.bench.io500.run import Outcome, run
from benchfs.bench.io500.score import PHASES, TIMESTAMP
from benchfs.bench.io500.settings import Settings
from benchfs.cli import bench
from tests.browser import BROWSER_SECONDS, look, needs_chromium, shows_plots


def short(directory: str, *, sync: bool = False) -> Settings:
    return Settings(
        directory=directory,
        stonewall=30,  # the counts below are reached long before
        easy_block=4 << 20,
        hard_segments=20,
        easy_items=30,
        hard_items=220,
        sync=sync,
    )


def measured(target: Target, settings: Settings) -> Outcome:
    found = run(target, settings, 2)
    assert found is not None
    return found


@pytest.mark.parametrize("backend", ["benchfs", "posix"])
def test_all_phases_run_in_their_order_and_leave_nothing(
    cluster: benchfs.LocalCluster, tmp_path: Path, backend: str
) -> None:
    directory = str(tmp_path / "io500") if backend == "posix" else "/io500"

    found = measured(Target(backend, cluster.url), short(directory, sync=backend == "posix"))

    assert not found.failure
    assert [one.name for one in found.results] == list(PHASES)
    assert all(one.score > 0 and one.errors == 0 for one in found.results if one.detail)
    with benchfs.Client(cluster.url) as fs:
        assert fs.listdir("/") == []
    assert list(tmp_path.iterdir()) == []


def test_find_sees_every_entry_and_the_hard_files_with_01_in_their_name(
    cluster: benchfs.LocalCluster,
) -> None:
    found = measured(Target("benchfs", cluster.url), short("/io500"))

    names = [f"file.mdtest.{rank}.{item}" for rank in range(2) for item in range(220)]
    assert found.found == sum("01" in name for name in names) > 0
    detail = next(one.detail for one in found.results if one.name == "find")
    assert detail is not None
    clients = detail["clients"]
    assert isinstance(clients, list)
    directories = 4 + 2 + 1 + 1 + 1  # at the top, easy and hard test directories and trees
    files = 2 * 30 + 2 * 220 + 2 + 1 + 1  # of mdtest, of IOR, the timestamp
    seen = [client["amount"] for client in clients if isinstance(client, dict)]
    assert sum(amount for amount in seen if isinstance(amount, int)) == directories + files


@needs_chromium
@pytest.mark.timeout(BROWSER_SECONDS + 60)
def test_the_report_of_the_run_on_three_nodes_is_shown_by_a_browser_without_complaints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    report = tmp_path / "report"
    monkeypatch.setattr(one_liner, "quick", short)
    monkeypatch.setattr("sys.argv", ["io500", "--report", str(report)])

    one_liner.main()
    said = look(report / "index.html", tmp_path / "page.png")

    assert "[SCORE ]" in capsys.readouterr().out
    assert "CONSOLE" not in said
    assert shows_plots(tmp_path / "page.png")
    shown = (report / "index.html").read_text()
    assert "python -m benchfs.bench.io500 --report" in shown
    assert all(name in shown for name in PHASES if name != TIMESTAMP)


def test_a_directory_that_is_there_is_left_alone(cluster: benchfs.LocalCluster) -> None:
    with benchfs.Client(cluster.url) as fs:
        fs.mkdir("/mine")
        with pytest.raises(OSError, match="/mine"):
            run(Target("benchfs", cluster.url), short("/mine"), 2)
        assert fs.exists("/mine")
        fs.rmdir("/mine")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--stonewall", "0"), "--stonewall 0"),
        (("-d", "/"), "directory"),
        (("-a", "tape"), "tape"),
        (("--no-such-flag",), "no-such-flag"),
    ],
)
def test_bad_flags_are_wrong_usage_and_named(flags: tuple[str, ...], says: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(bench.app, ["io500", *flags])

    assert done.exit_code == 2
    assert says in done.output
