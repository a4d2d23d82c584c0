"""Measures the sharpness of a network's minimum, and restores the network."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from batchscope.engine.devices.devices import Device, memory_of
from batchscope.engine.formatting import shown_size
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.instruments.box_maximum import (
    BoxMaximum,
    Space,
    Subspace,
    Vector,
    find_maximum,
)
from batchscope.engine.training.instruments.frozen_batches import frozen_weights
from batchscope.engine.training.instruments.mean_loss import mean_loss
from batchscope.engine.training.model.flat_model import FlatModel, windows
from batchscope.engine.training.model.modes import evaluating
from batchscope.engine.training.peak_memory import ran_out

SHARE_OF_MEMORY = 0.5
"""The most of the free memory that a subspace may take, because other trials need some."""


class SharpnessResult(NamedTuple):
    """The sharpness in one box.

    Attributes:
        maximum: the result of the search.
        dimensions: dimensions of the subspace that was searched; None for the full space.
        samples: number of samples in the loss.
        seconds: time of the search.
        cut: whether memory ran out and the micro-batch was halved.
    """

    maximum: BoxMaximum
    dimensions: int | None
    samples: int
    seconds: float
    cut: bool


class SharpnessMeter:
    """Measures the sharpness at the present weights of a trial's network.

    The loss is the mean over a fixed part of the training samples in evaluation mode: cross-entropy
    of images, or the loss of a task. Batch norm uses its running statistics, so that the loss does
    not depend on how the samples are divided into micro-batches.

    Args:
        trial: the trial, with its `[sharpness]` settings and its seed.
        plan: micro-batch size and threads.
        flat: the network.
        images: the data set.
        check_cancelled: called before each micro-batch; it may wait or raise.
    """

    def __init__(
        self,
        trial: Trial,
        plan: Plan,
        flat: FlatModel,
        images: TrainingData,
        check_cancelled: Callable[[], None],
    ) -> None:
        self._settings, self._seed = trial.settings.sharpness, trial.seed
        self._flat = flat
        self._loss = mean_loss(flat, images, self._settings.samples, check_cancelled)
        self._windows = list(windows(flat.trained()))
        self._lengths = [parameter.numel() for parameter in flat.trained()]
        self._threads = plan.threads
        self._cut = max(plan.micro_batch_size, plan.draw_micro_batch_size)

    @property
    def micro_batch_size(self) -> int:
        """The number of samples in one forward and backward pass."""
        return self._cut

    def measure(self, epsilon: float) -> SharpnessResult:
        """Return the sharpness in the box of half-width `epsilon`.

        If memory runs out, the micro-batch is halved and the search starts again.
        """
        import scipy.optimize  # noqa: F401 (loading it takes time that is not the search's)

        began, cut = time.perf_counter(), False
        while True:
            try:
                maximum = self._maximize(epsilon)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self._cut == 1:
                    raise
            else:
                took = time.perf_counter() - began
                return SharpnessResult(maximum, self._dimensions, self._loss.size, took, cut)
            cut, self._cut = True, -(-self._cut // 2)
            if self._flat.gradient.is_cuda:
                torch.cuda.empty_cache()

    def _maximize(self, epsilon: float) -> BoxMaximum:
        flat, iterations = self._flat, self._settings.iterations
        problem = self._memory_problem()
        if problem:
            return BoxMaximum(None, None, 0, 0, problem)
        gradient = flat.gradient.clone()
        try:
            # the plan fixes the number of threads, because the order of sums depends on it
            limits = threadpool_limits(self._threads, "blas")
            with limits, frozen_weights(flat), evaluating(flat.model):
                x = self._gathered(flat.weights)
                return find_maximum(self._evaluate, x, epsilon, iterations, self._space(x))
        finally:
            flat.gradient.copy_(gradient)

    @property
    def _dimensions(self) -> int | None:
        """The dimensions of the subspace; None for the full space, with as many as weights."""
        wanted = self._settings.dimensions
        return None if wanted is None or wanted >= sum(self._lengths) else wanted

    def _memory_problem(self) -> str:
        """Return why the matrix of the subspace does not fit in memory, or an empty string."""
        if self._dimensions is None:
            return ""
        needed = Subspace.bytes_of(sum(self._lengths), self._dimensions)
        free = memory_of(Device("cpu", "")).available
        if free is None or needed <= free * SHARE_OF_MEMORY:
            return ""
        return (
            f"a subspace of {self._dimensions} dimensions takes {shown_size(needed)} of memory, "
            f"more than half of what is free ({shown_size(int(free * SHARE_OF_MEMORY))})"
        )

    def _space(self, x: Vector) -> Space | None:
        if self._dimensions is None:
            return None
        return Subspace(len(x), self._dimensions, self._seed)

    def _evaluate(self, x: Vector) -> tuple[float, Vector]:
        """Compute loss and gradient (n,) at weights (n,), which are rounded to float32 first."""
        self._scatter(x)
        loss = self._loss.gradient(self._cut)
        return loss, self._gathered(self._flat.gradient)

    def _gathered(self, buffer: Tensor) -> Vector:
        """Return the entries of a buffer (P,) without its gaps, shape (n,)."""
        parts = [buffer.detach()[window] for window in self._windows]
        return torch.cat(parts).cpu().numpy().astype(np.float64)

    def _scatter(self, x: Vector) -> None:
        """Copy weights (n,) into the buffer of the network."""
        weights = self._flat.weights.detach()
        whole = torch.from_numpy(x).to(weights.device, weights.dtype)
        for window, part in zip(self._windows, torch.split(whole, self._lengths), strict=True):
            weights[window].copy_(part)
