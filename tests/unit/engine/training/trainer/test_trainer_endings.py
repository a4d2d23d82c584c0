"""Repeated trainings, other endings, and the figures that are reported."""

import itertools
import math

import msgspec
import pytest
import torch
from msgspec.structs import replace

from batchscope.engine.journal.events import EpochsFinished, Progress, TrialStarted
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Memory, Model, Scaling, Train
from batchscope.engine.training.batches import Images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.trainer import trainer
from tests.known import known
from tests.unit.engine.training.trainer.trainer_fixtures import (
    CASES,
    CNN,
    DIGITS,
    TOLERANCE,
    constant,
    digits,
    naive_figures,
    naive_training,
    sgd,
    small,
)
from tests.unit.training_fixtures import SMALL_MLP, Run, make_trial, naive_norm, untimed

__all__ = ["digits", "small"]


DEEP = Model(name="mlp", hidden=(64, 64, 64))


# ---- the same and not the same


def without_times(run: Run) -> list[bytes]:
    """Return the reported figures, without the grouping of epochs into events."""
    records = [untimed(record) for record in run.records]
    return [msgspec.json.encode(part) for part in (run.started, *records, run.ended)]


@pytest.mark.parametrize("case", ["momentum, weight decay, last batch of 37", "convolutions"])
def test_two_runs_are_identical_to_the_last_bit(case: str, digits: Images) -> None:
    train, _, _, _, model, *_ = CASES[case]
    trial = make_trial(train, model, memory=Memory(micro_batch_size=30))
    torch.manual_seed(1)
    first = Run(trial, digits)
    torch.manual_seed(2)
    torch.rand(5)
    second = Run(trial, digits)
    assert without_times(first) == without_times(second)
    assert all(torch.equal(a, b) for a, b in zip(first.weights, second.weights, strict=True))


def test_another_seed_gives_another_training(digits: Images) -> None:
    train = Train(batch_size=64, lr=0.05, epochs=1)
    one, other = (Run(make_trial(train, seed=seed), digits) for seed in (0, 1))
    assert one.started.init_norm != other.started.init_norm
    assert one.records[0].test_loss != other.records[0].test_loss


def test_seeds_pair_trials_of_different_batch_sizes(small: Images) -> None:
    runs = [Run(make_trial(Train(batch_size=b, lr=0.05, epochs=1), seed=3), small) for b in (1, 50)]
    assert runs[0].started.init_norm == runs[1].started.init_norm


@pytest.mark.parametrize("micro_batch_size", [1, 7, 16, 63, 64, 1000])
def test_micro_batches_change_only_the_rounding(micro_batch_size: int, digits: Images) -> None:
    train = Train(batch_size=64, lr=0.05, epochs=1)
    whole = Run(make_trial(train), digits)
    cut = Run(make_trial(train, memory=Memory(micro_batch_size=micro_batch_size)), digits)
    assert cut.started.micro_batch_size == min(micro_batch_size, 64)
    apart = naive_norm([a - b for a, b in zip(cut.weights, whole.weights, strict=True)])
    distance = whole.records[0].distance_from_init
    assert distance is not None
    assert apart < TOLERANCE * distance
    ours, theirs = Norms(cut.records[0].norms), Norms(whole.records[0].norms)
    assert ours.count == theirs.count == 23
    assert ours.mean == pytest.approx(theirs.mean, rel=TOLERANCE)


@pytest.mark.parametrize("evaluation_batch_size", [1, 7, 360, 100_000])
def test_the_evaluation_batch_changes_only_the_rounding(
    evaluation_batch_size: int, digits: Images
) -> None:
    trial = make_trial(Train(batch_size=512, lr=0.05, epochs=1))
    plan = make_plan(trial, digits.train_size, threads=1)
    cut = Run(trial, digits, replace(plan, evaluation_batch_size=evaluation_batch_size))
    ours, theirs = cut.records[0], Run(trial, digits).records[0]
    assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-6)
    assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-6)
    assert ours.norms == theirs.norms


