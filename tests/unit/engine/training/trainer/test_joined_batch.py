"""Batch norm where an epoch would end in a single image: it joins the batch before it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchscope.engine.planning.batch_norm import groups
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Memory, Model, Phase, Train, Trial
from batchscope.engine.training.batches import Images, epoch_order, in_batches
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.engine.training.trainer.trainer_fixtures import DIGITS, digits
from tests.unit.training_fixtures import Run, make_trial, untimed

__all__ = ["digits"]
NORMED = Model(name="mlp", hidden=(9,), batch_norm=True)
GHOSTLY = Model(name="mlp", hidden=(9,), batch_norm=True, ghost_batch_size=32)
NETWORK = Model(name="cnn", channels=(3,), hidden=(7,), batch_norm=True)


def trial_of(model: Model = NORMED, **more: Any) -> Trial:
    tables = {key: more.pop(key) for key in ("memory", "phases") if key in more}
    train = {"batch_size": 359, "lr": 0.1, "epochs": 2, "optimizer": "momentum", **more}
    return make_trial(msgspec.convert(train, Train), model, **tables)


def naive_batches(images: int, size: int) -> list[list[int]]:
    """Return the places of an epoch's batches in its order."""
    batches: list[list[int]] = []
    for place in range(images):
        if not batches or len(batches[-1]) == size:
            batches.append([])
        batches[-1].append(place)
    if len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def naive(trial: Trial, images: Images, micro: int | None = None, epochs: int = 2) -> nn.Module:
    """Train by a plain loop of torch and return the network."""
    train = trial.settings.train
    model = build_model(trial.settings.model, DIGITS, trial.seed)
    optimizer = torch.optim.SGD(model.parameters(), train.lr, momentum=train.momentum)
    for epoch in range(1, epochs + 1):
        order = epoch_order(images.train_size, trial.seed, epoch)
        for places in naive_batches(images.train_size, train.batch_size):
            batch = order[places]
            optimizer.zero_grad()
            for part in torch.split(batch, micro or len(batch)):
                logits = model(images.train[part])
                labels = images.train_labels[part]
                loss = functional.cross_entropy(logits, labels, reduction="sum") / len(batch)
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


