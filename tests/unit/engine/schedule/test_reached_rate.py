"""The highest learning rate of a training, and settings whose rate no step has."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.schedule.course import Course
from batchscope.engine.schedule.reached_rate import (
    LOOKS,
    hardly_reached,
    highest_rate,
    never_reached,
)
from batchscope.engine.spec import Phase, Scaling, Schedule, Settings
from tests.unit.engine.schedule.test_course import asked, courses, sizes, walk

N = 100
STEP = Schedule(kind="step", at=(0.5,), factor=2)
GROWS = Schedule(kind="step", at=(0.5,), factor=2, by="batch")
COSINE = Schedule(kind="cosine")


def warming(epochs: float, budget: dict[str, Any], *more: Any, lr: float = 1.0) -> Settings:
    """Return settings with a batch size of 10, and so ten steps an epoch."""
    schedule = next((each for each in more if isinstance(each, Schedule)), None)
    phases = [each for each in more if isinstance(each, Phase)]
    train = {"batch_size": 10, "lr": lr, **budget}
    return asked(train, schedule, *phases, scaling=Scaling(warmup_epochs=epochs))


@settings(deadline=None, max_examples=400)
@given(courses, sizes, st.data())
def test_it_is_the_highest_of_a_walk(of: Settings, train_size: int, data: st.DataObject) -> None:
    course = Course(of, train_size)
    rates = walk(course, train_size).rates
    steps = data.draw(st.integers(1, len(rates)))
    assert highest_rate(course, steps) == max(rates[:steps])
    assert highest_rate(course) == max(rates)
    assert highest_rate(course, 0) is None


@pytest.mark.parametrize("least", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("warmup", [0.3, 8, 200, 390])
def test_a_long_warmup_under_a_cosine(warmup: float, least: float) -> None:
    """Thousands of steps, of which not all are looked at."""
    of = warming(warmup, {"epochs": 400}, Schedule(kind="cosine", final_lr_share=least))
    course = Course(of, N)
    assert (course.total_steps or 0) > 4 * LOOKS
    assert highest_rate(course) == max(walk(course, N).rates)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (warming(3, {"epochs": 2}), ("warmup of 3 epochs", "train.epochs = 2", "only 0.6667")),
        (warming(2.05, {"epochs": 2}), ("2.05 epochs", "train.epochs = 2")),
        (warming(1, {"steps": 9}), ("warmup of 1 epoch ", "train.steps = 9 (0.9 epochs)")),
        (warming(1, {"samples": 81}), ("train.samples = 81 (0.9 epochs)",)),
        (warming(2, {"epochs": 2}, COSINE), ("warmup of 2 epochs", "train.epochs = 2")),
        (warming(1.5, {"epochs": 2}, STEP), ("before a step or phase", "only 0.6667")),
        (warming(1.5, {"epochs": 2}, Phase(at=0.5, lr=9.0)), ("before a step or phase",)),
    ],
)
def test_a_warmup_that_cannot_end(of: Settings, words: tuple[str, ...]) -> None:
    problem = never_reached(of, N) or ""
    assert problem.startswith("scaling.warmup_epochs: ")
    assert "the learning rate of 1 is never reached" in problem
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    "of",
    [
        warming(0, {"epochs": 1}),
        warming(2, {"epochs": 2}),
        warming(1, {"steps": 10}),
        warming(1, {"samples": 91}),
        warming(1, {"epochs": 2}, STEP),
        warming(1.9, {"epochs": 2}, GROWS),
        warming(1.9, {"epochs": 2}, COSINE),
        warming(1, {"epochs": 2}, Phase(at=0.5, lr=9.0)),
        warming(1.5, {"epochs": 2}, Phase(at=0.5, batch_size=20)),
        warming(99, {"seconds": 1.0}),
    ],
)
def test_a_warmup_that_may_end(of: Settings) -> None:
    assert never_reached(of, N) is None


@settings(deadline=None, max_examples=300)
@given(courses, sizes)
def test_what_is_refused_is_never_reached(of: Settings, train_size: int) -> None:
    problem = never_reached(of, train_size) or ""
    course = Course(of, train_size)
    if "learning rate" in problem:
        before = [
            rate for rate, stage in zip(*_stages(course, train_size), strict=True) if stage.warming
        ]
        assert max(before, default=0.0) < course.rates.lr
    if "batch size" in problem:
        asked_for = min(of.train.batch_size, train_size)
        assert asked_for not in {stage.batch_size for stage in _stages(course, train_size)[1]}


def _stages(course: Course, train_size: int) -> tuple[list[float], list[Any]]:
    """Return rate and stage of every step."""
    walked, samples = walk(course, train_size), 0
    stages = []
    for steps, size in enumerate(walked.sizes):
        stages.append(course.stage(steps, samples, 0.0))
        samples += size
    return walked.rates, stages


@pytest.mark.parametrize(
    ("of", "part"),
    [
        (warming(2, {"epochs": 2}), "only the last step has the learning rate of 1"),
        (warming(1, {"steps": 10}), "only the last step"),
        (warming(1.9, {"epochs": 2}), None),
        (warming(0, {"steps": 1}), None),
        (warming(1, {"epochs": 4}, COSINE), "a highest learning rate of 0.88"),
        (warming(0.1, {"epochs": 4}, COSINE), None),
        (warming(1, {"epochs": 2}, STEP), None),
        (warming(99, {"seconds": 1.0}), None),
    ],
)
def test_a_warning_where_it_is_hardly_reached(of: Settings, part: str | None) -> None:
    said = hardly_reached(of, N)
    assert said is None if part is None else part in (said or "")


def growing(warmup: float, budget: dict[str, Any], *phases: Phase, **more: Any) -> Settings:
    schedule = Schedule(batch_warmup_epochs=warmup, batch_warmup_start=5, **more)
    return asked({"batch_size": 20, "lr": 1.0, **budget}, schedule, *phases)


@pytest.mark.parametrize(
    ("of", "part"),
    [
        (
            growing(2, {"epochs": 2}),
            "does not end within train.epochs = 2, so the batch size of 20",
        ),
        (growing(3, {"epochs": 2}), "a warmup of 3 epochs"),
        (growing(1, {"steps": 5}), "does not end within train.steps = 5"),
        (growing(1.5, {"epochs": 2}, Phase(at=0.5, batch_size=50)), "before a step or phase"),
        (growing(1.9, {"epochs": 2}), None),
        (growing(1, {"epochs": 2}, Phase(at=0.5, batch_size=50)), "before a step or phase"),
        (growing(0.9, {"epochs": 2}, Phase(at=0.5, batch_size=50)), None),
        (growing(99, {"seconds": 1.0}), None),
    ],
)
def test_a_batch_warmup_that_cannot_end(of: Settings, part: str | None) -> None:
    problem = never_reached(of, N)
    if part is None:
        assert problem is None
    else:
        assert problem is not None
        assert problem.startswith("schedule.batch_warmup_epochs: ")
        assert part in problem
