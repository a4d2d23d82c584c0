"""Tests by order beside scipy's exact ones, and beside counting by hand."""

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.analysis.rank_tests import orders, rank_sum_p, sign_p


def test_orders_by_hand() -> None:
    assert orders(1, 3) == (1, 1, 1, 1)
    assert orders(2, 2) == (1, 1, 2, 1, 1)
    assert sum(orders(5, 5)) == 252


@pytest.mark.parametrize(("one", "other"), [(3, 3), (5, 4), (10, 7)])
def test_without_ties_it_is_the_exact_rank_sum_test(one: int, other: int) -> None:
    random = np.random.default_rng(one)
    for _ in range(20):
        left, right = random.normal(0.5, 1, one).tolist(), random.normal(0, 1, other).tolist()
        exact = stats.mannwhitneyu(left, right, alternative="greater", method="exact").pvalue
        assert rank_sum_p(left, right) == pytest.approx(exact)


def test_ties_count_against_the_order() -> None:
    assert rank_sum_p([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert rank_sum_p([2.0] * 5, [1.0] * 5) == pytest.approx(1 / 252)


def test_signs() -> None:
    assert sign_p([2.0] * 5, 1.0) == 1 / 32
    assert sign_p([2.0, 2.0, 1.0], 1.0) == pytest.approx(4 / 8)
    assert sign_p([0.0], 1.0) == 1.0