def assert_equal(run: Run, model: nn.Module) -> None:
    for ours, theirs in zip(run.weights, model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=2e-4, atol=2e-5)
    for own, other in zip(run.flat.model.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(own, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("model", [NORMED, NETWORK, GHOSTLY], ids=["mlp", "cnn", "ghost"])
@pytest.mark.parametrize(("batch_size", "steps"), [(4, 359), (359, 4), (718, 2), (1436, 1)])
def test_a_plain_loop(digits: Images, model: Model, batch_size: int, steps: int) -> None:
    """1,437 mod each of these is 1."""
    assert digits.train_size % batch_size == 1
    epochs = 1 if batch_size == 4 else 2
    rate = 1e-4 if batch_size == 4 else 0.02  # 359 steps on four images magnify all rounding
    trial = trial_of(model, batch_size=batch_size, epochs=epochs, lr=rate)
    run = Run(trial, digits)
    assert run.ended.status == "finished"
    assert [record.steps for record in run.records] == [steps, 2 * steps][:epochs]
    assert run.records[-1].samples == epochs * digits.train_size
    assert (run.started.total_steps, run.started.steps_per_epoch) == (epochs * steps, steps)
    assert_equal(run, naive(trial, digits, epochs=epochs))


def test_groups_of_a_joined_batch() -> None:
    """65 images in groups of 32 are 32 and 33."""
    assert groups(65, 32) == [32, 33]
    assert groups(33, 32) == [33]


@pytest.mark.parametrize(("batch_size", "micro"), [(359, 180), (718, 100), (718, 360)])
def test_accumulation(digits: Images, batch_size: int, micro: int) -> None:
    trial = trial_of(batch_size=batch_size, memory=Memory(micro_batch_size=micro))
    assert not {count % micro for count in (batch_size, batch_size + 1)} & {1}
    run = Run(trial, digits)
    assert run.plan.micro_batch_size == micro
    assert run.plan.largest == batch_size + 1
    assert_equal(run, naive(trial, digits, micro))


def test_the_plan(digits: Images) -> None:
    plan = make_plan(trial_of(), digits.train_size, threads=1)
    assert (plan.batch_size, plan.largest_batch_size) == (359, 360)
    assert (plan.micro_batch_size, plan.accumulation_steps) == (360, 1)
    for other in (trial_of(batch_size=360), trial_of(steps=4, epochs=None)):
        assert make_plan(other, digits.train_size, threads=1).largest_batch_size is None


@pytest.mark.parametrize(
    ("budget", "lengths"),
    [
        ({"steps": 4}, [359] * 4),  # the fifth step would meet the single image
        ({"steps": 5}, [359, 359, 359, 360, 359]),
        ({"samples": 1436}, [359] * 4),
        ({"samples": 1437}, [359, 359, 359, 360]),
        ({"samples": 1437 + 1077}, [359, 359, 359, 360, 359, 359, 359]),
    ],
)
def test_only_where_the_image_is_met(
    digits: Images, budget: dict[str, int], lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    real = Trainer._advance

    def advance(self: Trainer, batch: Tensor) -> None:
        if self.training.at.steps == len(taken):  # the first step may be taken twice
            taken.append(batch.shape[1])
        real(self, batch)

    monkeypatch.setattr(Trainer, "_advance", advance)
    run = Run(trial_of(epochs=None, **budget), digits)
    assert taken == lengths
    assert (run.records[-1].steps, run.records[-1].samples) == (len(lengths), sum(lengths))


def test_a_batch_size_that_changes(digits: Images) -> None:
    """Batches of 100 leave 37 images, and those of 359 from the second epoch on leave one."""
    trial = trial_of(batch_size=100, epochs=3, phases=(Phase(at_epoch=1, batch_size=359),))
    run = Run(trial, digits)
    assert [record.steps for record in run.records] == [15, 19, 23]
    assert [record.epoch_samples for record in run.records] == [1437] * 3
    assert run.plan.largest == 360


def halted_after(count: int) -> Iterator[bool]:
    yield from [False] * count
    while True:
        yield True


@pytest.mark.parametrize("stop", [2, 3, 4, 5, 7])
def test_resumed_from_a_checkpoint(digits: Images, tmp_path: Path, stop: int) -> None:
    """Stopped before, in and after the joined batch, it goes on with the same bits."""
    trial = trial_of(model=NETWORK, memory=Memory(micro_batch_size=180))
    whole = Run(trial, digits)
    events: list[Any] = []
    halts = halted_after(stop)
    for halted in (lambda: next(halts), lambda: False):
        job = TrainingJob(
            (trial,), (trial.id,), whole.plan, attempt=1, worker=0, device="cpu",
            checkpoints=tmp_path,
        )  # fmt: skip
        trainer = Trainer(job, digits, events.append, halted)
        trainer.run()
    assert events[-1].status == "finished"
    stack = trainer.training.stepper.stack
    assert torch.equal(stack.weights, whole.training.stepper.stack.weights)
    for ours, theirs in zip(stack.buffers, whole.training.stepper.stack.buffers, strict=True):
        assert torch.equal(ours, theirs)
    last = [event for event in events if hasattr(event, "records")][-1].records[-1]
    assert untimed(last) == untimed(whole.records[-1])


def test_batches_of_an_epoch() -> None:
    order = torch.arange(11).expand(2, -1)
    assert [batch.shape[1] for batch in in_batches(order, 5)] == [5, 5, 1]
    joined = in_batches(order, 5, joins=True)
    assert [batch.shape[1] for batch in joined] == [5, 6]
    assert torch.equal(torch.cat(joined, 1), order)
    for size in (1, 4, 11, 12):
        assert [len(b[0]) for b in in_batches(order, size, joins=size > 1)] == [
            len(b[0]) for b in torch.split(order, size, 1)
        ]
