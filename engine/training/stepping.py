"""The training step: gradient, its norm, update of the weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.batch_norm import largest_cut, pieces
from engine.budget import steps_per_epoch
from engine.course import Course, Stage
from engine.datasets import DATASETS
from engine.plan import Plan
from engine.spec import Trial
from engine.training.flat import FlatModel
from engine.training.gradients import accumulate
from engine.training.images import Images
from engine.training.memory import ran_out
from engine.training.models import build_model
from engine.training.noise import NoiseScale, Parts, first_part, two_parts
from engine.training.optim import build_optimizer
from engine.training.travel import Travel

SLICES_PER_RUN = 20


class Stepper:
    """All that a trial's steps need on a device, from its initial weights on.

    Attributes:
        flat: weights and gradient.
        course: batch size and learning rate at every step.
        stage: what holds of it now.
        rates: what the optimizer was set up with.
        lr: learning rate of the last step.
        norms: shape (slice_steps,), gradient norms of the slice under way.
        per_epoch, total_steps: steps of an epoch at the batch size of `[train]`, and of the budget
            where it is known.
    """

    def __init__(self, trial: Trial, plan: Plan, images: Images, device: torch.device) -> None:
        settings, self._images = trial.settings, images
        dataset = DATASETS[settings.data.name]
        model = build_model(settings.model, dataset, trial.seed)
        self.flat = FlatModel(model, device, precision=plan.precision)
        self.start_weights = self.flat.copy_weights()
        self.course = Course(settings, images.train_size)
        self.stage, self.rates = self.course.start, self.course.rates
        self.lr = self.rates.lr
        self.optimizer = build_optimizer(self.flat.weights, settings.train, self.rates)
        self.per_epoch = steps_per_epoch(images.train_size, plan.batch_size)
        self.total_steps = self.course.total_steps
        self.noise = NoiseScale(device, not settings.model.batch_norm, self.stage.batch_size)
        self._most = self.course.most_steps_an_epoch
        self.travel = Travel(self.flat.weights.detach(), self._most, self.total_steps)
        self.norms = torch.zeros(self._slice_steps(), device=device)
        self._mean = settings.train.loss_reduction == "mean"
        self.micro_batch_size = plan.micro_batch_size
        self._counts = pieces(settings, plan.batch_size, images.train_size)

    @property
    def slice_steps(self) -> int:
        """Steps of a slice of norms: within an epoch, and within a twentieth of the run."""
        return len(self.norms)

    def enter(self, stage: Stage) -> None:
        """Go on at another stage of the course."""
        self.stage = stage
        self.noise.follow(stage.batch_size)

    def step(
        self, batch: Tensor, number: int, filled: int, samples: int = 0, seconds: float = 0.0
    ) -> bool:
        """Step `number` (from 1) on the images `batch` (B,); its norm becomes `norms[filled]`.

        `samples` images were seen before it, in `seconds` of training.

        Where memory runs out the gradient is begun anew with half the micro-batch, as often as it
        takes, from the same buffers and random state; returns whether that happened. The weights
        have not been touched until then.
        """
        self._set_rate(number, samples, seconds)
        buffers = [buffer.clone() for buffer in self.flat.model.buffers()]
        random = self._random_state()
        cut = False
        while not self._has_gradient(batch, number):
            self._cut(buffers, random)
            cut = True
        self.update(filled)
        return cut

    def gradient(self, batch: Tensor, number: int = 0) -> None:
        """Leave the gradient of a batch in `flat.gradient`.

        At some steps of a training, which begin at `number` 1, the noise scale is measured
        meanwhile; the gradient is the same to the last bit.
        """
        if not (number and self.noise.due(number, len(batch))):
            self._accumulate(batch, self._mean)
        elif len(batch) > self.micro_batch_size:
            parts = Parts(self.flat.gradient, self._scale(batch))
            self._accumulate(batch, self._mean, parts.add)
            self.noise.add(parts.estimates(len(batch)))
        else:
            size = first_part(len(batch))
            self._accumulate(batch[:size], mean=False)
            first = self.flat.gradient.clone()
            self._accumulate(batch, self._mean)
            gradient, scale = self.flat.gradient, self._scale(batch)
            self.noise.add(two_parts(first, gradient, size, len(batch), scale))

    def _accumulate(
        self, batch: Tensor, mean: bool, heard: Callable[[int], None] | None = None
    ) -> None:
        images, labels = self._images.train, self._images.train_labels
        accumulate(self.flat, images, labels, batch, self.micro_batch_size, mean, heard)

    def _scale(self, batch: Tensor) -> float:
        """What the sum over a batch is multiplied by."""
        return 1.0 / len(batch) if self._mean else 1.0

    def update(self, filled: int) -> None:
        """Take the norm of the gradient, and move the weights by it."""
        self.norms[filled] = self.flat.norm()
        self.travel.before_step()
        self.optimizer.step()
        self.travel.after_step()

    @property
    def noise_bytes(self) -> int:
        """What a step that measures the noise scale holds beyond others."""
        return self.flat.gradient.nbytes if self.noise.possible else 0

    def held(self) -> list[Tensor]:
        """Every tensor that is kept from step to step, data left out."""
        states = self.optimizer.state.values()
        kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        own = [self.flat.weights.detach(), self.flat.gradient, self.start_weights, self.norms]
        instruments = [*self.travel.held(), *self.noise.held()]
        return [*own, *kept, *instruments, *self.flat.model.buffers()]

    def distance(self) -> float:
        """L2 distance of the weights from the initial ones."""
        return float(torch.linalg.vector_norm(self.flat.weights.detach() - self.start_weights))

    def _has_gradient(self, batch: Tensor, number: int) -> bool:
        """Whether there was memory enough; what the failed attempt held is gone afterwards."""
        try:
            self.gradient(batch, number)
        except (RuntimeError, MemoryError) as error:
            half = -(-min(self.micro_batch_size, len(batch)) // 2)
            smaller = largest_cut(half, self._counts)
            if not ran_out(error) or smaller is None or min(self.micro_batch_size, len(batch)) == 1:
                raise
            self.micro_batch_size = smaller
            return False
        return True

    def _cut(self, buffers: list[Tensor], random: Tensor) -> None:
        for buffer, kept in zip(self.flat.model.buffers(), buffers, strict=True):
            buffer.copy_(kept)
        if self.flat.gradient.is_cuda:
            torch.cuda.set_rng_state(random, self.flat.gradient.device)
            torch.cuda.empty_cache()
        else:
            torch.set_rng_state(random)

    def _random_state(self) -> Tensor:
        """What the device draws from."""
        if self.flat.gradient.is_cuda:
            return torch.cuda.get_rng_state(self.flat.gradient.device)
        return torch.get_rng_state()

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
