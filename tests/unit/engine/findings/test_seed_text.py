"""The values behind a verdict, seed by seed, with those that are missing."""

from msgspec.structs import replace

from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.seed_text import seed_lines
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    sweep,
    verdict,
)


def texts(of: Verdict) -> list[str]:
    return [line.text for line in seed_lines(of)]


def test_accuracies_are_in_percent_and_lost_trials_are_named() -> None:
    ends: list[float | Ended] = [0.95, 0.1, Ended(status="diverged"), 0.9612]
    state = sweep(
        [(configuration(8, seeds=4), ends), (configuration(64), [0.9, 0.91, 0.92])],
        comparison("greater"),
    )
    assert texts(verdict(state)) == [
        "8: 95.00 10.00 96.12 %; diverged or failed: seed 2",
        "64: 90.00 91.00 92.00 %",
    ]


def test_a_missed_target_is_a_bound() -> None:
    aims = [configuration(size, seeds=3, target_accuracy=0.85) for size in (8, 64)]
    steps = [12_345, 700, 800]
    ends = [
        [Ended(0.9 if at else 0.8, figures={"steps": each}) for at, each in enumerate(steps)],
        [Ended(0.8, figures={"steps": each}) for each in steps],
    ]
    state = sweep(list(zip(aims, ends, strict=True)), comparison("less", measure="steps_to_target"))
    assert texts(verdict(state)) == ["8: >12,345 700 800", "64: >12,345 >700 >800"]


def test_short_times_are_in_milliseconds_on_all_sides() -> None:
    ends = [
        [Ended(figures={"seconds": each}) for each in values]
        for values in ((0.05, 0.051, 0.052), (0.001, 0.0011, 0.0012))
    ]
    pairs = [(configuration(size), each) for size, each in zip((8, 64), ends, strict=True)]
    found = verdict(sweep(pairs, comparison("greater", measure="training_seconds")))
    assert texts(found) == ["8: 50.0 51.0 52.0 ms", "64: 1.00 1.10 1.20 ms"]


def test_a_side_without_any_value_says_so() -> None:
    pairs = [(configuration(size), [0.9, 0.8, 0.7]) for size in (8, 64)]
    found = verdict(sweep(pairs, comparison("greater", measure="noise_scale")))
    assert texts(found)[0] == "8: no values; without a value: seeds 0, 1, 2"


def test_seeds_are_named_where_they_are_not_the_first_ones() -> None:
    """As after a choice, which is judged on fresh seeds."""
    fresh, first = configuration(8), configuration(64)
    state = sweep(
        [(replace(fresh, seeds=(3, 4, 5)), [0.95, 0.96, 0.97]), (first, [0.9, 0.91, 0.92])],
        comparison("greater"),
    )
    assert texts(verdict(state)) == [
        "8: 95.00 96.00 97.00 %; seeds 3 to 5",
        "64: 90.00 91.00 92.00 %",
    ]
