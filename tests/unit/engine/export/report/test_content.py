"""A report rounds, counts and shortens what it reads from the files of an export."""

import json
from pathlib import Path

import pytest

from batchscope.engine.export.export_reader import Exported, Range, Values, rounded
from batchscope.engine.export.report.claim_values import claim_values
from batchscope.engine.export.report.content import LONGEST_REMARK, shortened, tally
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.decisions import Word
from batchscope.engine.findings.findings import document
from tests.unit.engine.findings_fixtures import Ended, comparison, configuration, sweep


def verdicts(*words: Word, provisional: bool = False) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(statement="s", measure="m", verdict=word, provisional=provisional) for word in words
    )


@pytest.mark.parametrize(
    ("value", "style", "shown"),
    [
        (0.98765, "percent", "98.77"),
        (-0.0009, "percent", "−0.09"),
        (12345.6, "count", "12,346"),
        (1572864.0, "bytes", "1.50 MiB"),
        (3.0, "level", "3"),
        (0.01554, "number", "0.0155"),
        (-0.01554, "number", "−0.0155"),
        (123456.0, "number", "1.2e5"),
        (-0.0454, "signed 100.0", "−4.54"),
        (0.0454, "signed 100.0", "+4.54"),
        (0.0, "signed 1.0", "0.00"),
        (0.0454, "times 1000.0", "45.4"),
        (-12345.6, "times 1.0", "−12,346"),
        (-11604.6, "signed 1.0", "−11,605"),
        (3e8, "signed 1.0", "+3.0e8"),
    ],
)
def test_numbers_are_rounded_by_one_rule(value: float, style: str, shown: str) -> None:
    assert rounded(value, style) == shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), ""),
        (("supported",), "The claim is supported."),
        (("contradicted", "contradicted"), "Both claims are contradicted."),
        (("supported",) * 3, "All 3 claims are supported."),
        (
            ("undetermined", "supported", "supported"),
            "Of 3 claims, 2 are supported and 1 is undetermined.",
        ),
        (
            ("undetermined", "contradicted", "supported", "contradicted"),
            "Of 4 claims, 1 is supported, 2 are contradicted and 1 is undetermined.",
        ),
    ],
)
def test_verdicts_are_counted_in_a_sentence(words: tuple[Word, ...], told: str) -> None:
    assert tally(verdicts(*words)) == told


def test_what_may_still_change_is_so_far() -> None:
    assert tally(verdicts("supported", provisional=True)) == "So far, the claim is supported."
    both = verdicts("supported", "undetermined", provisional=True)
    assert tally(both) == "So far, of 2 claims, 1 is supported and 1 is undetermined."


def test_numbers_say_where_they_are_from(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("trial,lr,steps\na,0.1,\nb,0.30000000000000004,7\n")
    mean = {"mean": 0.5, "low": 0.25, "high": None, "n": 3}
    (tmp_path / "findings.json").write_text(json.dumps({"found": [{"gap": mean, "none": None}]}))
    of = Exported(tmp_path)
    assert of.cell("trials.csv", 1, "lr") == ("0.300", "0.30000000000000004", "trials.csv#1/lr")
    assert of.cell("trials.csv", 0, "steps") is None
    assert of.rows("of another preset.csv") == []
    found = of.mean("found", 0, "gap", style="percent")
    assert isinstance(found, Range)
    assert found.mean == ("50.00", "0.5", "findings.json#found/0/gap/mean")
    assert found.high is None
    assert of.mean("found", 0, "none") is None
    assert of.mean("found", 0, "not there") is None


def test_a_remark_that_names_hundreds_is_cut_at_a_word() -> None:
    assert shortened("a remark") == "a remark"
    cut = shortened("configuration " * 100)
    assert len(cut) < LONGEST_REMARK + 50
    assert cut.endswith("configuration … (the rest is in findings.json)")


def test_the_values_behind_a_claim_name_seeds_bounds_and_places(tmp_path: Path) -> None:
    aims = [configuration(size, seeds=3, target_accuracy=0.85) for size in (8, 64)]
    ends: list[list[float | Ended]] = [
        [0.9, 0.8, 0.9],
        [0.9, 0.9, Ended(status="diverged")],
    ]
    pairs = list(zip(aims, ends, strict=True))
    state = sweep(pairs, comparison("less", measure="steps_to_target"))
    (tmp_path / "findings.json").write_text(json.dumps(document(state)))
    found = claim_values(Exported(tmp_path))
    (statement, *_), (blank, name, _, values, missing) = found.rows
    assert (statement, blank, name) == ("8 is less to 64", "", "64")
    assert missing == "diverged or failed: seed 2"
    assert isinstance(values, Values)
    assert [(mark, each.at) for mark, each in values.numbers] == [
        ("", f"findings.json#claims/0/sides/1/values/{seed}") for seed in range(2)
    ]
    first = found.rows[0][3]
    assert isinstance(first, Values)
    assert [mark for mark, _ in first.numbers] == ["", ">", ""]
    assert first.numbers[1][1].at == "findings.json#claims/0/sides/0/above/1"
