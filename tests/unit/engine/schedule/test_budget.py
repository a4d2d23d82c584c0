"""The steps of a budget, compared with counting one step after the other."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.schedule.budget import planned_steps, samples_after, steps_per_epoch
from batchscope.engine.spec import Train

sizes = st.integers(1, 120)
batch_sizes = st.integers(1, 150)


def batches(train_size: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """The epoch and the length of one batch after the other, without end."""
    for epoch in itertools.count(1):
        images = list(range(train_size))
        while images:
            batch, images = images[:batch_size], images[batch_size:]
            yield epoch, len(batch)


def train(
    *,
    epochs: int | None = None,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
) -> Train:
    return Train(batch_size=1, lr=1.0, epochs=epochs, steps=steps, samples=samples, seconds=seconds)


@settings(deadline=None)
@given(sizes, batch_sizes)
def test_steps_of_an_epoch(train_size: int, batch_size: int) -> None:
    first = itertools.takewhile(lambda step: step[0] == 1, batches(train_size, batch_size))
    assert steps_per_epoch(train_size, batch_size) == len(list(first))


@settings(deadline=None)
@given(sizes, batch_sizes, st.integers(1, 8))
def test_epochs(train_size: int, batch_size: int, epochs: int) -> None:
    run = itertools.takewhile(lambda step: step[0] <= epochs, batches(train_size, batch_size))
    assert planned_steps(train(epochs=epochs), train_size, batch_size) == len(list(run))


@settings(deadline=None)
@given(sizes, batch_sizes, st.integers(1, 1000))
def test_samples_end_with_the_first_step_that_reaches_them(
    train_size: int, batch_size: int, samples: int
) -> None:
    seen = itertools.accumulate(length for _, length in batches(train_size, batch_size))
    steps = next(step for step, total in enumerate(seen, start=1) if total >= samples)
    assert planned_steps(train(samples=samples), train_size, batch_size) == steps


@settings(deadline=None)
@given(sizes, batch_sizes, st.integers(0, 300))
def test_samples_after_steps(train_size: int, batch_size: int, steps: int) -> None:
    run = itertools.islice(batches(train_size, batch_size), steps)
    assert samples_after(steps, train_size, batch_size) == sum(length for _, length in run)


@settings(deadline=None)
@given(sizes, batch_sizes, st.integers(1, 10**6))
def test_a_budget_in_steps(train_size: int, batch_size: int, steps: int) -> None:
    assert planned_steps(train(steps=steps), train_size, batch_size) == steps


def test_a_budget_in_seconds_has_no_number_of_steps() -> None:
    assert planned_steps(train(seconds=60.0), 1437, 8) is None


@pytest.mark.parametrize(
    ("batch_size", "per_epoch", "after_all"),
    [(1, 60_000, 60_000), (64, 938, 60_000), (1024, 59, 60_000), (60_000, 1, 60_000)],
)
def test_on_mnist(batch_size: int, per_epoch: int, after_all: int) -> None:
    assert steps_per_epoch(60_000, batch_size) == per_epoch
    assert samples_after(per_epoch, 60_000, batch_size) == after_all
    assert samples_after(per_epoch - 1, 60_000, batch_size) == (per_epoch - 1) * batch_size
    assert planned_steps(train(epochs=20), 60_000, batch_size) == 20 * per_epoch
