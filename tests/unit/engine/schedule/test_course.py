"""Batch size and learning rate at every step, compared with tables computed by hand."""

import math
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.schedule.course import Course, totals
from batchscope.engine.spec import Data, Model, Phase, Scaling, Schedule, Settings, Train

DATA, MODEL = Data(name="digits"), Model(name="mlp")
NORMED = Model(name="mlp", batch_norm=True)


def asked(
    train: dict[str, Any],
    schedule: Schedule | None = None,
    *phases: Phase,
    scaling: Scaling | None = None,
    model: Model = MODEL,
) -> Settings:
    return Settings(
        data=DATA,
        model=model,
        train=msgspec.convert({"lr": 1.0, **train}, Train),
        schedule=schedule or Schedule(),
        scaling=scaling or Scaling(),
        phases=phases,
    )


class Walked(NamedTuple):
    """Images, rate and epoch of each step."""

    sizes: list[int]
    rates: list[float]
    epochs: list[int]


def walk(course: Course, train_size: int, seconds_a_step: float = 1.0) -> Walked:
    """One step after the other, as a training takes them."""
    found, samples = Walked([], [], []), 0
    budget = course._budget
    while not budget.passed(len(found.sizes), samples, len(found.sizes) * seconds_a_step):
        so_far = (len(found.sizes), samples, len(found.sizes) * seconds_a_step)
        stage = course.stage(*so_far)
        found.rates.append(course.rate(stage, *so_far))
        found.epochs.append(samples // train_size + 1)
        left = train_size - samples % train_size
        joined = course.joins and left == stage.batch_size + 1
        found.sizes.append(left if joined else min(stage.batch_size, left))
        samples += found.sizes[-1]
    return found


BY_LR = Schedule(kind="step", at=(0.5, 0.75), factor=5)
BY_BATCH = Schedule(kind="step", at=(0.5, 0.75), factor=2, by="batch")
QUARTER = math.sqrt(2) / 2  # the cosine of 45 degrees
TABLES: dict[str, tuple[Settings, int, list[int], list[float]]] = {
    "nothing changes": (
        asked({"batch_size": 4, "epochs": 2}),
        10,
        [4, 4, 2, 4, 4, 2],
        [1.0] * 6,
    ),
    "the rate falls": (
        asked({"batch_size": 4, "epochs": 4}, BY_LR),
        10,
        [4, 4, 2] * 4,
        [1.0] * 6 + [0.2] * 3 + [0.04] * 3,
    ),
    "the batch grows instead": (
        asked({"batch_size": 2, "epochs": 4}, BY_BATCH),
        10,
        [2] * 10 + [4, 4, 2] + [8, 2],
        [1.0] * 15,
    ),
    "it grows as far as it may": (  # times 1.5, so that 2 / 1.5 and 4 / 1.5 are left
        asked({"batch_size": 2, "epochs": 4}, msgspec.structs.replace(BY_BATCH, max_batch_size=3)),
        10,
        [2] * 10 + [3, 3, 3, 1] * 2,
        [1.0] * 10 + [0.75] * 4 + [0.375] * 4,
    ),
    "it grows to the training set": (  # times 2.5 of 5, and of 25
        asked({"batch_size": 4, "epochs": 4}, msgspec.structs.replace(BY_LR, by="batch")),
        10,
        [4, 4, 2] * 2 + [10, 10],
        [1.0] * 6 + [0.5, 0.1],
    ),
    "a batch above the cap stays": (
        asked({"batch_size": 4, "epochs": 4}, msgspec.structs.replace(BY_BATCH, max_batch_size=3)),
        8,
        [4, 4] * 4,
        [1.0] * 4 + [0.5] * 2 + [0.25] * 2,
    ),
    "a factor that is no whole number": (  # 3, 4.5 (to even), 6.75
        asked({"batch_size": 3, "epochs": 4}, msgspec.structs.replace(BY_BATCH, factor=1.5)),
        9,
        [3, 3, 3] * 2 + [4, 4, 1] + [7, 2],
        [1.0] * 11,
    ),
    "within an epoch": (  # 5 images are over after the second step
        asked({"batch_size": 3, "epochs": 1}, msgspec.structs.replace(BY_BATCH, at=(0.5,))),
        10,
        [3, 3, 4],
        [1.0] * 3,
    ),
    "cosine": (
        asked({"batch_size": 5, "epochs": 2}, Schedule(kind="cosine")),
        10,
        [5] * 4,
        [1.0, (1 + QUARTER) / 2, 0.5, (1 - QUARTER) / 2],
    ),
    "cosine that ends above zero": (
        asked({"batch_size": 5, "epochs": 2}, Schedule(kind="cosine", final_lr_share=0.2)),
        10,
        [5] * 4,
        [1.0, 0.6 + 0.4 * QUARTER, 0.6, 0.6 - 0.4 * QUARTER],
    ),
    "cosine after scaling and a warmup": (  # from 1 to 2 over two steps
        asked(
            {"batch_size": 10, "epochs": 4},
            Schedule(kind="cosine"),
            scaling=Scaling(rule="linear", base_batch_size=5, warmup_epochs=2),
        ),
        10,
        [10] * 4,
        [1.5, 2.0 * (1 + QUARTER) / 2, 2.0 * 0.5, 2.0 * (1 - QUARTER) / 2],
    ),
    "the batch warms up": (  # from 2 to 4 after half an epoch, to 8 after a whole one
        asked(
            {"batch_size": 8, "epochs": 2}, Schedule(batch_warmup_epochs=1, batch_warmup_start=2)
        ),
        10,
        [2, 2, 2, 4, 8, 2],
        [1.0] * 6,
    ),
    "the batch warms up to what is no power of two": (  # 3, 6, 10: two parts
        asked(
            {"batch_size": 10, "epochs": 3}, Schedule(batch_warmup_epochs=2, batch_warmup_start=3)
        ),
        12,
        [3] * 4 + [6, 6] + [10, 2],
        [1.0] * 8,
    ),
    "a phase is taken at its word": (  # 2 after scaling, then 0.3, which is not scaled
        asked(
            {"batch_size": 4, "epochs": 2},
            None,
            Phase(at=0.5, lr=0.3, batch_size=5),
            scaling=Scaling(rule="linear", base_batch_size=2),
        ),
        10,
        [4, 4, 2, 5, 5],
        [2.0] * 3 + [0.3] * 2,
    ),
    "phases one after the other": (
        asked(
            {"batch_size": 5, "epochs": 4},
            None,
            Phase(at=0.25, batch_size=50),
            Phase(at_epoch=2, lr=0.5),
            Phase(at_epoch=3, batch_size=2),
        ),
        10,
        [5, 5, 10, 10] + [2] * 5,
        [1.0] * 3 + [0.5] * 6,
    ),
    "the schedule goes on dividing what a phase sets": (
        asked(
            {"batch_size": 10, "epochs": 4},
            Schedule(kind="step", at=(0.5,), factor=10),
            Phase(at=0.75, lr=4.0),
        ),
        10,
        [10] * 4,
        [1.0, 1.0, 0.1, 0.4],
    ),
    "and multiplying": (
        asked(
            {"batch_size": 2, "epochs": 4},
            Schedule(kind="step", at=(0.25,), factor=2, by="batch"),
            Phase(at=0.5, batch_size=3),
        ),
        12,
        [2] * 6 + [4] * 3 + [6] * 4,
        [1.0] * 13,
    ),
    "a warmup goes on by images where the batch grows in it": (
        asked(
            {"batch_size": 2, "epochs": 4},
            Schedule(kind="step", at=(0.25,), factor=2, by="batch"),
            scaling=Scaling(warmup_epochs=2),
        ),
        10,
        [2] * 5 + [4, 4, 2] * 3,
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0] + [1.0] * 6,
    ),
    "a phase that sets the rate ends its warmup": (
        asked(
            {"batch_size": 5, "epochs": 2},
            None,
            Phase(at_epoch=0.5, lr=0.3),
            scaling=Scaling(warmup_epochs=2),
        ),
        10,
        [5] * 4,
        [0.25, 0.3, 0.3, 0.3],
    ),
    "a phase that sets the batch ends its warmup": (
        asked(
            {"batch_size": 8, "epochs": 2},
            Schedule(batch_warmup_epochs=2, batch_warmup_start=2),
            Phase(at_epoch=0.4, batch_size=3),
        ),
        10,
        [2, 2, 3, 3, 3, 3, 3, 1],
        [1.0] * 8,
    ),
    "shares of a budget in steps": (
        asked({"batch_size": 4, "steps": 6}, Schedule(kind="step", at=(0.5,), factor=4)),
        10,
        [4, 4, 2, 4, 4, 2],
        [1.0] * 3 + [0.25] * 3,
    ),
    "growth in a budget in steps": (
        asked(
            {"batch_size": 4, "steps": 6}, Schedule(kind="step", at=(1 / 3,), factor=2, by="batch")
        ),
        10,
        [4, 4, 2, 8, 2, 8],
        [1.0] * 6,
    ),
    "shares of a budget in samples": (  # 7.5 images: the third step
        asked({"batch_size": 4, "samples": 15}, Schedule(kind="step", at=(0.5,), factor=4)),
        10,
        [4, 4, 2, 4, 4],
        [1.0] * 2 + [0.25] * 3,
    ),
    "shares of a budget in seconds": (  # a second a step
        asked(
            {"batch_size": 4, "seconds": 4.0},
            Schedule(kind="step", at=(0.5,), factor=2, by="batch"),
            Phase(at=0.75, lr=0.5),
        ),
        10,
        [4, 4, 2, 8],
        [1.0, 1.0, 1.0, 0.5],
    ),
    "cosine of a budget in seconds": (
        asked({"batch_size": 10, "seconds": 4.0}, Schedule(kind="cosine")),
        10,
        [10] * 4,
        [1.0, (1 + QUARTER) / 2, 0.5, (1 - QUARTER) / 2],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_step(name: str) -> None:
    of, train_size, sizes, rates = TABLES[name]
    found = walk(Course(of, train_size), train_size)
    assert found.sizes == sizes
    assert found.rates == pytest.approx(rates, rel=1e-14)


@pytest.mark.parametrize("name", TABLES)
def test_totals(name: str) -> None:
    of, train_size, sizes, _ = TABLES[name]
    course, whole = Course(of, train_size), totals(of, train_size)
    if of.train.seconds is not None:
        assert (course.total_steps, course.total_samples, whole) == (None, None, None)
    else:
        assert (course.total_steps, course.total_samples) == (len(sizes), sum(sizes)) == whole


def test_the_steps_of_a_probe() -> None:
    """15 steps of which 10 take the first half of the images: shares are of the images."""
    course = Course(TABLES["the batch grows instead"][0], 10)
    shares = (0.0, 0.25, 0.5, 0.55, 0.75, 0.95, 1.0)
    assert [course.steps_at(share) for share in shares] == [0, 5, 10, 11, 13, 14, 15]
    constant = Course(TABLES["nothing changes"][0], 10)
    assert [constant.steps_at(share) for share in (0.0, 0.5, 0.7, 1.0)] == [0, 3, 5, 6]


shares = st.floats(0.01, 0.99)
sizes = st.integers(1, 40)
schedules = st.builds(
    Schedule,
    kind=st.sampled_from(["constant", "step", "cosine"]),
    at=st.lists(shares, min_size=1, max_size=3, unique=True).map(lambda at: tuple(sorted(at))),
    factor=st.floats(1.1, 6),
    by=st.sampled_from(["lr", "batch"]),
    max_batch_size=st.none() | sizes,
    batch_warmup_epochs=st.sampled_from([0.0, 0.5, 1.0, 2.3]),
    batch_warmup_start=st.integers(1, 3),
)
phases = st.lists(
    st.builds(Phase, at=shares, lr=st.none() | st.just(0.5), batch_size=st.none() | sizes)
    | st.builds(Phase, at_epoch=st.floats(0.1, 5), batch_size=sizes),
    max_size=2,
).map(tuple)
budgets = st.one_of(
    st.fixed_dictionaries({"epochs": st.integers(1, 5)}),
    st.fixed_dictionaries({"steps": st.integers(1, 60)}),
    st.fixed_dictionaries({"samples": st.integers(1, 200)}),
)
courses = st.builds(
    lambda budget, size, schedule, changes, warmup, model: asked(
        {"batch_size": size, **budget},
        schedule,
        *changes,
        scaling=Scaling(warmup_epochs=warmup),
        model=model,
    ),
    budgets,
    sizes,
    schedules,
    phases,
    st.sampled_from([0.0, 1.5]),
    st.sampled_from([MODEL, NORMED]),
)


@settings(deadline=None, max_examples=400)
@given(courses, sizes)
def test_the_plan_equals_a_step_by_step_walk(of: Settings, train_size: int) -> None:
    course = Course(of, train_size)
    found = walk(course, train_size)
    assert course.total_steps == len(found.sizes)
    assert course.total_samples == sum(found.sizes)
    assert totals(of, train_size) == (course.total_steps, course.total_samples)
    assert set(course.lengths()) == set(found.sizes)
    assert course.lengths()[0] == found.sizes[0]
    an_epoch = [found.epochs.count(epoch) for epoch in set(found.epochs)]
    assert max(an_epoch) <= course.most_steps_an_epoch
    assert max(found.sizes) <= course.largest <= train_size
    assert course.largest - course.batch_sizes[-1] in ((0, 1) if course.joins else (0,))
    assert all(0 < rate <= 1 for rate in found.rates)


@settings(deadline=None, max_examples=400)
@given(courses, sizes)
def test_a_single_image_joins_only_where_batch_norm_would_meet_it(
    of: Settings, train_size: int
) -> None:
    plain = msgspec.structs.replace(of, model=MODEL)
    normed = msgspec.structs.replace(of, model=NORMED)
    before = walk(Course(plain, train_size), train_size).sizes
    course = Course(normed, train_size)
    after = walk(course, train_size).sizes
    assert not Course(plain, train_size).joins
    if 1 not in before:
        assert not course.joins
        assert after == before
    elif course.joins:
        assert 1 not in after
        assert max(after) <= course.largest
    else:
        assert 1 in course.batch_sizes, "a batch size of one is refused, not joined"


@settings(deadline=None, max_examples=200)
@given(courses, sizes)
def test_a_stage_lasts_until_something_changes(of: Settings, train_size: int) -> None:
    """Asked for once and kept while it lasts, as a training does, it is what it is at each step."""
    course, samples = Course(of, train_size), 0
    kept = course.stage(0, 0, 0.0)
    for steps, size in enumerate(walk(course, train_size).sizes):
        if not kept.lasts(steps, samples, 0.0):
            kept = course.stage(steps, samples, 0.0)
        assert kept == course.stage(steps, samples, 0.0)
        samples += size


@settings(deadline=None, max_examples=200)
@given(courses, sizes, st.floats(0, 1))
def test_steps_after_which_a_share_is_used(of: Settings, train_size: int, share: float) -> None:
    course = Course(of, train_size)
    if not course.changes_batch:
        return
    unit = of.train.steps or of.train.samples or (of.train.epochs or 0) * train_size
    used = [0]
    for size in walk(course, train_size).sizes:
        used.append(used[-1] + (1 if of.train.steps else size))
    expected = next(step for step, so_far in enumerate(used) if so_far >= share * unit - 1e-6)
    assert course.steps_at(share) == expected


def test_a_long_course_is_planned_at_once() -> None:
    """A thousand million epochs: nothing is walked step by step."""
    of = asked({"batch_size": 32, "epochs": 10**9}, BY_BATCH)
    course = Course(of, 60_000)
    half, quarter = 5 * 10**8, 25 * 10**7
    assert course.total_steps == half * 1875 + quarter * 938 + quarter * 469
    assert course.total_samples == 60_000 * 10**9
