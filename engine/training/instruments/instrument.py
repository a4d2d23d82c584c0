"""The interface of an instrument: an object that measures one quantity during a training.

The training step (`trainer.train_step`) and the checkpoints (`trainer.snapshot`) use instruments
only through this class, and loop over the list of `instruments.catalog`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from batchscope.engine.spec import Settings
from batchscope.engine.training.model.layer_windows import LayerWindow


@dataclass(frozen=True, slots=True)
class BatchParts:
    """Gradients of the parts of one batch, as the gradient noise scale needs them.

    Attributes:
        squares: Σ bᵢ|gᵢ|² over parts of bᵢ samples with the mean gradient gᵢ, shape (R,), float64.
        count: number of parts.
    """

    squares: Tensor
    count: int


@dataclass(frozen=True, slots=True)
class WeightedParts:
    """Gradients of the parts of a task's batch; see `weighted_parts`.

    Attributes:
        spread: (count − 1) · tr(C), shape (1,), float64.
        count: number of parts.
        divisor: what the gradient buffer is divided by to be the weighted mean.
    """

    spread: Tensor
    count: int
    divisor: float | Tensor


@dataclass(slots=True)
class Step:
    """One optimizer step, as instruments see it.

    Attributes:
        number: counted from 1 over the whole training.
        slot: position of the step in the present slice of steps, from 0.
        samples: samples of its batch; the last batch of an epoch may have fewer than others.
        batch_size: the batch size of the training's course at this step.
        lr: learning rate.
        scale: factor on the sum of the samples' gradients: 1 ÷ `samples` for a mean loss, else 1.
        descends: whether the step computes the norms of its gradients without the buffer: plain SGD
            on few samples, which never stores gradients, or a step of a task.
        has_gradient: whether the gradient buffer holds the gradient of this batch; where the step
            descends, only if an instrument needs it.
        parts: the parts of the gradient, where an instrument needs them.
        norms: gradient norms (R,), or the only one, where the step computed them by itself.
    """

    number: int
    slot: int
    samples: int
    batch_size: int
    lr: float
    scale: float
    descends: bool = False
    has_gradient: bool = True
    parts: BatchParts | WeightedParts | None = None
    norms: Tensor | float | None = None


@dataclass(frozen=True, slots=True)
class TrainingView:
    """What instruments are built from; R replicates with P weights each.

    Attributes:
        settings: the settings that all replicates share.
        weights: shape (R, P), moved by each step.
        start_weights: their values before the first step.
        gradient: shape (R, P), written by each step that has a gradient.
        layers: the layers of the network.
        slice_steps: the most steps of a slice.
        epoch_steps: the most steps of an epoch.
        total_steps: steps of the whole training; None where the budget is one of seconds.
        descends: whether steps may have no gradient (plain SGD on few samples).
        plain: whether each update is the gradient times the rate, as in SGD without momentum.
    """

    settings: Settings
    weights: Tensor
    start_weights: Tensor
    gradient: Tensor
    layers: tuple[LayerWindow, ...]
    slice_steps: int
    epoch_steps: int
    total_steps: int | None
    descends: bool
    plain: bool = False

    @property
    def replicates(self) -> int:
        """R, the number of replicates."""
        return len(self.weights)


class Instrument:
    """Measures one quantity of each replicate; the methods here do nothing.

    Methods that a step calls must not wait for the device, and must not change weights, gradient
    or random state. A step calls only those that a subclass defines.

    Attributes:
        NAME: key of its state in a checkpoint.
        step_bytes: memory in bytes that a step which measures takes beyond other steps.
    """

    NAME: ClassVar[str]
    step_bytes: int = 0

    def needs_gradient(self, step: Step) -> bool:
        """Return whether the gradient must be computed at a step that would do without."""
        return False

    def needs_parts(self, step: Step) -> bool:
        """Return whether the gradient must be computed in parts, which are `step.parts` then."""
        return False

    def before_step(self, step: Step) -> None:
        """Measure before the weights are updated; the gradient exists if `step.has_gradient`."""

    def after_step(self, step: Step) -> None:
        """Measure after the weights were updated."""

    def end_slice(self) -> None:
        """Summarize the steps since the last slice; may wait for the device."""

    def end_epoch(self) -> None:
        """Reset the epoch's measurements; `fields` was called before."""

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return the epoch's measurements of a replicate, as fields of `EpochRecord`."""
        return {}

    def held(self) -> list[Tensor]:
        """Return the tensors that the instrument keeps from step to step."""
        return []

    def state(self) -> dict[str, Any]:
        """Return the state between two steps, for a checkpoint: tensors, numbers, lists, bytes."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""


def overridden(instruments: list[Instrument], method: str) -> list[Any]:
    """Return the bound method of each instrument that overrides it."""
    return [
        getattr(each, method)
        for each in instruments
        if getattr(type(each), method) is not getattr(Instrument, method)
    ]
