"""Measuring micro-batch sizes before the first step: results, limits, and no side effects."""

import math
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import asdict, replace
from torch import Tensor

from batchscope.engine.journal.events import EpochRecord, MicroBatchesMeasured
from batchscope.engine.planning.micro_batch import (
    Shape,
    choose_micro_batch,
    expected_peak,
    fits,
    usable,
)
from batchscope.engine.spec import Model, Train, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.cancellation import Halted
from batchscope.engine.training.jobs import micro_batch_bench
from batchscope.engine.training.jobs.micro_batch_bench import ROUNDS, ROUNDS_ALONE, Bench, measure
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import Classifier, Heard, alone
from batchscope.engine.training.trainer.evaluation import evaluate
from tests.unit.engine.training.jobs.bench_fixtures import GENEROUS, order_of, plan_of
from tests.unit.training_fixtures import (
    CPU,
    LINEAR,
    Run,
    classifier,
    intercept,
    make_trial,
    synthetic,
    untimed,
)

UNLIMITED = 1 << 50
WIDE = Model(name="mlp", hidden=(400, 90))
CNN = Model(name="cnn", channels=(8, 12), hidden=(20,))
ORDER_BYTES = 8


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("bench"), train=1300, test=120), CPU)


def trial_of(
    batch_size: int, model: Model = WIDE, optimizer: Any = "sgd", epochs: int = 1
) -> Trial:
    train = Train(batch_size=batch_size, lr=0.01, epochs=epochs, optimizer=optimizer)
    return make_trial(train, model)


def bench_of(images: Images, batch_size: int, limit: int = UNLIMITED, **of: Any) -> Bench:
    trial = trial_of(batch_size, **of)
    return Bench((trial,), plan_of(trial, images), images, CPU, limit)


def sizes(shapes: list[Shape]) -> list[int]:
    return [shape.micro_batch_size for shape in shapes]


def limited(images: Images, batch_size: int, micro: int, **of: Any) -> int:
    """A memory limit that fits exactly this number of samples."""
    bench = bench_of(images, batch_size, **of)
    bench._execute(micro)
    return math.ceil(bench._shapes[micro].peak_bytes / 0.9)