def test_reporting_more_often_changes_no_figure(
    small: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(Train(batch_size=20, lr=0.01, epochs=3))
    seldom = Run(trial, small)
    monkeypatch.setattr(trainer, "REPORT_SECONDS", -1.0)
    often = Run(trial, small)
    assert without_times(often) == without_times(seldom)
    progress = [e for e in often.events if isinstance(e, Progress)]
    assert [(e.epoch, e.steps, e.samples) for e in progress] == [
        *[(1, 1, 20), (1, 2, 40), (1, 3, 50)],
        *[(2, 4, 70), (2, 5, 90), (2, 6, 100)],
        *[(3, 7, 120), (3, 8, 140)],  # after the ninth comes the end
    ]
    statements = [e for e in often.events if isinstance(e, EpochsFinished)]
    assert [len(e.records) for e in statements] == [1, 1, 1]


# ---- other endings


@pytest.mark.parametrize(
    ("model", "words", "epochs"),
    [
        (DEEP, ("gradient", "step 2"), 1),
        (SMALL_MLP, ("loss", "epoch 2"), 2),
    ],
    ids=["gradient", "loss"],
)
def test_a_training_that_diverges_keeps_its_epochs(
    model: Model, words: tuple[str, str], epochs: int, digits: Images
) -> None:
    """The naive loop shows after which epoch the figures are not finite."""
    trial = make_trial(Train(batch_size=1437, lr=1e10, epochs=6), model)
    run = Run(trial, digits)
    _, naive = naive_training(trial, digits, 3, sgd, constant(1e10))
    finite = [math.isfinite(e.test.loss) and math.isfinite(sum(e.norms)) for e in naive]
    assert finite == [True, False, False]
    assert run.ended.status == "diverged"
    assert all(word in run.ended.reason for word in words)
    assert [r.epoch for r in run.records] == list(range(1, epochs + 1))
    assert run.records[0].test_loss == pytest.approx(naive[0].test.loss, rel=1e-3)
    assert [r.test_loss for r in run.records[1:]] == [None] * (epochs - 1)


def test_a_training_that_diverges_within_an_epoch_ends_there(digits: Images) -> None:
    run = Run(make_trial(Train(batch_size=64, lr=100.0, epochs=4), DEEP), digits)
    assert run.ended.status == "diverged"
    assert "gradient" in run.ended.reason
    assert run.records == []


@pytest.mark.parametrize(
    ("call", "steps", "epochs"), [(1, 0, []), (3, 2, []), (4, 3, [1]), (8, 7, [1, 2])]
)
def test_a_training_that_is_halted_keeps_its_epochs(
    call: int, steps: int, epochs: list[int], small: Images
) -> None:
    calls = itertools.count(1)
    trial = make_trial(Train(batch_size=20, lr=0.01, epochs=10))
    run = Run(trial, small, halted=lambda: next(calls) >= call)
    assert (run.ended.status, run.ended.reason) == ("stopped", "")
    assert run.training.at.steps == steps
    assert [r.epoch for r in run.records] == epochs
    ours, theirs = ([untimed(r) for r in of.records] for of in (run, Run(trial, small)))
    assert ours == theirs[: len(ours)]


# ---- figures


def test_fields_of_the_start_event(digits: Images) -> None:
    trial = make_trial(
        Train(batch_size=128, lr=0.1, epochs=3),
        seed=2,
        scaling=Scaling(rule="linear", base_batch_size=32, warmup_epochs=1),
        memory=Memory(micro_batch_size=50),
    )
    started = Run(trial, digits).started
    initial = naive_norm(list(build_model(SMALL_MLP, DIGITS, 2).parameters()))
    assert started.init_norm == pytest.approx(initial, rel=1e-6)
    assert replace(started, init_norm=0.0) == TrialStarted(
        trial="trial-s2",
        attempt=1,
        worker=0,
        device="cpu",
        batch_size=128,
        micro_batch_size=50,
        total_steps=36,
        steps_per_epoch=12,
        parameters=64 * 13 + 13 + 13 * 7 + 7 + 7 * 10 + 10,
        init_norm=0.0,
        lr=0.4,
        layers=("linear1", "linear2", "linear3"),
        layer_parameters=(64 * 13 + 13, 13 * 7 + 7, 7 * 10 + 10),
    )


def test_first_and_last_event(small: Images) -> None:
    run = Run(make_trial(Train(batch_size=20, lr=0.01, epochs=2)), small)
    kinds = [type(event).__name__ for event in run.events if not isinstance(event, Progress)]
    assert kinds[0] == "TrialStarted"
    assert kinds[-1] == "TrialEnded"
    assert kinds[1:-1] == ["Predicted", "EpochsFinished"]


@pytest.mark.parametrize("model", [SMALL_MLP, CNN], ids=["mlp", "cnn"])
def test_all_figures_of_an_epoch_are_of_its_last_weights(model: Model, digits: Images) -> None:
    trial = make_trial(Train(batch_size=64, lr=0.1, epochs=3), model, seed=5)
    run = Run(trial, digits)
    record, network = run.records[-1], run.flat.model
    part = digits.train_part
    train = naive_figures(network, digits.train[part], digits.train_labels[part])
    test = naive_figures(network, digits.test, digits.test_labels)
    assert (record.train_accuracy, record.test_accuracy) == (train.accuracy, test.accuracy)
    assert record.train_loss == pytest.approx(train.loss, rel=1e-6)
    assert record.test_loss == pytest.approx(test.loss, rel=1e-6)
    assert train.loss != test.loss
    start = list(build_model(model, DIGITS, 5).parameters())
    apart = naive_norm([a - b.detach() for a, b in zip(run.weights, start, strict=True)])
    assert record.distance_from_init == pytest.approx(apart, rel=1e-6)
    assert record.weight_norm == pytest.approx(naive_norm(run.weights), rel=1e-6)


def test_a_small_network_learns_the_digits(digits: Images) -> None:
    trial = make_trial(Train(batch_size=32, lr=0.1, epochs=15), Model(name="mlp", hidden=(64,)))
    last = Run(trial, digits).records[-1]
    assert known(last.test_accuracy) > 0.94
    assert known(last.train_accuracy) > 0.98


def test_warmup_in_the_records(small: Images) -> None:
    """Three steps an epoch, ten steps of warmup: the rate of an epoch is that of its last."""
    scaling = Scaling(warmup_epochs=10 / 3)
    run = Run(make_trial(Train(batch_size=20, lr=0.02, epochs=5), scaling=scaling), small)
    expected = [0.006, 0.012, 0.018, 0.02, 0.02]
    assert [r.lr for r in run.records] == pytest.approx(expected, rel=1e-12)
    assert [r.highest_lr for r in run.records] == [r.lr for r in run.records]
