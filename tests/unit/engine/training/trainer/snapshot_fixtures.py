"""Trials of every kind, and attempts that are interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import torch
from torch import Tensor

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.plan import Plan, make_plan
from batchscope.engine.spec import (
    Configuration,
    Memory,
    Model,
    Phase,
    Probe,
    Scaling,
    Schedule,
    Train,
    Trial,
)
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.state import TrainingState
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.training_fixtures import CPU, SMALL_MLP, Run, make_trial, opened, synthetic, untimed

NORMED = Model(name="mlp", hidden=(9,), batch_norm=True)
CNN = Model(name="cnn", channels=(3,), hidden=(7,))
RESIDUAL = Model(name="resnet18", width=0.04, ghost_batch_size=4)
PROBE = Probe(at=(0.0, 0.4, 1.0), batch_sizes=(2, 5), draws=2, pairs=((2, 4),), pair_draws=2)
ALWAYS = 1e9


class Crash(BaseException):
    """Simulates the death of the process."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on, 20 to test."""
    return load_images(synthetic(tmp_path_factory.mktemp("small"), train=50, test=20), CPU)


def trial_of(model: Model = SMALL_MLP, **more: object) -> Trial:
    names = ("scaling", "memory", "probe", "schedule", "phases")
    tables = {key: more.pop(key) for key in names if key in more}
    train = {"batch_size": 16, "lr": 0.1, "epochs": 3, **more}
    return make_trial(msgspec.convert(train, Train), model, **tables)  # type: ignore[arg-type]


CASES = {
    "sgd": trial_of(),
    "momentum": trial_of(optimizer="momentum"),
    "nesterov": trial_of(optimizer="nesterov", weight_decay=0.01),
    "adam": trial_of(optimizer="adam", lr=0.01),
    "adamw": trial_of(optimizer="adamw", lr=0.01, weight_decay=0.1),
    "adagrad": trial_of(optimizer="adagrad"),
    "rmsprop": trial_of(optimizer="rmsprop", lr=0.001),
    "batch-norm": trial_of(NORMED, optimizer="adam"),
    "residual": trial_of(
        RESIDUAL, epochs=None, steps=4, lr=0.01, memory=Memory(micro_batch_size=8)
    ),
    "cnn": trial_of(CNN, loss_reduction="sum", lr=0.01),
    "bf16": trial_of(precision="bf16", optimizer="momentum"),
    "with-replacement": trial_of(sampling="with-replacement"),
    "accumulated": trial_of(memory=Memory(micro_batch_size=5)),
    "warmup": trial_of(
        scaling=Scaling(rule="linear", base_batch_size=4, warmup_epochs=1.5), optimizer="adam"
    ),
    "steps": trial_of(epochs=None, steps=9),
    "samples": trial_of(epochs=None, samples=120),
    "target": trial_of(epochs=40, target_accuracy=0.2, lr=0.3),
    "target within an epoch": trial_of(
        batch_size=4, epochs=40, target_accuracy=0.15, target_checks=4, lr=0.1
    ),
    "target on the loss": trial_of(
        batch_size=4, epochs=40, target_loss=2.312, target_checks=4, lr=0.1
    ),
    "single images": trial_of(batch_size=1, epochs=2, lr=0.01),
    "diverges": trial_of(lr=3.0, epochs=30, weight_decay=2.0),
    "probed": trial_of(probe=PROBE, optimizer="adam"),
    "probed with batch norm": trial_of(NORMED, probe=PROBE, batch_size=8),
    "the rate falls": trial_of(schedule=Schedule(kind="step", at=(0.3, 0.7), factor=3)),
    "the batch grows": trial_of(
        schedule=Schedule(kind="step", by="batch", at=(0.2, 0.5), factor=3, max_batch_size=30),
        memory=Memory(micro_batch_size=11),
        batch_size=4,
    ),
    "the batch grows, with batch norm": trial_of(
        NORMED, schedule=Schedule(kind="step", by="batch", at=(0.5,), factor=2), batch_size=8
    ),
    "cosine and warmups": trial_of(
        schedule=Schedule(kind="cosine", batch_warmup_epochs=1.3, batch_warmup_start=3),
        scaling=Scaling(warmup_epochs=0.8),
        optimizer="adam",
        probe=PROBE,
    ),
    "a joined image": trial_of(NORMED, batch_size=7, memory=Memory(micro_batch_size=5)),
    "phases": trial_of(
        phases=(Phase(at=0.4, batch_size=7), Phase(at_epoch=2, lr=0.01, batch_size=20)),
        optimizer="momentum",
        probe=PROBE,
    ),
}


class Outcome(NamedTuple):
    """Return the final content of a trial's journal, without attempts and times."""

    status: str
    reason: str
    records: list[ev.EpochRecord]
    probes: list[ev.Probed]
    predicted: bytes | None
    weights: Tensor


def comparable(trial: Trial, events: list[ev.AnyEvent], weights: Tensor) -> Outcome:
    state = fold(trial, events).trials[trial.id]
    records = [untimed(record) for record in state.records]
    probes = [msgspec.structs.replace(p, attempt=0, seconds=0.0) for p in state.probes]
    predicted = state.predicted.packed if state.predicted else None
    return Outcome(state.status, state.reason, records, probes, predicted, weights)


def fold(trial: Trial, events: list[ev.AnyEvent]) -> SweepState:
    of = Configuration(
        id=trial.configuration, label="", settings=trial.settings, seeds=(trial.seed,)
    )
    return SweepState().fold([*opened([of]), *events])


def same(one: Outcome, other: Outcome) -> None:
    assert one[:-1] == other[:-1]
    assert torch.equal(one.weights.view(torch.int32), other.weights.view(torch.int32))  # also nan


def job_of(
    trial: Trial, plan: Plan, attempt: int, folder: Path, digest: str = "digest"
) -> TrainingJob:
    return TrainingJob((trial,), (trial.id,), plan, attempt, 0, "cpu", folder, digest)


class Chain:
    """Attempts at one trial in one folder of checkpoints, each ended by `end`."""

    def __init__(self, trial: Trial, images: Images, folder: Path) -> None:
        self.trial, self.images, self.folder = trial, images, folder
        self.plan: Plan = make_plan(trial, images.train_size, threads=1)
        self.events: list[ev.AnyEvent] = []
        self.attempts = 0

    def attempt(self, halted: Callable[[], bool]) -> TrainingState:
        self.attempts += 1
        job = job_of(self.trial, self.plan, self.attempts, self.folder)
        trainer = Trainer(job, self.images, self.events.append, halted)
        training = trainer.training
        trainer.run()
        return training

    def outcome(self, training: TrainingState) -> Outcome:
        weights = training.stepper.stack.members[0].copy_weights()
        return comparable(self.trial, self.events, weights)

    def resumed(self) -> list[int | None]:
        return [e.resumed_steps for e in self.events if isinstance(e, ev.TrialStarted)]


def undisturbed(trial: Trial, images: Images) -> Outcome:
    run = Run(trial, images)
    return comparable(trial, run.events, run.flat.copy_weights())


def after(calls: int, end: Callable[[], bool]) -> Callable[[], bool]:
    """Return a check that is true after that number of calls."""
    left = iter(range(calls))
    return lambda: False if next(left, None) is not None else end()


def crash() -> bool:
    raise Crash
