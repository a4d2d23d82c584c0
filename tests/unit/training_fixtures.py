"""Small trials and images, simple reference gradients, and events of simulated sweeps."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.prepared_files import ARRAYS
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.events import (
    AnyEvent,
    EpochRecord,
    EpochsFinished,
    Probed,
    TrialEnded,
    TrialStarted,
)
from batchscope.engine.planning.plan import Plan, make_plan
from batchscope.engine.schedule.budget import planned_steps, steps_per_epoch
from batchscope.engine.spec import (
    Configuration,
    Data,
    Memory,
    Model,
    Phase,
    Probe,
    Scaling,
    Schedule,
    Settings,
    Train,
    Trial,
)
from batchscope.engine.training.batches import Labeled, TrainingData
from batchscope.engine.training.cancellation import PauseGate
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import (
    Automatic,
    Classifier,
    Explicit,
    Heard,
    Pass,
    alone,
    unheard,
)
from batchscope.engine.training.trainer.evaluation import Evaluation, evaluate
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.trainer import Trainer

Optimizer = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"]
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)

torch.set_num_threads(1)  # the work is too small for several threads

CPU = torch.device("cpu")
SMALL_MLP = Model(name="mlp", hidden=(13, 7))
TRAIN_SIZE = 1437
LINEAR = Model(name="mlp", hidden=())


def make_trial(
    train: Train,
    model: Model = SMALL_MLP,
    *,
    seed: int = 0,
    scaling: Scaling | None = None,
    memory: Memory | None = None,
    probe: Probe | None = None,
    schedule: Schedule | None = None,
    phases: tuple[Phase, ...] = (),
) -> Trial:
    """Return a trial on digits, or on images of their shape."""
    return Trial(
        id=f"trial-s{seed}",
        configuration="trial",
        seed=seed,
        settings=Settings(
            data=Data(name="digits"),
            model=model,
            train=train,
            scaling=scaling or Scaling(),
            memory=memory or Memory(),
            probe=probe or Probe(),
            schedule=schedule or Schedule(),
            phases=phases,
        ),
    )


def synthetic(folder: Path, train: int, test: int) -> Prepared:
    """Write random images in the shape of digits, with all labels."""
    generator = np.random.default_rng(7)
    shape = DATASETS["digits"].shape
    arrays: tuple[NDArray[np.generic], ...] = (
        generator.normal(size=(train, *shape)).astype(np.float32),
        np.arange(train) % 10,
        generator.normal(size=(test, *shape)).astype(np.float32),
        np.arange(test) % 10,
    )
    for name, array in zip(ARRAYS, arrays, strict=True):
        np.save(folder / f"{name}.npy", array)
    return Prepared(
        name="digits",
        folder=str(folder),
        train=train,
        test=test,
        shape=shape,
        classes=10,
        digest=hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest(),
    )


def never() -> bool:
    return False


class Run:
    """A finished training, with its events."""

    def __init__(
        self,
        trial: Trial,
        images: TrainingData,
        plan: Plan | None = None,
        halted: Callable[[], bool] = never,
        pause: PauseGate | None = None,
    ) -> None:
        self.plan = plan or make_plan(trial, images.train_size, threads=1)
        self.events: list[AnyEvent] = []
        job = TrainingJob((trial,), (trial.id,), self.plan, attempt=1, worker=0, device="cpu")
        trainer = Trainer(job, images, self.events.append, halted, pause)
        self.training = trainer.training
        trainer.run()

    @property
    def started(self) -> TrialStarted:
        first = self.events[0]
        assert isinstance(first, TrialStarted)
        return first

    @property
    def ended(self) -> TrialEnded:
        last = self.events[-1]
        assert isinstance(last, TrialEnded)
        return last

    @property
    def records(self) -> list[EpochRecord]:
        return [
            record
            for event in self.events
            if isinstance(event, EpochsFinished)
            for record in event.records
        ]

    @property
    def probes(self) -> list[Probed]:
        return [event for event in self.events if isinstance(event, Probed)]

    @property
    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.flat.model.parameters()]

    @property
    def flat(self) -> FlatModel:
        return self.training.stepper.stack.members[0]


def untimed(record: EpochRecord) -> EpochRecord:
    """Return a record without its times, which differ between runs of the same trial."""
    return msgspec.structs.replace(record, seconds=0.0, warm_up_seconds=0.0)


def spoil(flat: FlatModel) -> None:
    """Fill the gradient of each parameter, as an earlier step does; padding stays zero."""
    for parameter in flat.model.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(7.0)


def accumulate(
    flat: FlatModel, images: Tensor, labels: Tensor, batch: Tensor, cut: int, mean: bool
) -> None:
    """Compute the gradient of a batch (B,) into the buffer of a single model."""
    alone(flat).accumulate(Labeled(images, labels), batch.unsqueeze(0), cut, mean, unheard)


def classifier(passes: Pass) -> Classifier:
    """Return the passes of a network as what classifies images."""
    assert isinstance(passes, Classifier)
    return passes


def evaluate_alone(flat: FlatModel, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    (figures,) = evaluate(classifier(alone(flat)), batches)
    return figures


def intercept(patch: pytest.MonkeyPatch, instead: Callable[..., None]) -> None:
    """Compute every gradient with `instead(real, images, labels, batch, cut, mean, heard)`.

    `real` is the original method; `batch` has the shape (R, B).
    """

    def patched(real: Callable[..., None]) -> Callable[..., None]:
        def accumulate(
            self: Any, samples: Labeled, batch: Tensor, cut: int, mean: bool, heard: Heard
        ) -> None:
            def original(images: Tensor, labels: Tensor, *more: Any) -> None:
                real(self, Labeled(images, labels), *more)

            instead(original, *samples, batch, cut, mean, heard)

        return accumulate

    for kind in (Explicit, Automatic):
        patch.setattr(kind, "accumulate", patched(kind.accumulate))


def set_gradients(model: nn.Module, images: Tensor, labels: Tensor, reduction: str) -> None:
    """Compute the gradient of the cross-entropy into `grad` of each ordinary parameter."""
    parameters = list(model.parameters())
    loss = functional.cross_entropy(model(images), labels, reduction=reduction)
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def naive_norm(tensors: Sequence[Tensor]) -> float:
    """Return the L2 norm over separate tensors, in float64."""
    return float(np.sqrt(sum(float((t.detach().double() ** 2).sum()) for t in tensors)))


# ---- events for folds: trials on digits


def configuration(
    batch_size: int,
    *,
    seeds: int = 1,
    name: str | None = None,
    lr: float = 0.1,
    model: Model = LINEAR,
    epochs: int | None = 4,
    seconds: float | None = None,
    probe: Probe | None = None,
) -> Configuration:
    train = Train(
        batch_size=batch_size,
        lr=lr,
        epochs=None if seconds is not None else epochs,
        seconds=seconds,
    )
    return Configuration(
        id=name or f"b{batch_size}",
        label=str(batch_size),
        settings=Settings(
            data=Data(name="digits"), model=model, train=train, probe=probe or Probe()
        ),
        seeds=tuple(range(seeds)),
    )


def opened(configurations: Iterable[Configuration]) -> list[AnyEvent]:
    return [
        ev.SweepOpened(
            id="sweep",
            preset="made-up",
            title="",
            question="",
            source="",
            configurations=tuple(configurations),
        ),
        conductor(at=0.0),
        ev.DataReady(name="digits", train=TRAIN_SIZE, test=360, shape=(1, 8, 8), digest=""),
    ]


def conductor(at: float) -> AnyEvent:
    return ev.ConductorStarted(at=at, pid=1, machine={})


def worker(number: int) -> AnyEvent:
    return ev.WorkerReady(
        worker=number,
        device="cpu",
        device_name="cpu",
        pid=number,
        threads=1,
        versions={},
        seconds=1.0,
    )


def started(of: Configuration, seed: int = 0, *, at: float = 0.0, attempt: int = 1) -> AnyEvent:
    train = of.settings.train
    batch_size = min(train.batch_size, TRAIN_SIZE)
    return ev.TrialStarted(
        at=at,
        trial=f"{of.id}-s{seed}",
        attempt=attempt,
        worker=0,
        device="cpu",
        batch_size=batch_size,
        micro_batch_size=batch_size,
        total_steps=planned_steps(train, TRAIN_SIZE, batch_size),
        steps_per_epoch=steps_per_epoch(TRAIN_SIZE, batch_size),
        parameters=650,
        init_norm=1.0,
        lr=train.lr,
    )


def ended(
    of: Configuration,
    seed: int = 0,
    *,
    at: float = 0.0,
    status: ev.TrialStatus = "finished",
    attempt: int = 1,
) -> AnyEvent:
    return ev.TrialEnded(at=at, trial=f"{of.id}-s{seed}", attempt=attempt, status=status)


def progress(
    of: Configuration, seed: int = 0, *, at: float = 0.0, steps: int, seconds: float = 0.0
) -> AnyEvent:
    return ev.Progress(
        at=at,
        trial=f"{of.id}-s{seed}",
        attempt=1,
        epoch=1,
        steps=steps,
        samples=0,
        seconds=seconds,
    )


def record(
    epoch: int,
    *,
    steps: int = 0,
    seconds: float = 1.0,
    epoch_samples: int = TRAIN_SIZE,
    test_loss: float | None = 0.5,
    test_accuracy: float = 0.9,
    norms: Sequence[ev.NormSlice] = (),
) -> ev.EpochRecord:
    return ev.EpochRecord(
        epoch=epoch,
        steps=steps,
        samples=epoch * TRAIN_SIZE,
        lr=0.1,
        train_loss=0.4,
        train_accuracy=0.95,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        seconds=seconds,
        epoch_samples=epoch_samples,
        weight_norm=1.0,
        distance_from_init=0.5,
        norms=tuple(norms),
    )


def epochs(of: Configuration, *records: ev.EpochRecord, seed: int = 0, at: float = 0.0) -> AnyEvent:
    return ev.EpochsFinished(at=at, trial=f"{of.id}-s{seed}", attempt=1, records=records)
