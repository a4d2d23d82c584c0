"""Groups of replicates that are trained as one stack, with their events."""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec
import torch
from msgspec.structs import replace
from torch import Tensor

from batchscope.engine.journal.events import (
    AnyEvent,
    EpochRecord,
    EpochsFinished,
    Note,
    Predicted,
    Probed,
    TrialEnded,
    TrialStarted,
)
from batchscope.engine.planning.plan import Plan, make_plan
from batchscope.engine.spec import Model, Probe, Train, Trial
from batchscope.engine.training.batches import Images
from batchscope.engine.training.cancellation import PauseGate
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.state import TrainingState
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.training_fixtures import SMALL_MLP, make_trial, never, untimed

IsHalted = Callable[[], bool]


def trial_of(model: Model = SMALL_MLP, **more: object) -> Trial:
    names = ("scaling", "memory", "probe", "schedule", "phases")
    tables = {key: more.pop(key) for key in names if key in more}
    train = {"batch_size": 16, "lr": 0.1, "epochs": 3, **more}
    return make_trial(msgspec.convert(train, Train), model, **tables)  # type: ignore[arg-type]


SEEDS = (0, 1, 2)
NORMED = Model(name="mlp", hidden=(9,), batch_norm=True)
CNN = Model(name="cnn", channels=(3, 4), hidden=(7,))
PROBE = Probe(at=(0.0, 0.5, 1.0), batch_sizes=(2, 5), draws=2, pairs=((2, 4),), pair_draws=2)
WIDE = Model(name="mlp", hidden=(1200,))  # two replicates of it, and more, keep no gradients
CASES = {  # sixteen steps of four epochs, or eight with batch norm
    "sgd": trial_of(epochs=4),
    "adam": trial_of(epochs=4, optimizer="adam", lr=0.003),
    "batch norm": trial_of(NORMED, epochs=4, batch_size=25, optimizer="momentum", lr=0.02),
    "cnn": trial_of(CNN, epochs=4, optimizer="momentum", lr=0.02),
    "without gradients": trial_of(WIDE, epochs=4, lr=0.02),
    "bf16": trial_of(epochs=4, precision="bf16"),
    "probed": trial_of(epochs=4, probe=PROBE),
}


def replicate(trial: Trial, seed: int) -> Trial:
    return replace(trial, id=f"trial-s{seed}", seed=seed)


def after(calls: int) -> IsHalted:
    """Return a check that is true after that number of calls."""
    count = itertools.count(1)
    return lambda: next(count) > calls


class Group:
    """Replicates of a trial with these seeds, trained until all have ended.

    `hook` is called with the training at every question whether to halt, the first time before
    the first step, with the number of the question from 1 on.
    """

    def __init__(
        self,
        trial: Trial,
        images: Images,
        seeds: Sequence[int] = (0, 1, 2),
        *,
        active: Sequence[int] | None = None,
        layout: str = "",
        halted: IsHalted = never,
        pause: PauseGate | None = None,
        dropped: Callable[[], Collection[str]] = tuple,
        hook: Callable[[TrainingState, int], None] | None = None,
        folder: Path | None = None,
        attempt: int = 1,
    ) -> None:
        members = tuple(replicate(trial, seed) for seed in seeds)
        self.names = [member.id for member in members]
        alone = make_plan(trial, images.train_size, threads=1)
        plan: Plan = replace(alone, members=tuple(self.names), layout=layout or alone.layout)
        names = self.names if active is None else [f"trial-s{seed}" for seed in active]
        job = TrainingJob(members, tuple(names), plan, attempt, 0, "cpu", folder, "digest")
        self.events: list[AnyEvent] = []
        asked = itertools.count(1)

        def look() -> bool:
            if hook is not None:
                hook(self.training, next(asked))
            return halted()

        trainer = Trainer(job, images, self.events.append, look, pause, dropped)
        self.training = trainer.training
        trainer.run()

    def of(self, seed: int) -> list[AnyEvent]:
        """Return the events of a member without notes, and check that its end is the last."""
        name = f"trial-s{seed}"
        found = [e for e in self.events if getattr(e, "trial", "") == name]
        found = [e for e in found if not isinstance(e, Note)]
        assert [isinstance(e, TrialEnded) for e in found].index(True) == len(found) - 1
        assert isinstance(found[0], TrialStarted)
        return found

    def ended(self, seed: int) -> TrialEnded:
        last = self.of(seed)[-1]
        assert isinstance(last, TrialEnded)
        return last

    def started(self, seed: int) -> TrialStarted:
        first = self.of(seed)[0]
        assert isinstance(first, TrialStarted)
        return first

    def records(self, seed: int) -> list[EpochRecord]:
        """Return its epochs without times, and without memory, which all members share."""
        return [
            replace(untimed(record), peak_memory_bytes=0)
            for event in self.of(seed)
            if isinstance(event, EpochsFinished)
            for record in event.records
        ]

    def probes(self, seed: int) -> list[Probed]:
        return [replace(e, seconds=0.0) for e in self.of(seed) if isinstance(e, Probed)]

    def weights(self, seed: int) -> Tensor:
        row = self.names.index(f"trial-s{seed}")
        return self.training.stepper.stack.members[row].copy_weights()

    def figures(self, seed: int) -> tuple[object, ...]:
        """Return all that must have the same bits whichever other members there are."""
        ended = self.ended(seed)
        predicted = [(e.steps, e.packed) for e in self.of(seed) if isinstance(e, Predicted)]
        return ended.status, ended.reason, self.records(seed), self.probes(seed), predicted


def learnable(images: Images) -> Images:
    """Ten kinds of images in noise, which can be learnt in some steps."""
    kinds = torch.randn((10, 1, 8, 8), generator=torch.Generator().manual_seed(5))
    return dataclasses.replace(
        images,
        train=images.train + kinds[images.train_labels],
        test=images.test + kinds[images.test_labels],
    )


def equal_bits(one: Tensor, other: Tensor) -> bool:
    """Also if both are NaN."""
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def poisoned(row: int, steps: int) -> Callable[[TrainingState, int], None]:
    """After a number of steps one weight of a replicate becomes NaN."""

    def hook(training: TrainingState, _: int) -> None:
        if training.at.steps == steps:
            training.stepper.stack.weights.detach()[row, 0] = float("nan")

    return hook


class Probing:
    """Recognizes when the second member is probed: after the first, at the same moment."""

    def __init__(self, share: float, draws: int) -> None:
        self._share, self._draws = share, draws
        self._questions = 0

    def due(self, training: TrainingState) -> bool:
        """Return whether that number of checks were made since then."""
        self._questions += training.active[0].has_probed(self._share)
        return self._questions >= self._draws
