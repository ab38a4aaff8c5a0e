"""IO500 without a file system: the phases' order and parameters, the score, the rules."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.bench.io500.run import Outcome
from benchfs.bench.io500.score import PHASES, SCORED, TIMESTAMP, Result, score
from benchfs.bench.io500.settings import Settings, quick
from benchfs.bench.io500.text import document, result_text, text

# What IO500 prints, after its documentation; figures are made up.
EXAMPLE = """\
[RESULT]       ior-easy-write        2.000000 GiB/s : time 300.500 seconds
[RESULT]    mdtest-easy-write        9.000000 kIOPS : time 300.500 seconds
[      ]            timestamp        0.000000 kIOPS : time 0.500 seconds
[RESULT]       ior-hard-write        2.000000 GiB/s : time 300.500 seconds
[RESULT]    mdtest-hard-write        9.000000 kIOPS : time 299.500 seconds [INVALID]
[RESULT]                 find        9.000000 kIOPS : time 0.500 seconds
[RESULT]        ior-easy-read        2.000000 GiB/s : time 0.500 seconds
[RESULT]     mdtest-easy-stat        9.000000 kIOPS : time 0.500 seconds
[RESULT]        ior-hard-read        2.000000 GiB/s : time 0.500 seconds
[RESULT]     mdtest-hard-stat        9.000000 kIOPS : time 0.500 seconds
[RESULT]   mdtest-easy-delete        9.000000 kIOPS : time 0.500 seconds
[RESULT]     mdtest-hard-read        9.000000 kIOPS : time 0.500 seconds
[RESULT]   mdtest-hard-delete        9.000000 kIOPS : time 0.500 seconds
[SCORE ] Bandwidth 2.000000 GiB/s : IOPS 9.000000 kiops : TOTAL 4.242641 [INVALID]
"""


def outcome(**seconds: float) -> Outcome:
    results = []
    for name in PHASES:
        value = 0.0 if name == TIMESTAMP else 2.0 if name.startswith("ior") else 9.0
        usual = 300.5 if name.endswith("-write") else 0.5
        taken = seconds.get(name.replace("-", "_"), usual)
        results.append(Result(name, value, taken, 0, None))
    return Outcome(Settings(), "posix", ["h"], [1], 0.0, 1.0, results)


def test_the_summary_is_io500s_to_the_letter() -> None:
    lines = list(text(outcome(mdtest_hard_write=299.5), "0"))

    assert "\n".join(lines[1:]) + "\n" == EXAMPLE


def test_a_run_that_keeps_the_rules_is_valid() -> None:
    lines = list(text(outcome(), "0"))

    assert not any("INVALID" in line for line in lines)
    assert document(outcome(), "0", [], "", {})["valid"] is True


def test_reads_with_other_bytes_make_a_run_invalid() -> None:
    found = outcome()
    wrong = found.results[7]
    found.results[7] = Result(wrong.name, wrong.score, wrong.seconds, 1, None)

    assert list(text(found, "0"))[-1].endswith("[INVALID]")
    assert "1 reads" in str(document(found, "0", [], "", {})["invalid"])


def test_a_run_that_ended_early_has_results_and_no_score() -> None:
    found = outcome()
    found.results, found.failure = found.results[:4], "mdtest-hard-write: rank 1: no space"

    lines = list(text(found, "0"))
    made = document(found, "0", [], "", {})

    assert len(lines) == 6
    assert lines[-1] == "INCOMPLETE: mdtest-hard-write: rank 1: no space"
    assert made["score"] is None
    assert made["valid"] is False
    assert any("INCOMPLETE" in line for line in result_text(found, "0", []))


@given(st.lists(st.floats(1e-6, 1e6), min_size=12, max_size=12))
def test_the_score_is_the_root_of_the_product_of_two_geometric_means(values: list[float]) -> None:
    found = [Result(name, value, 1, 0, None) for name, value in zip(SCORED, values, strict=True)]

    total = score(found)

    bandwidth, metadata = 1.0, 1.0
    for one in found:
        if one.name.startswith("ior"):
            bandwidth *= one.score ** (1 / 4)
        else:
            metadata *= one.score ** (1 / 8)
    assert total.bandwidth == pytest.approx(bandwidth)
    assert total.metadata == pytest.approx(metadata)
    assert total.total == pytest.approx((bandwidth * metadata) ** 0.5)


def test_there_is_no_score_with_a_phase_missing_or_without_one() -> None:
    with pytest.raises(ValueError, match="find"):
        score([one for one in outcome().results if one.name != "find"])
    results = outcome().results
    results[0] = Result(results[0].name, 0.0, 300, 0, None)
    with pytest.raises(ValueError, match="ior-easy-write"):
        score(results)


def test_twelve_phases_count() -> None:
    assert len(SCORED) == 12
    assert sum(name.startswith("ior") for name in SCORED) == 4


def test_parameters_are_those_of_the_rules() -> None:
    easy, hard = (Settings().ior(one, 1, read=False) for one in ("easy", "hard"))
    few, many = (Settings().mdtest(one, create=True) for one in ("easy", "hard"))

    assert (easy.transfer, easy.block, easy.file_per_process) == (2 << 20, 9_920_000 << 20, True)
    assert (hard.transfer, hard.block, hard.segments) == (47_008, 47_008, 10_000_000)
    assert not hard.file_per_process
    for one in (easy, hard):
        assert (one.reorder, one.task_offset, one.barriers, one.fsync) == (True, 1, True, True)
    assert (few.unique_directory, few.leaves_only, few.write_bytes, few.stride) == (
        True,
        True,
        0,
        1,
    )
    assert (many.unique_directory, many.write_bytes, many.read_bytes) == (False, 3901, 3901)
    assert Settings().stonewall == 300


def test_a_quick_run_has_the_same_transfers_and_file_sizes() -> None:
    settings = quick("/d", sync=False)

    assert settings.ior("hard", 1).transfer == 47_008
    assert settings.mdtest("hard", create=True).write_bytes == 3901
    assert settings.stonewall < 60


@pytest.mark.parametrize("wrong", [{"stonewall": 0}, {"directory": "/"}, {"hard_items": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Settings(**wrong)


def test_the_document_is_valid_json() -> None:
    made = json.loads(json.dumps(document(outcome(), "0", [], "", {}), allow_nan=False))

    assert [one["name"] for one in made["results"]] == list(PHASES)
    assert made["score"]["total"] == pytest.approx(18**0.5)
