"""The recommendation names labels, learning rates and counts so that they can be read."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.findings.recommendation import UNDETERMINED, advice, recommendation
from batchscope.engine.spec import Data, Scaling
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep

DIVERGED = Ended(status="diverged")


def test_labels_with_commas_are_quoted_where_they_are_listed() -> None:
    labels = ["64, lr 0.2, rule none", "256, lr 0.2, rule none", "256, lr 0.1"]
    ends: tuple[list[Any], ...] = (
        [0.951, 0.952, 0.953],
        [0.951, 0.952, 0.953],
        [0.1, DIVERGED, 0.1],
    )
    values = [
        (configuration(64, id=f"c{at}", label=label), each)
        for at, (label, each) in enumerate(zip(labels, ends, strict=True))
    ]
    found = recommendation(sweep(values))
    assert "“64, lr 0.2, rule none” and “256, lr 0.2, rule none”" in found
    assert found.startswith("Use “")
    assert "“256, lr 0.1” is left out: 1 of its 3 trials" in found


@pytest.mark.parametrize(("rule", "told"), [("sqrt", "0.4 after scaling"), ("none", "0.1")])
def test_the_advice_says_whether_a_rate_is_scaled_and_counts_whole(rule: Any, told: str) -> None:
    ended = Ended(0.9, figures={"steps": 1238, "samples": 57_480})
    of = configuration(128)
    scaling = Scaling(rule=rule, base_batch_size=None if rule == "none" else 8)
    of = replace(of, settings=replace(of.settings, scaling=scaling))
    state = sweep([(of, [ended] * 3), (configuration(8), [0.5] * 3)])
    if rule != "none":
        for trial in state.replicates(of.id):
            trial.started = replace(trial.started, lr=0.4)  # type: ignore[type-var]
    words = advice(state).rpartition(": ")[2]
    for word in ("sgd", f"learning rate of {told},", "1,238 steps", "57,480 samples"):
        assert word in words


def test_other_images_are_not_compared() -> None:
    other = configuration(64)
    settings = other.settings.__class__(
        data=Data(name="mnist"), model=other.settings.model, train=other.settings.train
    )
    mixed = other.__class__(id="m", label="m", settings=settings, seeds=other.seeds)
    found = recommendation(sweep([(configuration(8), [0.9] * 3), (mixed, [0.8] * 3)]))
    assert found.startswith(UNDETERMINED)
    assert "digits and mnist" in found


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_configuration_with_too_few_seeds_is_not_passed_over_in_silence(count: int) -> None:
    good = [0.9, 0.9, 0.901, 0.9]
    others = [(configuration(8, seeds=4), good), (configuration(16, seeds=4), [0.8] * 4)]
    better: list[Any] = [0.99] * count + [Ended(status="skipped")] * (4 - count)
    found = recommendation(sweep([*others, (configuration(32, seeds=4), better)]))
    told = "batch size 32 is left out: it has fewer than 3 finished seeds"
    assert (told in found) == (count < 3)
    assert found.startswith("Use batch size 32" if count == 3 else "Use batch size 8")
