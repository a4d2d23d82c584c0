"""Two noise scales: of the gradients, which is measured, and of SGD, which the settings determine.

The gradient noise scale is tr(Σ)/|G|², where both are averaged separately before the division.
McCandlish et al. 2018 (arXiv:1812.06162) call it B_simple: up to about this batch size, twice the
batch saves as much as twice the steps. It has the order of magnitude of the critical batch size.

Batches that never hold an image twice come from a finite population, the N training images. With
the covariance Σ of the gradients of single training images (N − 1 in the denominator), the mean
gradient g of b of them has E|g|² = |∇L_train|² + tr(Σ) (1/b − 1/N) (Cochran 1977, Sampling
Techniques, theorem 2.2, summed over the weights). However a batch of B images is divided, tr(Σ) ≈
B (p − q)/(k − 1) is therefore unbiased as it stands (`engine.training.instruments.noise_scale` has
p, q and k), but the signal q − tr(Σ)/B estimates |∇L_train|² − tr(Σ)/N. `Noise.of_training` adds
the tr(Σ)/N. If φ is the noise scale of the training set, `Noise.scale` is 1/(1/φ − 1/N): it
diverges as φ nears N, and beyond it is undetermined, while the corrected value stays finite.
With replacement there is no correction, and Σ has N in its denominator.

The noise scale of SGD says how strongly an optimizer perturbs the weights:
g = ε (N/B − 1) ÷ (1 − m) for a learning rate ε, N training images, batches of B and a momentum m
(Smith and Le 2017, arXiv:1710.06451, section 4, there without momentum; for B far below N it is
εN/(B(1 − m)), Smith et al. 2017, arXiv:1711.00489). It follows from the settings, while the
gradient noise scale is a property of the gradients, independent of the optimizer.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from batchscope.engine.data.validation_split import training_size
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.networks.architectures import has_batch_norm
from batchscope.engine.schedule.course import changing
from batchscope.engine.spec import Settings, Train

DEFINED = ("sgd", "momentum", "nesterov")
"""Optimizers that have a noise scale of SGD: the others divide by past gradients."""


def noise_scale(trace: float, signal: float) -> float | None:
    """Return the gradient noise scale in images.

    Args:
        trace: the estimate of tr(Σ), the trace of the covariance of single images' gradients.
        signal: the estimate of |G|².

    Returns:
        None where the estimate of |G|² is not positive, so that the ratio is undetermined.
    """
    if not (math.isfinite(trace) and math.isfinite(signal)) or signal <= 0:
        return None
    return trace / signal


def no_noise_scale(settings: Settings) -> str:
    """Return why these settings have no gradient noise scale; empty if they have one."""
    if has_batch_norm(settings.model):
        return "with batch norm, the gradient of a part of the batch is biased"
    if settings.train.batch_size < 2 and not changing(settings):
        return "a batch of one image cannot be split"
    return ""


class Noise(NamedTuple):
    """Means of tr(Σ) and |G|² over so many measured steps (`draws`)."""

    trace: float
    signal: float
    draws: int

    @property
    def scale(self) -> float | None:
        """The gradient noise scale in images; None where it is undetermined."""
        return noise_scale(self.trace, self.signal) if self.draws else None

    def of_training(self, train_size: float) -> "Noise":
        """Return the same with |∇L_train|² of `train_size` images as the signal; `inf` adds 0."""
        return self._replace(signal=train_signal(self.trace, self.signal, train_size))


def train_signal(trace: float, signal: float, train_size: float) -> float:
    """Return the estimate of |∇L_train|², the squared gradient of the loss on all images.

    Args:
        trace: the estimate of tr(Σ).
        signal: the estimate of |∇L_train|² − tr(Σ)/N from batches without replacement.
        train_size: N; `inf` for batches with replacement, whose signal needs no correction.
    """
    return signal + trace / train_size


def population(state: SweepState, trial: TrialState) -> float | None:
    """Return the number of images that the batches of a trial are drawn from.

    It is `inf` where they are drawn with replacement, and None before the data are known. Images
    that are held out for validation do not count.
    """
    if trial.settings.train.sampling == "with-replacement":
        return math.inf
    data = state.data.get(trial.settings.data.name)
    return None if data is None else training_size(trial.settings.data, data.train)


class NoisePairs(NamedTuple):
    """The noise of a trial: as its batches show it, and that of its training set.

    Both are pairs (trace, signal) whose ratio is a noise scale, for Fieller's interval over the
    seeds. `of_training` is None before the data are known.
    """

    of_batches: Noise
    of_training: Noise | None


def noise_pairs(
    state: SweepState, trial: TrialState, start: float = 0.0, stop: float = 1.0
) -> NoisePairs | None:
    """Return trace and signal of a trial, uncorrected and corrected for the finite training set.

    Args:
        state: the sweep.
        trial: one of its trials.
        start, stop: the share of the planned steps, as in `noise_over`.

    Returns:
        None where nothing was measured.
    """
    noise, size = noise_over([trial], start, stop), population(state, trial)
    if not noise.draws:
        return None
    return NoisePairs(noise, None if size is None else noise.of_training(size))


def noise_of_training(state: SweepState, trial: TrialState) -> Noise | None:
    """Return the noise of the training set over a whole trial; None where it is not known."""
    pairs = noise_pairs(state, trial)
    return pairs.of_training if pairs else None


def noise_over(trials: Iterable[TrialState], start: float = 0.0, stop: float = 1.0) -> Noise:
    """Return all measurements of gradient noise in a share of the planned steps, over all trials.

    An epoch counts by its last step: if `start` < share <= `stop`.
    """
    trace = signal = count = 0.0
    for trial in trials:
        if not any(trial.records.column("noise_draws")):
            continue
        names = ("steps", "noise_draws", "noise_trace", "noise_signal")
        planned = trial.planned_steps
        for steps, n, t, s in zip(*map(trial.records.column, names), strict=True):
            share = steps / planned if planned else 0.0
            if n and (start < share <= stop or (start, stop) == (0.0, 1.0)):
                trace, signal, count = trace + n * t, signal + n * s, count + n
    return Noise(trace / count, signal / count, int(count)) if count else Noise(0.0, 0.0, 0)


def noise_scale_growth(_: SweepState, trial: TrialState) -> float | None:
    """Return the noise scale of the second half of the planned steps ÷ that of the first half.

    None if one of them is undetermined.
    """
    first, second = noise_over([trial], 0.0, 0.5).scale, noise_over([trial], 0.5, 1.0).scale
    return second / first if first and second is not None else None


def sgd_noise_scale(train: Train, lr: float, batch_size: int, train_size: int) -> float | None:
    """Compute Smith and Le's noise scale g at a learning rate and a batch size.

    ε is the rate of the mean gradient: a loss that is summed over the batch multiplies it by B. Of
    N images drawn with replacement the −1 is left out: it applies to batches that never hold an
    image twice, so that the whole set has no noise.

    Returns:
        None for optimizers that divide by past gradients.
    """
    if train.optimizer not in DEFINED:
        return None
    momentum = 0.0 if train.optimizer == "sgd" else train.momentum
    rate = lr * batch_size if train.loss_reduction == "sum" else lr
    drawn = 0 if train.sampling == "with-replacement" else 1
    return rate * (train_size / min(batch_size, train_size) - drawn) / (1 - momentum)


def noise_of_sgd(state: SweepState, trial: TrialState) -> float | None:
    """Return g at the initial learning rate and batch size of a trial."""
    return sgd_noise_at(state, trial, trial.started.lr if trial.started else None, trial.batch_size)


def sgd_noise_at(
    state: SweepState, trial: TrialState, lr: float | None, batch_size: int
) -> float | None:
    """Return g of a trial at some learning rate and batch size; None before its data are known."""
    data = state.data.get(trial.settings.data.name)
    if lr is None or data is None or (data.task and data.task.own_optimizer):
        return None
    size = training_size(trial.settings.data, data.train)
    return sgd_noise_scale(trial.settings.train, lr, batch_size, size)
