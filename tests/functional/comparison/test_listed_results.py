"""`list` shows the results of a sweep that has ended, which its last event notes."""

import csv
import statistics

import pytest

from tests.functional.lab import recorded


def test_the_results_are_the_best_and_the_worst_mean_of_the_trials() -> None:
    with (recorded().export / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["configuration"], []).append(float(row["test_accuracy"]))
    means = [statistics.fmean(each) for each in values.values()]
    (stored,) = recorded().lab.listed()
    assert stored["metric"] == "test_accuracy"
    assert (stored["best"], stored["worst"]) == pytest.approx((max(means), min(means)))
    outcome = recorded().lab.run("list")
    assert f"test accuracy {100 * max(means):.2f} to {100 * min(means):.2f} %" in outcome.out
