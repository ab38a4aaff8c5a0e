"""mdtest without a file system: its flags, its names, its table."""

from __future__ import annotations

import json

import pytest

from benchfs.bench.mdtest import phase
from benchfs.bench.mdtest.document import document
from benchfs.bench.mdtest.phase import Part
from benchfs.bench.mdtest.result import FILE_ROWS, TREE_ROWS, Outcome, Phase
from benchfs.bench.mdtest.run import operations
from benchfs.bench.mdtest.settings import Settings
from benchfs.bench.mdtest.text import text
from benchfs.bench.mdtest.tree import Tree

# What mdtest prints for two tasks, after its documentation; figures are made up.
EXAMPLE = """\
SUMMARY rate (in ops/sec): (of 2 iterations)
   Operation                     Max            Min           Mean        Std Dev
   ---------                     ---            ---           ----        -------
   File creation                 400.000        200.000        300.000        100.000
   File stat                    4000.000       2000.000       3000.000       1000.000
   File read                       0.000          0.000          0.000          0.000
   File removal                    0.000          0.000          0.000          0.000
   Tree creation                   0.000          0.000          0.000          0.000
   Tree removal                    0.000          0.000          0.000          0.000
"""


def measured(operation: str, iteration: int, seconds: float) -> Phase:
    parts = [Part(rank, rank, 100, seconds / (rank + 1)) for rank in range(2)]
    return Phase(operation, iteration=iteration, parts=parts, nodes=[])


def outcome() -> Outcome:
    settings = Settings(items=100, files_only=True, iterations=2)
    found = [measured(phase.FILE_CREATION, 0, 1.0), measured(phase.FILE_STAT, 0, 0.1)]
    found += [measured(phase.FILE_CREATION, 1, 0.5), measured(phase.FILE_STAT, 1, 0.05)]
    return Outcome(settings, "posix", ["a", "b"], [1, 2], 0.0, ended=1.0, phases=found, items=100)


def test_the_table_is_mdtests_to_the_letter() -> None:
    lines = list(text(outcome(), "0", ["benchfs"]))

    begin = next(i for i, line in enumerate(lines) if line.startswith("SUMMARY"))
    assert "\n".join(lines[begin:-1]) + "\n" == EXAMPLE
    assert "Nodemap: 10" in lines
    assert "2 tasks, 200 files" in lines


def test_the_json_document_has_the_same_figures() -> None:
    found = json.loads(json.dumps(document(outcome(), "0", [], "", {}), allow_nan=False))

    assert [row["operation"] for row in found["summary"]] == [phase.FILE_CREATION, phase.FILE_STAT]
    assert found["summary"][0] == {
        "operation": phase.FILE_CREATION,
        "max": 400.0,
        "min": 200.0,
        "mean": 300.0,
        "stddev": 100.0,
        "iterations": [200.0, 400.0],
    }


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({}, "-n"),
        ({"items": -1}, "-n"),
        ({"items": 10, "depth": -1}, "-z"),
        ({"items": 10, "branches": 0}, "-b"),
        ({"items": 10, "iterations": 0}, "-i"),
        ({"items": 10, "branches": 10, "depth": 9}, "directories"),
        ({"items": 10, "branches": 2, "depth": 1 << 40}, "directories"),
        ({"items": 10, "items_per_directory": 3}, "-n 10"),
        ({"items": 10, "deadline": -1}, "-W"),
        ({"items": 10, "stride": -1}, "-N"),
        ({"items": 10, "write_bytes": 1 << 40}, "-w"),
        ({"items": 10, "read_bytes": 5}, "-e 5"),
        ({"items": 10, "verify": True}, "-X"),
        ({"items": 10, "files_only": True, "directories_only": True}, "-F and -D"),
        ({"items": 10, "status_file": "x"}, "-W"),
        ({"items": 10, "directory": "/"}, "-d"),
        ({"items": 10, "create": False, "stat": False, "read": False, "remove": False}, "nothing"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_flag(
    wrong: dict[str, int], names: str
) -> None:
    with pytest.raises(ValueError, match=names):
        Settings(**wrong)


def test_a_tree_has_its_directories_each_after_the_one_it_is_in() -> None:
    settings = Settings(items=1, depth=2, branches=2, unique_directory=True, directory="/d")

    found = list(Tree(settings, 0).directories(3))

    base = "/d/test-dir.0-0/mdtest_tree.3"
    assert found == [
        base,
        f"{base}/mdtest_tree.3.1",
        f"{base}/mdtest_tree.3.2",
        f"{base}/mdtest_tree.3.1/mdtest_tree.3.3",
        f"{base}/mdtest_tree.3.1/mdtest_tree.3.4",
        f"{base}/mdtest_tree.3.2/mdtest_tree.3.5",
        f"{base}/mdtest_tree.3.2/mdtest_tree.3.6",
    ]
    assert len(found) == settings.directories


def test_items_are_spread_evenly_over_all_directories_or_over_the_leaves() -> None:
    everywhere = Settings(items=14, depth=2, branches=2)
    leaves = Settings(items=14, depth=2, branches=2, leaves_only=True)

    for settings, holders, least in ((everywhere, 7, 2), (leaves, 4, 3)):
        paths = [path for _, path in Tree(settings, 0).items(0, "file", 0, settings.total)]
        assert len(set(paths)) == 14
        folders = [path.rpartition("/")[0] for path in paths]
        counts = [folders.count(folder) for folder in set(folders)]
        assert len(counts) == holders
        assert least <= min(counts) <= max(counts) <= least + 1
    assert all(path.count("mdtest_tree") == 3 for path in paths)


def test_tasks_share_a_tree_or_have_their_own_and_never_an_item() -> None:
    for unique in (False, True):
        settings = Settings(items=5, unique_directory=unique)
        tree = Tree(settings, 0)

        found = [path for rank in range(3) for _, path in tree.items(rank, "file", 0, 5)]

        assert len(set(found)) == 15
        assert len({path.rpartition("/")[0] for path in found}) == (3 if unique else 1)


def test_items_per_directory_fill_a_tree_and_more_items_make_more_trees() -> None:
    one = Settings(items_per_directory=10, depth=1, branches=2)
    three = Settings(items=30, items_per_directory=10)

    assert (one.total, one.trees) == (30, 1)
    assert (three.total, three.trees) == (30, 3)
    assert len(set(Tree(three, 0).bases())) == 3


def test_phases_come_in_mdtests_order() -> None:
    assert list(operations(Settings(items=1, files_only=True))) == [
        TREE_ROWS[0], *FILE_ROWS, TREE_ROWS[1],
    ]  # fmt: skip
    assert list(operations(Settings(items=1, create=False, read=False, remove=False))) == [
        phase.DIRECTORY_STAT,
        phase.FILE_STAT,
    ]
