"""Choosing the number of workers from steps timed at the same time."""

import pytest

from batchscope.engine.planning.worker_count import (
    Sample,
    Slots,
    choose_worker_count,
    on_a_gpu,
    options,
)

TWO, ONE = Slots(2, 1), Slots(1, 2)


@pytest.mark.parametrize(
    ("cores", "trials", "found"),
    [
        (1, 9, [(1, 1)]),
        (2, 9, [(2, 1), (1, 2)]),
        (4, 9, [(4, 1), (2, 2), (1, 4)]),
        (6, 9, [(6, 1), (3, 2), (1, 6), (1, 4)]),
        (4, 3, [(3, 1), (2, 2), (1, 4)]),
    ],
)
def test_divisions_of_the_cores(cores: int, trials: int, found: list[tuple[int, int]]) -> None:
    assert options(cores, trials) == [Slots(*each) for each in found]


@pytest.mark.parametrize(("trials", "workers"), [(1, [1]), (3, [1, 2]), (50, [1, 2, 4])])
def test_numbers_of_workers_on_a_gpu(trials: int, workers: list[int]) -> None:
    assert on_a_gpu(trials) == [Slots(count, 1) for count in workers]


def test_a_second_thread_without_gain_becomes_a_worker() -> None:
    """Ten trials of 4 s: five rounds of 4 s, or ten of 4."""
    chosen, gain = choose_worker_count({TWO: [0.1], ONE: [0.1]}, [Sample(4.0, 10)])
    assert (chosen, gain) == (TWO, 2.0)


def test_a_useful_second_thread_shortens_an_odd_last_round() -> None:
    """Three trials of 4 s: two rounds of 4 s, or three of 2."""
    chosen, gain = choose_worker_count({TWO: [0.1], ONE: [0.05]}, [Sample(4.0, 3)])
    assert chosen == ONE
    assert gain == pytest.approx(8 / 6)


def test_workers_that_slow_each_other_down() -> None:
    """Beside another a step takes 0.1 s, with the cores for itself 0.04."""
    chosen, gain = choose_worker_count({TWO: [0.1], ONE: [0.04]}, [Sample(1.0, 100)])
    assert chosen == ONE
    assert gain == pytest.approx(50 / 40)


def test_less_than_five_percent_change_nothing() -> None:
    assert choose_worker_count({TWO: [0.1], ONE: [0.049]}, [Sample(1.0, 100)])[0] == TWO
    assert choose_worker_count({TWO: [0.1], ONE: [0.047]}, [Sample(1.0, 100)])[0] == ONE


def test_the_most_frequent_trials_decide() -> None:
    timed = {TWO: [0.1, 5.0], ONE: [0.1, 1.5]}
    assert choose_worker_count(timed, [Sample(8.0, 10), Sample(1.0, 4)])[0] == TWO
    assert choose_worker_count(timed, [Sample(1.0, 4), Sample(8.0, 10)])[0] == ONE


def test_on_a_gpu_more_workers_must_be_faster() -> None:
    divisions = on_a_gpu(50)
    same = dict(zip(divisions, ([0.1], [0.2], [0.4]), strict=True))
    assert choose_worker_count(same, [Sample(1.0, 48)])[0] == Slots(1, 1)
    faster = dict(zip(divisions, ([0.1], [0.12], [0.3]), strict=True))
    chosen, gain = choose_worker_count(faster, [Sample(1.0, 48)])
    assert chosen == Slots(2, 1)
    assert gain == pytest.approx(36 / 28.8)


def test_a_single_division_is_chosen() -> None:
    assert choose_worker_count({TWO: [0.1]}, [Sample(1.0, 4)]) == (TWO, 1.0)
