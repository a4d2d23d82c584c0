"""The training step: gradients, instruments, and the update of the weights, for all replicates."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from batchscope.engine.networks.architectures import images_together
from batchscope.engine.planning.batch_norm import largest_cut, pieces
from batchscope.engine.planning.plan import Plan
from batchscope.engine.schedule.budget import steps_per_epoch
from batchscope.engine.schedule.course import Course, Stage
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.data_parallel.leader import Team
from batchscope.engine.training.instruments.catalog import build_instruments
from batchscope.engine.training.instruments.grad_norms import GradientNorms
from batchscope.engine.training.instruments.instrument import (
    BatchParts,
    Instrument,
    Step,
    TrainingView,
    WeightedParts,
    overridden,
)
from batchscope.engine.training.model.layer_windows import layer_windows, named_windows
from batchscope.engine.training.model.stack import Stack
from batchscope.engine.training.model.task_pass import TaskPass
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer.batch_gradient import BatchGradient
from batchscope.engine.training.trainer.optimizers import Optimizer, build_optimizer, task_optimizer

SLICES_PER_RUN = 20
UNMEASURED = 2
"""The number of a step that no sampling instrument measures; they all measure step 1 first."""


class Stepper:
    """Takes the optimizer steps of R replicates on a device, starting at their initial weights.

    Args:
        members: the replicates, which differ only in their seeds.
        plan: micro-batch size, threads and precision.
        images: the data set.
        device: where to train.
        team: the workers that divide every batch of a single replicate; None for one worker.

    Attributes:
        settings: the settings that all replicates share.
        stack: weights (R, P) and gradients (R, P).
        course: batch size and learning rate at every step.
        stage: the part of the course that the present step belongs to.
        rates: learning rate and optimizer constants after scaling, with which the optimizer began.
        lr: learning rate of the last step.
        highest_lr: the highest so far; None after a checkpoint of an earlier version.
        layers: the layers of the network.
        instruments: the instruments that measure the steps.
        empty_batches: batches of a task that had no weight, and so took no step.
        slice_steps: the most steps of a slice of gradient norms.
        per_epoch: steps of an epoch at the batch size of `[train]`.
        total_steps: steps of the budget; None if unknown.
    """

    def __init__(
        self,
        members: Sequence[Trial],
        plan: Plan,
        images: TrainingData,
        device: torch.device,
        team: Team | None = None,
    ) -> None:
        self.settings, self._images = members[0].settings, images
        settings = self.settings
        self._task = images if isinstance(images, TaskDataset) else None
        self.stack = Stack(members, plan, device, self._task)
        self.start_weights = self.stack.copy_weights()
        self.course = Course(settings, images.train_size)
        self.stage, self.rates = self.course.start, self.course.rates
        self.lr = self.rates.lr
        self.highest_lr: float | None = 0.0
        self._train = settings.train
        self.optimizer = self._new_optimizer()
        self._rate_shares = self._shares_of_rate()
        self.per_epoch = steps_per_epoch(images.train_size, plan.batch_size, self.course.joins)
        self.total_steps = self.course.total_steps
        self.slice_steps = self._slice_steps()
        self._mean = settings.train.loss_reduction == "mean"
        self._gradient = BatchGradient(self.stack, images, plan.micro_batch_size, self._mean, team)
        plain = settings.train.optimizer == "sgd" and not settings.train.weight_decay
        if self._task is not None and (self._task.task.optimizer or self._task.task.parameters):
            plain = False
        self._few = self.stack.passes.few if plain and team is None else 0
        name = layer_windows if self._task is None else named_windows
        self.layers = name(self.stack.members[0].model)
        self.use(
            build_instruments(
                TrainingView(
                    settings=settings,
                    weights=self.stack.weights.detach(),
                    start_weights=self.start_weights,
                    gradient=self.stack.gradient,
                    layers=tuple(self.layers),
                    slice_steps=self.slice_steps,
                    epoch_steps=self.course.most_steps_an_epoch,
                    total_steps=self.total_steps,
                    plain=plain,
                    descends=self.course.start.batch_size <= min(self._few, self.micro_batch_size),
                )
            )
        )
        self._start_states = self.instrument_states()
        self._start_buffers = [buffer.clone() for buffer in self.stack.buffers]
        self.empty_batches = 0
        self._counts = pieces(settings, images.train_size)
        self._together = images_together(settings.model)

    def _shares_of_rate(self) -> list[float]:
        """Return the rate of each group of parameters as a multiple of the training's rate.

        A task may give a group a rate of its own, which then follows the same course.
        """
        lr = self.rates.lr
        return [group.get("lr", lr) / lr for group in self.optimizer.param_groups]

    def _new_optimizer(self) -> Optimizer:
        """Return a new optimizer; that of a task updates each parameter by itself."""
        if self._task is None:
            return build_optimizer([self.stack.weights], self._train, self.rates)
        return task_optimizer(self._task.task, self.stack.members[0], self._train, self.rates)

    @property
    def brings_optimizer(self) -> bool:
        """Whether a task brings the optimizer."""
        return self._task is not None and self._task.task.optimizer is not None

    def use(self, instruments: list[Instrument]) -> None:
        """Measure later steps with these instruments only."""
        self.instruments = instruments
        self._need_gradient = overridden(instruments, "needs_gradient")
        self._need_parts = overridden(instruments, "needs_parts")
        self._before_step = overridden(instruments, "before_step")
        self._after_step = overridden(instruments, "after_step")

    @property
    def micro_batch_size(self) -> int:
        """The most samples in one forward and backward pass."""
        return self._gradient.micro_batch_size

    @micro_batch_size.setter
    def micro_batch_size(self, size: int) -> None:
        self._gradient.micro_batch_size = size

    @property
    def norms(self) -> GradientNorms:
        """The instrument that measures the gradient norm of every step."""
        return next(each for each in self.instruments if isinstance(each, GradientNorms))

    def step(
        self, batch: Tensor, number: int, slot: int, samples: int = 0, seconds: float = 0.0
    ) -> bool:
        """Take one step, and return whether memory ran out in it.

        If it runs out, the micro-batch is halved and the gradient computed again from the same
        buffers, until it fits. The weights move only after that.

        Args:
            batch: indices of the images, shape (R, B).
            number: number of the step, from 1.
            slot: position of the step in the present slice, from 0.
            samples: samples used before this step, if the course depends on them.
            seconds: seconds of training before this step, if the course depends on them.
        """
        self._set_rate(number, samples, seconds)
        if self._task is not None:
            self._task.stream = (number,)
        count = batch.shape[1]
        step = self._describe(number, slot, count)
        if count <= min(self.micro_batch_size, self._few):
            self._descend(batch, step)
            return False
        if self._task is not None:
            self._choose_buffer(step)
        buffers = [buffer.clone() for buffer in self.stack.buffers]
        cut = False
        while not self._has_gradient(batch, step):
            for buffer, kept in zip(self.stack.buffers, buffers, strict=True):
                buffer.copy_(kept)
            if batch.is_cuda:
                torch.cuda.empty_cache()
            cut = True
        if isinstance(self.stack.passes, TaskPass):
            self.stack.passes.gathers = True  # for whoever asks for a gradient between two steps
            if not step.has_gradient and self._after_step:
                step.norms = self.stack.passes.norm()
        self.update(step)
        return cut

    def undo_first_step(self) -> None:
        """Undo step 1, except for a micro-batch size that was halved for lack of memory."""
        self.stack.weights.detach().copy_(self.start_weights)
        for buffer, kept in zip(self.stack.buffers, self._start_buffers, strict=True):
            buffer.copy_(kept)
        # built again, because some optimizers (Adagrad) create their state when they are built
        self.optimizer, self.empty_batches = self._new_optimizer(), 0
        self.load_instrument_states(self._start_states)

    def gradient(self, batch: Tensor, parts: bool = False) -> BatchParts | WeightedParts | None:
        """Compute the gradients of a batch into `stack.gradient`.

        Args:
            batch: indices of the images, shape (R, B).
            parts: whether to measure parts of the batch too; the gradient has the same bits.

        Returns:
            The parts, or None.
        """
        return self._gradient.compute(batch, parts)

    def _choose_buffer(self, step: Step) -> None:
        """Have a task's gradient copied into the buffer if an instrument of this step reads it."""
        passes = self.stack.passes
        assert isinstance(passes, TaskPass)
        single = step.samples <= self.micro_batch_size and not self.stack.weights.is_cuda
        step.has_gradient = not single or self._reads_gradient(step)
        step.descends = not step.has_gradient
        passes.gathers = step.has_gradient

    def _reads_gradient(self, step: Step) -> bool:
        """Return whether an instrument reads the gradient buffer in this step."""
        return any(needs(step) for needs in self._need_gradient)

    def _descend(self, batch: Tensor, step: Step) -> None:
        """Take a step of plain SGD without storing gradients, unless an instrument needs them."""
        step.descends = True
        step.has_gradient = self._reads_gradient(step)
        if step.has_gradient:
            self._measure_gradient(batch, step)
        for measure in self._before_step:
            measure(step)
        step.norms = self.stack.passes.descend(self._images.samples, batch, self._mean, self.lr)
        for measure in self._after_step:
            measure(step)

    def enter(self, stage: Stage) -> None:
        """Continue with another stage of the course."""
        self.stage = stage

    def recording_seconds(self) -> float:
        """Return the seconds spent on recording CUDA graphs since the last call."""
        return self._gradient.recording_seconds()

    def _measure_gradient(self, batch: Tensor, step: Step) -> None:
        parts = False
        for needs in self._need_parts:
            parts = parts or needs(step)
        step.parts = self.gradient(batch, parts)

    def update(self, step: Step) -> None:
        """Update the weights with the gradients, and call all instruments."""
        if self._task is not None and not self._has_weight():
            return
        for measure in self._before_step:
            measure(step)
        self.optimizer.step()
        for measure in self._after_step:
            measure(step)

    def _has_weight(self) -> bool:
        """Return whether the batch of a task has a weight; without one it takes no step."""
        passes = self.stack.passes
        assert isinstance(passes, TaskPass)
        weighs = passes.weighs()
        self.empty_batches += not weighs
        return weighs

    def unmeasured(self, samples: int) -> Step:
        """Return a `Step` of `samples` samples that no sampling instrument measures."""
        return self._describe(UNMEASURED, 0, samples)

    def _describe(self, number: int, slot: int, samples: int) -> Step:
        return Step(
            number, slot, samples, self.stage.batch_size, self.lr, self._gradient.scale(samples)
        )

    def end_slice(self) -> None:
        """End the slice of steps: have each instrument summarize it."""
        for instrument in self.instruments:
            instrument.end_slice()

    def end_epoch(self) -> None:
        """End the epoch: have each instrument reset its measurements."""
        for instrument in self.instruments:
            instrument.end_epoch()

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return the epoch's measurements of a replicate, as fields of `EpochRecord`."""
        return {
            name: value
            for instrument in self.instruments
            for name, value in instrument.fields(replicate).items()
        }

    def instrument_states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each instrument by its name."""
        return {each.NAME: each.state() for each in self.instruments}

    def load_instrument_states(self, states: dict[str, dict[str, Any]]) -> None:
        """Load the states of instruments; an instrument without a state keeps its own."""
        for instrument in self.instruments:
            if instrument.NAME in states:
                instrument.load(states[instrument.NAME])

    @property
    def instrument_bytes(self) -> int:
        """Additional bytes that a step takes in which an instrument measures."""
        return max((each.step_bytes for each in self.instruments), default=0)

    def held(self) -> list[Tensor]:
        """Return every tensor that stays in memory between steps, without the data set."""
        states = self.optimizer.state.values()
        kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        own = [self.stack.weights.detach(), self.stack.gradient, self.start_weights]
        measured = [tensor for each in self.instruments for tensor in each.held()]
        return [*own, *kept, *measured, *self.stack.buffers, *self._start_buffers]

    def _has_gradient(self, batch: Tensor, step: Step) -> bool:
        """Try to compute the gradient; if memory runs out, halve the micro-batch, return False."""
        try:
            self._measure_gradient(batch, step)
        except (RuntimeError, MemoryError) as error:
            size = min(self.micro_batch_size, batch.shape[1])
            smaller = largest_cut(-(-size // 2), self._counts, self._together)
            if not ran_out(error) or smaller is None or size == 1:
                raise
            self.micro_batch_size = smaller
            return False
        return True

    def _set_rate(self, step: int, samples: int, seconds: float) -> None:
        lr = self.course.rate(self.stage, step - 1, samples, seconds)
        if lr != self.lr or step == 1:
            self.lr = lr
            if self.highest_lr is not None:
                self.highest_lr = max(self.highest_lr, lr)
            for group, share in zip(self.optimizer.param_groups, self._rate_shares, strict=True):
                group["lr"] = lr * share

    def _slice_steps(self) -> int:
        """Return the steps of a slice of norms: at most an epoch and a twentieth of the run."""
        most = self.course.most_steps_an_epoch
        if self.total_steps is None:
            return most
        return max(1, min(most, self.total_steps // SLICES_PER_RUN))
