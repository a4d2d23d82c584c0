"""Time the training steps of batchscope itself.

Only this module of the benchmarks uses internals of `engine.training`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from contenders import now
from msgspec.structs import replace
from torch import Tensor
from workload import LR, NETWORKS, Work

from batchscope.engine.journal.events import AnyEvent, TrialEnded
from batchscope.engine.planning.micro_batch import choose_micro_batch
from batchscope.engine.planning.plan import Plan, make_plan
from batchscope.engine.spec import Data, Settings, Train, Trial
from batchscope.engine.training.batches import Images
from batchscope.engine.training.instruments.grad_norms import GradientNorms
from batchscope.engine.training.instruments.instrument import Step
from batchscope.engine.training.instruments.noise_scale import every
from batchscope.engine.training.instruments.weight_distance import WeightDistance
from batchscope.engine.training.jobs.micro_batch_bench import Bench
from batchscope.engine.training.model.layers import Linear
from batchscope.engine.training.model.passes import _loss_gradient
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.trainer import Trainer

EPOCHS = 20
"""Epochs of all images, so that the instruments' slices and samples are as in a real run."""
PLENTY = 1 << 40
Change = Callable[[Trainer], None]


def as_it_is(trainer: Trainer) -> None:
    """Do not change the training."""


class Stopwatch:
    """Measures the time of the counted steps; called before each step, it says whether to end.

    Before the second step it calls `change`, since the first step may be undone.
    """

    def __init__(
        self, warm: int, steps: int, device: torch.device, change: Callable[[], None]
    ) -> None:
        self._first, self._last, self._device = warm + 1, warm + steps + 1, device
        self._asked, self._began, self.seconds = 0, 0.0, 0.0
        self._change = change

    def __call__(self) -> bool:
        self._asked += 1
        if self._asked == 2:
            self._change()
        if self._asked == self._first:
            self._began = now(self._device)
        elif self._asked == self._last:
            self.seconds = now(self._device) - self._began
        return self._asked >= self._last


def whole_periods(work: Work) -> int:
    """Round the steps up to whole periods of the noise scale."""
    period = every(work.batch_size)
    return -(-work.steps // period) * period


def plan_of(work: Work, threads: int, seconds: float, replicates: int = 1) -> Plan:
    """Return the plan of replicates; its micro-batch is measured within a number of seconds."""
    torch.set_num_threads(threads)
    trials, images = _trials(work, replicates), _images(work)
    whole = make_plan(trials[0], images.train_size, threads)
    whole = replace(whole, members=tuple(trial.id for trial in trials))
    bench = Bench(trials, whole, images, work.device, PLENTY)
    choice = choose_micro_batch(whole.batch_size, bench.shapes(seconds), PLENTY, bench.held_bytes)
    assert choice is not None
    cut = choice.micro_batch_size
    return replace(whole, micro_batch_size=cut, accumulation_steps=-(-whole.batch_size // cut))


def train(work: Work, plan: Plan, steps: int, change: Change = as_it_is) -> float:
    """Return the seconds per step of a real training, including the evaluation of one image.

    The timing covers `steps` steps after the first epoch, as one epoch if there are enough images.
    `change` may modify the training after its first step.
    """
    work = dataclasses.replace(work, per_epoch=min(steps, work.stock.size // work.batch_size))
    trials = _trials(work, len(plan.members))
    warm = work.per_epoch + 3
    watch = Stopwatch(warm, steps, work.device, lambda: change(trainer))
    heard: list[AnyEvent] = []
    job = TrainingJob(
        tuple(trials), plan.members, plan, attempt=1, worker=0, device=str(work.device)
    )
    trainer = Trainer(job, _images(work), heard.append, watch)
    trainer.run()
    ended = [event for event in heard if isinstance(event, TrialEnded)]
    assert all(event.status == "stopped" for event in ended), ended
    return watch.seconds / steps


def _trials(work: Work, count: int) -> list[Trial]:
    passes = EPOCHS * work.stock.size / (work.per_epoch * work.batch_size)
    settings = Settings(
        data=Data(name="mnist"),
        model=NETWORKS[work.network],
        train=Train(batch_size=work.batch_size, lr=LR, epochs=math.ceil(passes)),
    )
    return [Trial(id=f"b-s{n}", configuration="b", seed=n, settings=settings) for n in range(count)]


def _images(work: Work) -> Images:
    """Return the images of a short epoch, as scattered in memory as in a whole epoch."""
    whole = work.stock.images
    return Images(
        train=whole.train,
        train_labels=whole.train_labels,
        test=whole.test,
        test_labels=whole.test_labels,
        train_part=whole.train_part,
        trained=work.drawn().to(work.device),
    )


# ---- without instruments


class _NoNorms(GradientNorms):
    """Keeps no norm of any gradient."""

    def before_step(self, step: Step) -> None:
        """Measure nothing."""

    def after_step(self, step: Step) -> None:
        """Measure nothing."""


def remove_instruments(trainer: Trainer) -> None:
    """Remove the instruments that run in every step; those at the end of an epoch stay."""
    stepper: Any = trainer.training.stepper
    weights, gradient = stepper.stack.weights.detach(), stepper.stack.gradient
    stepper.use([_NoNorms(gradient, 1), WeightDistance(weights, stepper.start_weights)])
    stepper.held = list
    passes = stepper.stack.passes
    passes.descend = lambda *of, **named: _descend(passes, *of, **named)


@torch.no_grad()
def _descend(
    passes: Any, images: Tensor, labels: Tensor, batch: Tensor, mean: bool, lr: float
) -> None:
    """Take the step of `Explicit.descend` without the norms that come out of it."""
    x, layers = passes._gathered(images, batch), passes._layers
    for layer in layers:
        x = layer.forward(x, True)
    d = _loss_gradient(x, labels, batch, 1.0 / batch.shape[1] if mean else 1.0)
    for index in range(len(layers) - 1, -1, -1):
        layer, needed = layers[index], index > 0
        if isinstance(layer, Linear):
            before = torch.bmm(d, layer._weight) if needed else d
            if layer._bias is not None:
                layer._bias.sub_(d.sum(1, keepdim=True), alpha=lr)
            layer._weight.baddbmm_(d.transpose(1, 2), layer._x, alpha=-lr)
            d = before
        else:
            d = layer.backward(d, needed, False)
