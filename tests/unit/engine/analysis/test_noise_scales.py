"""The noise scale of each batch size: ratios of averages, with an interval that covers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.analysis.noise_scales import agrees, noise_scales, ratio_interval
from batchscope.engine.spec import Model
from tests.unit.engine.findings_fixtures import Ended, configuration, record, sweep


def drawn(trace: float, signal: float, draws: int = 4) -> Ended:
    figures = {"noise_trace": trace, "noise_signal": signal, "noise_draws": draws}
    return Ended(records=(record(0.9, **figures),))


def test_means_are_taken_apart_and_divided_last() -> None:
    state = sweep([(configuration(8), [drawn(10, 1), drawn(20, 0.5, 12), drawn(30, 0.25)])])
    (found,) = noise_scales(state)
    assert found.trace == pytest.approx((4 * 10 + 12 * 20 + 4 * 30) / 20)
    assert found.signal == pytest.approx((4 * 1 + 12 * 0.5 + 4 * 0.25) / 20)
    assert found.value == pytest.approx(20 / 0.55)
    assert (found.draws, found.n, found.reason) == (20, 3, "")


def test_it_is_undetermined_where_the_signal_is_not_positive() -> None:
    (found,) = noise_scales(sweep([(configuration(8), [drawn(10, -0.5), drawn(10, 0.5)])]))
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.signal == 0.0
    assert "not positive" in found.reason


def test_why_there_is_none() -> None:
    norm = configuration(8, model=Model(name="mlp", hidden=(5,), batch_norm=True))
    state = sweep(
        [
            (norm, [0.9]),
            (configuration(1), [0.9]),
            (configuration(4), [0.9]),
            (configuration(64), []),
        ]
    )
    assert [each.reason[:12] for each in noise_scales(state)] == [
        "a batch of o",
        "it was not m",
        "with batch n",
    ]


@given(st.lists(st.tuples(st.floats(1, 2), st.floats(1, 2)), min_size=3, max_size=6))
def test_the_interval_holds_the_ratio_and_its_reciprocal_is_that_of_the_reciprocal(
    pairs: list[tuple[float, float]],
) -> None:
    low, high = ratio_interval(pairs)
    back = ratio_interval([(y, x) for x, y in pairs])
    if low is None or high is None or None in back or low <= 0:
        return
    ratio = sum(x for x, _ in pairs) / sum(y for _, y in pairs)
    assert low <= ratio * (1 + 1e-9)
    assert ratio <= high * (1 + 1e-9)
    assert back[0] == pytest.approx(1 / high, rel=1e-6)
    assert back[1] == pytest.approx(1 / low, rel=1e-6)


def test_it_covers_as_often_as_it_says() -> None:
    random, times, held = np.random.default_rng(4), 2000, 0
    for _ in range(times):
        x = random.normal(100, 20, 4)
        y = 0.5 + (x - 100) / 200 + random.normal(0, 0.1, 4)
        low, high = ratio_interval(list(zip(x.tolist(), y.tolist(), strict=True)))
        held += (low is None or low <= 200) and (high is None or high >= 200)
    assert held / times == pytest.approx(0.95, abs=0.02)


def test_it_has_no_end_where_there_is_none() -> None:
    assert ratio_interval([(1.0, 1.0)]) == (None, None)
    assert ratio_interval([(1.0, -1.0), (1.0, 1.1), (1.0, 0.2)]) == (None, None)
    assert ratio_interval([(2.0, 1.0)] * 3) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("noise", "critical", "expected"),
    [(900, 100, True), (1100, 100, False), (9, 100, False), (11, 100, True), (None, 100, None)],
)
def test_they_agree_within_an_order_of_magnitude(
    noise: float | None, critical: float, expected: bool | None
) -> None:
    assert agrees(noise, critical) is expected
    assert agrees(noise, None) is None
    assert math.isfinite(critical)
