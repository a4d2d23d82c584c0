"""Measures the sharpness of a network's minimum, and leaves the network as it was."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from batchscope.engine.devices.devices import Device, memory_of
from batchscope.engine.formatting import shown_size
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import Images
from batchscope.engine.training.instruments.box_maximum import Climb, Space, Subspace, Vector, climb
from batchscope.engine.training.instruments.frozen_batches import standing_still
from batchscope.engine.training.model.flat_model import FlatModel, windows
from batchscope.engine.training.peak_memory import ran_out

SHARE_OF_MEMORY = 0.5
"""Of what the machine has to give, the most that a subspace may take: others train beside it."""


class SharpnessResult(NamedTuple):
    """What was found, on how many images, in how many seconds, and whether memory ran out.

    `dimensions` is that of the subspace that was searched, None for the full space.
    """

    climb: Climb
    dimensions: int | None
    samples: int
    seconds: float
    cut: bool


class SharpnessMeter:
    """Climbs from the present weights of a trial's network.

    The loss is the mean cross-entropy over a fixed part of the training images, in evaluation
    mode: batch norm goes by its running statistics, since a loss at given weights must not depend
    on how the images are cut. `go_on` is called before each micro-batch and may raise.
    """

    def __init__(
        self,
        trial: Trial,
        plan: Plan,
        flat: FlatModel,
        images: Images,
        go_on: Callable[[], None],
    ) -> None:
        self._asked, self._seed = trial.settings.sharpness, trial.seed
        self._flat, self._images, self._go_on = flat, images, go_on
        self._part = images.part(self._asked.samples)
        self._windows = list(windows(flat.model.parameters()))
        self._lengths = [parameter.numel() for parameter in flat.model.parameters()]
        self._threads = plan.threads
        self._cut = max(plan.micro_batch_size, plan.draw_micro_batch_size)

    @property
    def micro_batch_size(self) -> int:
        """Samples in memory at once."""
        return self._cut

    def measure(self, epsilon: float) -> SharpnessResult:
        """What is found in the box of that half-width; begun anew in halves without memory."""
        import scipy.optimize  # noqa: F401 (loading it takes time that is not the search's)

        began, cut = time.perf_counter(), False
        while True:
            try:
                climb = self._climb(epsilon)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self._cut == 1:
                    raise
            else:
                took = time.perf_counter() - began
                return SharpnessResult(climb, self._dimensions, len(self._part), took, cut)
            cut, self._cut = True, -(-self._cut // 2)
            if self._flat.gradient.is_cuda:
                torch.cuda.empty_cache()

    def _climb(self, epsilon: float) -> Climb:
        flat = self._flat
        short = self._short_of_memory()
        if short:
            return Climb(None, None, 0, 0, short)
        gradient = flat.gradient.clone()
        try:
            # as many threads as the plan says: the order of sums depends on their number
            with threadpool_limits(self._threads, "blas"), standing_still(flat):
                flat.model.eval()
                x = self._gathered(flat.weights)
                return climb(self._evaluate, x, epsilon, self._asked.iterations, self._space(x))
        finally:
            flat.model.train()
            flat.gradient.copy_(gradient)

    @property
    def _dimensions(self) -> int | None:
        """Those of the subspace; as many as there are weights, or more, are the full space."""
        asked = self._asked.dimensions
        return None if asked is None or asked >= sum(self._lengths) else asked

    def _short_of_memory(self) -> str:
        """Why a subspace cannot be had, or nothing: its matrix lies beside what is planned."""
        if self._dimensions is None:
            return ""
        needed = Subspace.bytes_of(sum(self._lengths), self._dimensions)
        there = memory_of(Device("cpu", "")).available
        if there is None or needed <= there * SHARE_OF_MEMORY:
            return ""
        return (
            f"a subspace of {self._dimensions} dimensions takes {shown_size(needed)} of memory, "
            f"and half of what is free is {shown_size(int(there * SHARE_OF_MEMORY))}"
        )

    def _space(self, x: Vector) -> Space | None:
        if self._dimensions is None:
            return None
        return Subspace(len(x), self._dimensions, self._seed)

    def _evaluate(self, x: Vector) -> tuple[float, Vector]:
        """Loss and gradient (n,) at weights (n,), rounded to float32 as all weights are."""
        flat, images = self._flat, self._images
        self._scatter(x)
        flat.gradient.zero_()
        total = torch.zeros((), dtype=torch.float64, device=flat.gradient.device)
        for some in torch.split(self._part, self._cut):
            self._go_on()
            logits = flat.logits(images.train[some])
            losses = functional.cross_entropy(logits, images.train_labels[some], reduction="none")
            (losses.sum() / len(self._part)).backward()  # type: ignore[no-untyped-call]
            total += losses.detach().double().sum()
        return float(total) / len(self._part), self._gathered(flat.gradient)

    def _gathered(self, buffer: Tensor) -> Vector:
        """The true weights of a buffer (P,), gaps left out: shape (n,)."""
        parts = [buffer.detach()[window] for window in self._windows]
        return torch.cat(parts).cpu().numpy().astype(np.float64)

    def _scatter(self, x: Vector) -> None:
        weights = self._flat.weights.detach()
        whole = torch.from_numpy(x).to(weights.device, weights.dtype)
        for window, part in zip(self._windows, torch.split(whole, self._lengths), strict=True):
            weights[window].copy_(part)
