"""The training step: gradients, their norms, update of the weights, for all replicates at once."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from batchscope.engine.networks.architectures import has_batch_norm, images_together
from batchscope.engine.planning.batch_norm import largest_cut, pieces
from batchscope.engine.planning.plan import Plan
from batchscope.engine.schedule.budget import steps_per_epoch
from batchscope.engine.schedule.course import Course, Stage
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import Images
from batchscope.engine.training.data_parallel.leader import Team
from batchscope.engine.training.instruments.grad_norms import Lengths
from batchscope.engine.training.instruments.noise_scale import (
    NoiseAccumulator,
    NoiseScale,
    estimates,
    first_part,
    two_parts,
)
from batchscope.engine.training.instruments.weight_travel import Descent, Travel
from batchscope.engine.training.model.cuda_graph import Replay
from batchscope.engine.training.model.passes import Explicit, Heard, unheard
from batchscope.engine.training.model.stack import Stack
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.trainer.optimizers import build_optimizer

SLICES_PER_RUN = 20


class Stepper:
    """All that the steps of R replicates need on a device, from their initial weights on.

    With a `team`, of one replicate, every batch is divided among several workers.

    Attributes:
        stack: weights and gradients.
        course: batch size and learning rate at every step.
        stage: what holds of it now.
        rates: what the optimizer was set up with.
        lr: learning rate of the last step.
        lengths: gradient norms of the slice under way.
        per_epoch, total_steps: steps of an epoch at the batch size of `[train]`, and of the budget
            where it is known.
    """

    def __init__(
        self,
        members: Sequence[Trial],
        plan: Plan,
        images: Images,
        device: torch.device,
        team: Team | None = None,
    ) -> None:
        settings, self._images, self._team = members[0].settings, images, team
        self.stack = Stack(members, plan, device)
        self.start_weights = self.stack.copy_weights()
        self.course = Course(settings, images.train_size)
        self.stage, self.rates = self.course.start, self.course.rates
        self.lr = self.rates.lr
        self._train = settings.train
        self.optimizer = build_optimizer(self.stack.weights, self._train, self.rates)
        self.per_epoch = steps_per_epoch(images.train_size, plan.batch_size)
        self.total_steps = self.course.total_steps
        possible, replicates = not has_batch_norm(settings.model), len(members)
        self.noise = NoiseScale(device, possible, self.stage.batch_size, replicates)
        self._most = self.course.most_steps_an_epoch
        self._plain = settings.train.optimizer == "sgd" and not settings.train.weight_decay
        self.lengths = Lengths(self.stack.gradient, self._slice_steps())
        self.travel: Travel | Descent = Descent(self.lengths)
        if not self._plain:
            self.travel = Travel(self.stack.weights.detach(), self._most, self.total_steps)
        self._replay: Replay | None = None
        if device.type == "cuda" and isinstance(self.stack.passes, Explicit) and team is None:
            self._replay = Replay(self._take, self.stack.gradient, self.stack.buffers)
        self._start_travel = self.travel.state()
        self._start_buffers = [buffer.clone() for buffer in self.stack.buffers]
        self._mean = settings.train.loss_reduction == "mean"
        self.micro_batch_size = plan.micro_batch_size
        self._counts = pieces(settings, plan.batch_size, images.train_size)
        self._together = images_together(settings.model)

    @property
    def slice_steps(self) -> int:
        """Steps of a slice of norms: within an epoch, and within a twentieth of the run."""
        return len(self.lengths)

    def enter(self, stage: Stage) -> None:
        """Go on at another stage of the course."""
        self.stage = stage
        self.noise.follow(stage.batch_size)

    def step(
        self, batch: Tensor, number: int, filled: int, samples: int = 0, seconds: float = 0.0
    ) -> bool:
        """Step `number` (from 1) on the images `batch` (R, B); its norms are kept at `filled`.

        `samples` images were seen before it, in `seconds` of training.

        Where memory runs out the gradient is begun anew with half the micro-batch, as often as it
        takes, from the same buffers; returns whether that happened. The weights have not been
        touched until then.
        """
        self._set_rate(number, samples, seconds)
        few = self.stack.passes.few if self._team is None else 0
        if self._plain and batch.shape[1] <= min(self.micro_batch_size, few):
            self._descend(batch, number, filled)
            return False
        buffers = [buffer.clone() for buffer in self.stack.buffers]
        cut = False
        while not self._has_gradient(batch, number):
            for buffer, kept in zip(self.stack.buffers, buffers, strict=True):
                buffer.copy_(kept)
            if batch.is_cuda:
                torch.cuda.empty_cache()
            cut = True
        self.update(filled)
        return cut

    def take_back(self) -> None:
        """Put all but the micro-batch size, which memory allows, to what it was before step 1."""
        self.stack.weights.detach().copy_(self.start_weights)
        for buffer, kept in zip(self.stack.buffers, self._start_buffers, strict=True):
            buffer.copy_(kept)
        # anew: what an optimizer keeps may be there from its making on, as Adagrad's of torch 2.11
        self.optimizer = build_optimizer(self.stack.weights, self._train, self.rates)
        self.travel.load(self._start_travel)
        self.noise.end_epoch()

    def gradient(self, batch: Tensor, number: int = 0) -> None:
        """Leave the gradients of a batch (R, B) in `stack.gradient`.

        At some steps of a training, which begin at `number` 1, the noise scale is measured
        meanwhile; the gradient is the same to the last bit.
        """
        count = batch.shape[1]
        if self._team is not None:
            self._divide(self._team, batch, bool(number) and self.noise.due(number, count))
        elif not (number and self.noise.due(number, count)):
            take = self._take
            if self._replay is not None and count <= self.micro_batch_size:
                take = self._replay.take
            take(batch)
        elif count > self.micro_batch_size:
            parts = NoiseAccumulator(self.stack.gradient, self._scale(count))
            self._accumulate(batch, self._mean, parts.add)
            self.noise.add(parts.estimates(count))
        else:
            size = first_part(count)
            self._accumulate(batch[:, :size], mean=False)
            first = self.stack.gradient.clone()
            self._accumulate(batch, self._mean)
            gradient, scale = self.stack.gradient, self._scale(count)
            self.noise.add(two_parts(first, gradient, size, count, scale))

    def _divide(self, team: Team, batch: Tensor, measured: bool) -> None:
        """Leave the gradient of a batch (1, B) of which each of the team has its share.

        Where the noise scale is `measured`, the shares are the parts that tell it.
        """
        gradient, count = self.stack.gradient, batch.shape[1]
        scale = self._scale(count)
        squares = team.gradient(
            self.stack.weights.detach(),
            gradient,
            batch,
            cut=self.micro_batch_size,
            own=partial(self._accumulate, mean=False),
            measured=measured,
        )
        if scale != 1.0:
            gradient.mul_(scale)
        if squares is not None:
            self.noise.add(estimates(squares, gradient, scale, team.parts(count), count))

    def _descend(self, batch: Tensor, number: int, filled: int) -> None:
        """A step whose gradients are nowhere, but where the noise scale wants them."""
        if self.noise.due(number, batch.shape[1]):
            self.gradient(batch, number)
        images, labels = self._images.train, self._images.train_labels
        norms = self.stack.passes.descend(images, labels, batch, self._mean, self.lr)
        self.lengths.put(filled, norms)
        self.travel.after_step(filled, self.lr)

    def recording_seconds(self) -> float:
        """Seconds that were spent on recording steps since this was last asked."""
        return self._replay.taken_seconds() if self._replay is not None else 0.0

    def _take(self, batch: Tensor) -> None:
        self._accumulate(batch, self._mean)

    def _accumulate(self, batch: Tensor, mean: bool, heard: Heard = unheard) -> None:
        images, labels = self._images.train, self._images.train_labels
        self.stack.passes.accumulate(images, labels, batch, self.micro_batch_size, mean, heard)

    def _scale(self, count: int) -> float:
        """What the sum over so many samples is multiplied by."""
        return 1.0 / count if self._mean else 1.0

    def update(self, filled: int) -> None:
        """Take the norms of the gradients, and move the weights by them."""
        self.lengths.take(filled)
        self.travel.before_step()
        self.optimizer.step()
        self.travel.after_step(filled, self.lr)

    @property
    def noise_bytes(self) -> int:
        """What a step that measures the noise scale holds beyond others."""
        return self.stack.gradient.nbytes if self.noise.possible else 0

    def held(self) -> list[Tensor]:
        """Every tensor that is kept from step to step, data left out."""
        states = self.optimizer.state.values()
        kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        own = [self.stack.weights.detach(), self.stack.gradient, self.start_weights]
        instruments = [*self.travel.held(), *self.noise.held()]
        return [
            *own,
            self.lengths.kept,
            *kept,
            *instruments,
            *self.stack.buffers,
            *self._start_buffers,
        ]

    def distance(self, replicate: int) -> float:
        """L2 distance of a replicate's weights from its initial ones."""
        away = self.stack.weights.detach()[replicate] - self.start_weights[replicate]
        return float(torch.linalg.vector_norm(away))

    def _has_gradient(self, batch: Tensor, number: int) -> bool:
        """Whether there was memory enough; what the failed attempt held is gone afterwards."""
        try:
            self.gradient(batch, number)
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
            for group in self.optimizer.param_groups:
                group["lr"] = lr

    def _slice_steps(self) -> int:
        if self.total_steps is None:
            return self._most
        return max(1, min(self._most, self.total_steps // SLICES_PER_RUN))