def fake_clock(patch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
    """A clock that advances only while a gradient is computed, by a given time for each batch."""
    now = 0.0

    def accumulated(
        real: Callable[..., None],
        inputs: Tensor,
        labels: Tensor,
        batch: Tensor,
        micro: int,
        mean: bool,
        heard: Heard,
    ) -> None:
        nonlocal now
        real(inputs, labels, batch, micro, mean, heard)
        now += seconds(batch.shape[1])

    intercept(patch, accumulated)
    patch.setattr(
        "batchscope.engine.training.jobs.micro_batch_bench.time.perf_counter", lambda: now
    )


# ---- what is executed


@pytest.mark.parametrize("batch_size", [1, 6, 8, 600])
def test_sizes_increase_to_the_whole_batch_with_enough_memory(
    images: Images, batch_size: int
) -> None:
    shapes = bench_of(images, batch_size).shapes(GENEROUS)
    expected = sorted({min(size, batch_size) for size in (8, 32, 128, 512, batch_size)})
    assert sizes(shapes) == expected
    peaks = [shape.peak_bytes for shape in shapes]
    assert peaks == sorted(peaks)
    assert all(shape.samples_per_second > 0 and not shape.failed for shape in shapes)


@pytest.mark.parametrize("model", [WIDE, CNN])
@pytest.mark.parametrize("micro", [2, 100, 430])
def test_below_a_limit_the_largest_that_fits_is_measured(
    images: Images, model: Model, micro: int
) -> None:
    limit = limited(images, 600, micro, model=model)
    bench = bench_of(images, 600, limit, model=model)
    shapes = bench.shapes(GENEROUS)
    fitting = [shape for shape in shapes if fits(shape, limit)]
    largest = max(fitting, key=lambda shape: shape.micro_batch_size)
    assert largest.micro_batch_size > micro / 1.1
    assert largest.micro_batch_size <= micro or largest.peak_bytes < 1.02 * usable(limit)
    assert all(shape.peak_bytes <= usable(limit) for shape in fitting)
    above = [shape for shape in shapes if shape not in fitting]
    assert len(above) <= 2
    assert all(shape.peak_bytes < 1.1 * limit or shape.micro_batch_size == 8 for shape in above)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_held_bytes_include_the_optimizer_state(images: Images, optimizer: str) -> None:
    bench = bench_of(images, 8, optimizer=optimizer)
    bench.shapes(GENEROUS)
    weights = bench._stepper.stack.weights.numel()
    # gradient and start; of others than plain descent also what was before a step
    copies = {"sgd": 3, "momentum": 5, "adam": 6}[optimizer]
    data = (1300 + 120) * (64 * 4 + 8) + 120 * 8
    rest = bench.held_bytes - data - 4 * copies * weights - 1300 * ORDER_BYTES
    assert 0 <= rest <= 4 * 2 * 163, "norms of a slice and of updates"


@pytest.mark.parametrize("micro", [100, 256, 600])
@pytest.mark.parametrize("model", [WIDE, CNN])
def test_the_measured_peak_is_that_of_a_training(
    images: Images, model: Model, micro: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte, because the choice of the micro-batch relies on it."""
    trial = trial_of(600, model)
    bench = bench_of(images, 600, model=model)
    bench._execute(micro)
    monkeypatch.setattr(
        "batchscope.engine.training.trainer.evaluation.evaluate",
        lambda passes, batches, missed=None: evaluate_little(images, missed),
    )
    run = Run(trial, images, replace(plan_of(trial, images), micro_batch_size=micro))
    assert run.records[-1].peak_memory_bytes == bench._shapes[micro].peak_bytes


def evaluate_little(images: Images, missed: list[torch.Tensor] | None) -> Any:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    few = images.test[:1], images.test_labels[:1]
    return evaluate(classifier(alone(FlatModel(model, CPU))), [few], missed)


@pytest.mark.parametrize("model", [WIDE, CNN])
def test_the_measured_evaluation_peak_is_that_of_an_evaluation(
    images: Images, model: Model
) -> None:
    trial = one_step(trial_of(1, model))
    plan = plan_of(trial, images)
    size, peak = Bench((trial,), plan, images, CPU, UNLIMITED).evaluation()
    assert size == 120
    run = Run(trial, images, replace(plan, evaluation_batch_size=size))
    assert run.records[-1].peak_memory_bytes == peak - 1300 * ORDER_BYTES


def one_step(trial: Trial) -> Trial:
    train = replace(trial.settings.train, epochs=None, steps=1)
    return replace(trial, settings=replace(trial.settings, train=train))


@pytest.mark.parametrize("halvings", [0, 1, 3])
def test_the_evaluation_batch_is_halved_until_it_fits(images: Images, halvings: int) -> None:
    peaks = {size: bench_of(images, 8)._evaluate(size) for size in (120, 60, 30, 15, 7)}
    size = list(peaks)[halvings]
    peak = peaks[size]
    assert peak is not None
    limit = int(peak / 0.9) + 1
    assert bench_of(images, 8, limit).evaluation() == (size, peak)
    assert bench_of(images, 8, 1).evaluation()[0] == 1


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw", "rmsprop"])
def test_weights_do_not_change_during_the_measurement(images: Images, optimizer: Any) -> None:
    """With a learning rate that diverges, weights would become denormal or infinite."""
    train = Train(batch_size=600, lr=1e9, epochs=1, optimizer=optimizer, weight_decay=0.1)
    trial = make_trial(train, WIDE)
    bench = Bench((trial,), plan_of(trial, images), images, CPU, UNLIMITED)
    bench.shapes(GENEROUS)
    stepper = bench._stepper
    assert torch.equal(stepper.stack.weights.detach(), stepper.start_weights)
    assert 0 < float(stepper.norms.kept[0]) < float("inf")


# ---- the time it may take


def test_one_size_is_run_even_without_time(images: Images) -> None:
    assert sizes(bench_of(images, 600).shapes(0.0)) == [8]


def test_sizes_are_tried_until_one_fits_even_without_time(images: Images) -> None:
    limit = limited(images, 600, 3)
    shapes = bench_of(images, 600, limit).shapes(0.0)
    assert [fits(shape, limit) for shape in shapes].count(True) == 1
    assert choose_micro_batch(600, shapes, limit, 0) is not None
    assert sizes(bench_of(images, 600, 1).shapes(0.0)) == [1, 8]


@pytest.mark.parametrize(
    ("seconds", "expected", "rounds"),
    [
        (95.0, [8], ROUNDS_ALONE),
        (96.0, [8, 32], 0),
        (120.0 + 64 + 1200, [8, 32, 1200], 0),
        (120.0 + 64 + 1200 + 256, [8, 32, 128, 1200], 0),
        (120.0 + 64 + 1200 + 256 + 1024 + 2 * 1880, [8, 32, 128, 512, 1200], 2),
    ],
)
def test_no_size_starts_that_would_exceed_the_time(
    images: Images,
    seconds: float,
    expected: list[int],
    rounds: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One second for each sample: each size takes a step of two micro-batches, the largest of one.

    Half a second each for 240 images to evaluate is set aside, or a third of the time.
    """
    fake_clock(monkeypatch, float)
    shapes = bench_of(images, 1200, epochs=10**6).shapes(seconds)
    assert sizes(shapes) == expected
    assert {shape.rounds for shape in shapes} == {min(rounds, ROUNDS)}


def test_only_sizes_close_to_the_fastest_are_timed_again(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """128 is a third faster than the others; the largest is timed for comparison."""
    fake_clock(monkeypatch, lambda count: count * (0.75 if count == 128 else 1.0))
    bench = bench_of(images, 512, epochs=10**6)
    found = {shape.micro_batch_size: shape for shape in bench.shapes(1e7)}
    assert found[128].rounds == found[512].rounds == ROUNDS
    assert {found[8].rounds, found[32].rounds} <= {0, 1}
    best = choose_micro_batch(512, list(found.values()), UNLIMITED, 0)
    assert best is not None
    assert best.micro_batch_size == 128


@pytest.mark.parametrize(("epochs", "expected"), [(1, [8]), (3, [8, 32]), (36, [8, 32, 1200])])
def test_measuring_takes_at_most_its_share_of_the_trial(
    images: Images, epochs: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 1,300 images an epoch 3 % are 39 s, a third of them for the evaluation (of 120 s)."""
    fake_clock(monkeypatch, float)
    patience = 1e9  # an estimate that is far too long
    assert sizes(bench_of(images, 1200, epochs=epochs).shapes(patience)) == expected


def test_speed_is_the_median_of_the_rounds(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 samples at once are fast, 8 slow; 128 seem slow but once, when they were first timed."""
    calls: list[int] = []

    def seconds(count: int) -> float:
        calls.append(count)
        first = count == 128 and calls.count(128) == 2
        return count / 1000 / (10 if first else {8: 20, 32: 100}.get(count, 99))

    fake_clock(monkeypatch, seconds)
    shapes = {
        shape.micro_batch_size: shape for shape in bench_of(images, 128, epochs=10**6).shapes(1e6)
    }
    assert {size: shape.rounds for size, shape in shapes.items()} == {8: 0, 32: ROUNDS, 128: ROUNDS}
    paces = {size: shape.samples_per_second for size, shape in shapes.items()}
    assert paces == pytest.approx({8: 20e3, 32: 100e3, 128: 99e3})
    assert calls[-2 * ROUNDS :] == [32, 128] * ROUNDS
    found = choose_micro_batch(128, list(shapes.values()), UNLIMITED, 0)
    assert found is not None
    assert found.micro_batch_size == 128


# ---- memory that runs out


def shortage(patch: pytest.MonkeyPatch, most: int, error: Exception) -> None:
    def failing(
        real: Callable[..., None],
        inputs: Tensor,
        labels: Tensor,
        batch: Tensor,
        micro: int,
        mean: bool,
        heard: Heard,
    ) -> None:
        if micro > most:
            raise error
        real(inputs, labels, batch, micro, mean, heard)

    intercept(patch, failing)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
@pytest.mark.parametrize("most", [0, 3, 100])
def test_a_size_that_runs_out_of_memory_is_marked_and_smaller_ones_are_tried(
    images: Images, most: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortage(monkeypatch, most, error)
    shapes = bench_of(images, 600).shapes(GENEROUS)
    assert {s.micro_batch_size > most for s in shapes if s.failed} == {True}
    assert {s.micro_batch_size <= most for s in shapes if not s.failed} <= {True}
    assert {s.failed for s in shapes} <= {"", "out of memory"}
    found = choose_micro_batch(600, shapes, UNLIMITED, 0)
    assert (found is None) == (most == 0)
    if found is not None and most == 100:
        assert found.micro_batch_size > 50
        assert "ran out of memory" in found.reason or "faster than" in found.reason


def test_an_evaluation_that_runs_out_of_memory_is_halved(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(passes: Classifier, batches: Any) -> Any:
        pairs = list(batches)
        if len(pairs[0][1]) > 30:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return evaluate(passes, pairs)

    monkeypatch.setattr(micro_batch_bench, "evaluate", failing)
    assert bench_of(images, 8).evaluation()[0] == 30


def test_other_errors_are_raised(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    shortage(monkeypatch, 100, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        bench_of(images, 600).shapes(GENEROUS)


# ---- the whole of it


def figures(run: Run) -> list[dict[str, Any]]:
    return [asdict(replace_times(record)) for record in run.records]


def replace_times(record: EpochRecord) -> EpochRecord:
    return untimed(record)


@pytest.mark.parametrize("model", [LINEAR, WIDE, CNN])
def test_the_measurement_leaves_a_later_training_unchanged(
    images: Images, tmp_path: Path, model: Model
) -> None:
    trial, limit = trial_of(64, model), UNLIMITED
    before, random = Run(trial, images), torch.get_rng_state()
    data = [tensor.clone() for tensor in images.held()]
    found = measure(order_of(trial, images, tmp_path, limit), images, CPU)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(map(torch.equal, images.held(), data))
    after = Run(trial, images)
    assert figures(after) == figures(before)
    assert all(map(torch.equal, after.weights, before.weights))
    check_the_statement(found)


def check_the_statement(found: MicroBatchesMeasured) -> None:
    assert (found.trial, found.device, found.device_name) == ("trial-s0", "cpu", "some CPU")
    assert (found.batch_size, found.asked_bytes, found.limit_bytes) == (64, None, UNLIMITED)
    assert [shape.micro_batch_size for shape in found.shapes] == [8, 32, 64]
    assert found.evaluation_batch_size == 120
    assert 0 < found.held_bytes < min(shape.peak_bytes for shape in found.shapes)
    assert found.held_bytes < found.evaluation_peak_bytes
    assert found.seconds > 0


@pytest.mark.parametrize("asks", [1, 2, 5])
def test_it_stops_when_halted(images: Images, tmp_path: Path, asks: int) -> None:
    answers, order = count(1), order_of(trial_of(512), images, tmp_path, UNLIMITED)
    with pytest.raises(Halted):
        measure(order, images, CPU, lambda: next(answers) >= asks)
    assert next(answers) == asks + 1  # no step was executed after that


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_first_size_includes_the_optimizer_state(images: Images, optimizer: str) -> None:
    bench = bench_of(images, 512, optimizer=optimizer)
    for size in (8, 32, 64, 128):
        bench._execute(size)
    first, second, *others = (bench._shapes[size] for size in (8, 32, 64, 128))
    for other in others:  # the higher of several lines: from below, never expected too high
        expected = expected_peak(other.micro_batch_size, [first, second], bench.held_bytes)
        assert 0.5 * other.peak_bytes < expected <= other.peak_bytes
