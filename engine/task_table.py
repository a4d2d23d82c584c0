"""The `[task]` table of a preset, and what running its function has shown.

The string under a field is its description in docs/presets.md.
"""

from typing import Annotated

from msgspec import Meta, Struct

from batchscope.engine.table import Fraction, Table


class TaskFacts(Struct, frozen=True, kw_only=True):
    """What running a task's function once has shown; recorded before the first step.

    Attributes:
        train: number of training samples, with those that are held out.
        validation: number of validation samples that the task brings.
        test: number of test samples.
        weights: number of weights that are trained.
        metrics: names, each with whether `higher` or `lower` is better.
        batch_norm: whether a layer normalizes over the batch.
        random: whether the forward pass draws random numbers.
        sample_seconds: seconds of forward and backward pass of one sample.
        longest: numbers of the samples with the most elements; empty if all are alike.
        digests: modules that were imported from the task's folder, with their SHA-256.
        own_optimizer: whether it brings its optimizer, or groups of parameters for one.
        accepted: modules that were changed after the sweep began, with which it goes on.
        problem: why it cannot be trained; nothing else is known then.
        layers: names of the modules with weights of their own, as `layer` of a claim has them.
        classes: number of classes that it predicts; 0 if it does not say which.
    """

    train: int
    validation: int = 0
    test: int = 0
    weights: int = 0
    metrics: tuple[tuple[str, str], ...] = ()
    batch_norm: bool = False
    random: bool = False
    sample_seconds: float = 0.0
    longest: tuple[int, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()
    own_optimizer: bool = False
    accepted: tuple[str, ...] = ()
    problem: str = ""
    layers: tuple[str, ...] = ()
    classes: int = 0


Argument = bool | int | float | str | tuple[bool | int | float | str, ...]


class TaskTable(Table, frozen=True):
    """A person's own model, data and loss, in the place of `[data]` and `[model]`."""

    use: str
    """`module:function` of the function that returns a `batchscope.Task`."""
    path: str = ""
    """The folder that the module is imported from; without it the folder of the preset."""
    validation: Fraction = 0.0
    """Share of the training samples that is held out, where the task brings no validation data;
    0.1 with `[select]`."""
    loaders: Annotated[int, Meta(ge=0, le=64)] = 0
    """Processes that read the samples of a data set ahead, where reading them is slow; 0 reads each
    batch as it is needed. The results are the same, bit for bit. Tensors need none."""
    arguments: tuple[tuple[str, Argument], ...] = ()
    """Arguments of the function, written `[task.arguments]`; `task.NAME` in `[grid]` varies one."""
    facts: TaskFacts | None = None

    @property
    def name(self) -> str:
        """Return a name that tells tasks with other arguments apart: `mine:make(width=64)`."""
        given = ", ".join(f"{key}={value!r}" for key, value in self.arguments)
        return f"{self.use}({given})" if given else self.use
