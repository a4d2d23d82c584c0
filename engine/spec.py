"""The settings of an experiment: the tables of a preset as types.

A preset is expanded into *configurations* (with every setting fixed), and each configuration into
*trials*, one per seed. No default here depends on the machine or the data; what a machine decides
is in the numeric plan (`engine.planning.plan`).

The string under a field is its description in docs/presets.md.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchscope.engine.formatting import parse_size
from batchscope.engine.table import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Share,
    Table,
)
from batchscope.engine.task_table import TaskFacts, TaskTable

Precision = Literal["fp32", "bf16"]

MAX_TRIALS = 100_000
Within = Annotated[float, Meta(gt=0, lt=1)]
Factor = Annotated[float, Meta(gt=1, le=1e6)]
HalfWidth = Annotated[float, Meta(gt=0, le=1e6)]
Along = Annotated[float, Meta(ge=-1e6, le=1e6)]


class Data(Table, frozen=True):
    """The images to train on; the share `validation` of the training images is held out."""

    name: str
    """The data set. `digits` is included; the others are downloaded once, or read from
    `--data-dir`."""
    validation: Fraction = 0.0
    """Share of the training images that is held out for validation; 0.1 with `[select]`."""


class Model(Table, frozen=True):
    """Which network to train, and the keys that it leaves open.

    The families in `engine.networks` define the valid names and the keys that each network takes. A
    preset is checked against them when it is read. `None` means the network's own default.
    """

    name: str
    """Which network; the table of networks below says which keys each of them takes."""
    hidden: tuple[PositiveInt, ...] | None = None
    """Widths of the fully connected hidden layers."""
    channels: Annotated[tuple[PositiveInt, ...], Meta(min_length=1)] | None = None
    """Output channels of the convolutions."""
    init: Literal["default", "glorot", "he"] = "default"
    """Initial weights: the network's own (torch's or torchvision's), Glorot 2010 or He 2015."""
    batch_norm: bool = False
    """Batch norm between each hidden layer and its ReLU; some networks always have it."""
    ghost_batch_size: Annotated[int, Meta(ge=2, le=2**53)] | None = None
    """Batch norm normalizes over groups of so many images (ghost batch norm, Hoffer et al. 2017),
    so that gradients do not depend on the micro-batch size; needs batch norm. Without it the group
    is the micro-batch."""
    width: Annotated[float, Meta(gt=0, le=8)] = 1.0
    """Multiplies the channels of a network with fixed channels."""


class Train(Table, frozen=True):
    """How to train: the batch size, the optimizer and one budget.

    A target ends the training early; it is checked `target_checks` times per epoch.

    With `bf16` the forward and backward passes use torch's automatic casting to bfloat16; weights,
    gradients, losses and updates stay float32.
    """

    batch_size: PositiveInt
    """Images per optimizer step; required here, in `[grid]` or in every one of `[[cells]]`."""
    lr: PositiveFloat
    """Learning rate before scaling; required here, in `[grid]` or in every one of `[[cells]]`."""
    epochs: PositiveInt | None = None
    """Budget in epochs. Exactly one of epochs, steps, samples and seconds is required."""
    steps: PositiveInt | None = None
    """Budget in optimizer steps."""
    samples: PositiveInt | None = None
    """Budget in images that the optimizer sees."""
    seconds: PositiveFloat | None = None
    """Budget in seconds of training, without evaluation."""
    target_accuracy: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Accuracy that ends a training before its budget: on the validation images if there are any,
    else on the test set. Excludes target_loss."""
    target_loss: PositiveFloat | None = None
    """Loss in nats that ends a training before its budget. Excludes target_accuracy."""
    target_metric: str | None = None
    """The metric of a target on any metric: `accuracy`, `loss`, or one of a task, by its name in
    `Task(metrics=…)`. Whether higher or lower is better is what `Task(better=…)` says; needs
    target_value and excludes the other targets."""
    target_value: float | None = None
    """Value of `target_metric` that ends a training before its budget; accuracy is a fraction."""
    target_checks: PositiveInt = 1
    """How many times per epoch the target is checked, evenly spaced; needs a target."""
    optimizer: Literal["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"] = "sgd"
    """The optimizer, with torch's defaults except for the keys here."""
    momentum: Fraction = 0.9
    """Momentum of momentum and nesterov (above 0 for nesterov); ignored by the others."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty; decoupled weight decay in adamw."""
    loss_reduction: Literal["mean", "sum"] = "mean"
    """Whether the gradient is that of the mean loss of a batch, or of the sum."""
    sampling: Literal["without-replacement", "with-replacement"] = "without-replacement"
    """Whether an epoch is a permutation of the images, or as many independent draws."""
    precision: Precision = "fp32"
    """bf16: forward and backward pass in bfloat16, weights and updates in float32."""


class Scaling(Table, frozen=True):
    """How the learning rate depends on the batch size, and its warmup."""

    rule: Literal["none", "linear", "sqrt", "adam-sqrt"] = "none"
    """linear multiplies the rate by batch size ÷ base batch size, sqrt by its square root;
    adam-sqrt, for adam and adamw, also changes betas and epsilon (Malladi et al. 2022)."""
    base_batch_size: PositiveInt | None = None
    """Batch size that `train.lr` is meant for, in images; required by every rule except none."""
    max_lr: PositiveFloat | None = None
    """Highest learning rate after scaling."""
    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs of a linear warmup of the rate: from the unscaled rate, or without scaling from 0. It
    must end within the budget, and before a step or phase changes the rate."""


class Schedule(Table, frozen=True):
    """How learning rate and batch size change over the budget; `engine.schedule.course` has the
    rules.

    `step`: at each of the shares `at` of the budget, the rate is divided by `factor`, or the batch
    size is multiplied by it, up to `max_batch_size`; the rest of the factor then divides the rate.
    `cosine`: the rate decreases to `final_lr_share` of itself. Over `batch_warmup_epochs` the batch
    size grows from `batch_warmup_start` by doubling. Keys that a kind does not use have no effect.
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    """How the rate changes over the budget."""
    at: Annotated[tuple[Within, ...], Meta(max_length=32)] = ()
    """Increasing shares of the budget at which a step happens; required by step."""
    factor: Factor | None = None
    """What each step divides the rate by, or multiplies the batch size by; required by step."""
    by: Literal["lr", "batch"] = "lr"
    """Whether a step lowers the rate or raises the batch size (Smith et al. 2017)."""
    max_batch_size: PositiveInt | None = None
    """Largest batch size, in images; the rest of the factor divides the rate. For by = "batch"."""
    final_lr_share: Share = 0.0
    """Share of the rate at the end of cosine."""
    batch_warmup_epochs: NonNegativeFloat = 0.0
    """Epochs in which the batch size doubles from `batch_warmup_start` to its value; fewer than the
    budget."""
    batch_warmup_start: PositiveInt | None = None
    """Initial batch size in images, below batch_size; required by `batch_warmup_epochs`."""


class Phase(Table, frozen=True):
    """A change during training, at a share of the budget or after a number of epochs.

    From the first step that starts there, `lr` and `batch_size` replace the previous values.
    """

    at: Within | None = None
    """Share of the budget at which it begins. One of at and at_epoch is required."""
    at_epoch: PositiveFloat | None = None
    """Number of epochs after which it begins; less than the budget."""
    lr: PositiveFloat | None = None
    """Learning rate from then on, not scaled by a rule. Written in `set`."""
    batch_size: PositiveInt | None = None
    """Batch size from then on, in images. Written in `set`."""


class Memory(Table, frozen=True):
    """How a batch is divided into micro-batches; with `auto` the numeric plan decides.

    `limit` is the largest number of live tensor bytes on a device: `512MiB`, or bytes.
    """

    micro_batch_size: Literal["auto"] | PositiveInt = "auto"
    """Images in memory at once; auto chooses it by measuring before the first step."""
    limit: str | PositiveInt | None = None
    """Most bytes of live tensors on a device: a number of bytes, or a string such as "512MiB"."""

    @property
    def limit_bytes(self) -> int | None:
        """Return the limit in bytes; None without a limit."""
        return None if self.limit is None else parse_size(self.limit)


class Run(Table, frozen=True):
    """How trials share workers, and the machine while an epoch is timed.

    Replicates, which differ only in the seed, can be trained together as one stack: with `auto`
    measurements decide how many, a number is the most. Trials with a budget in seconds, with
    `bf16`, with timing `alone` or with data-parallel workers are never stacked.

    `data_parallel` workers train one trial together: each computes the gradient of its share of
    every batch, and the sum is the gradient of the step.
    """

    timing: Literal["shared", "alone"] = "shared"
    """alone: nothing else of the sweep runs while an epoch is timed, and nothing is stacked."""
    stack: Literal["auto", "never"] | PositiveInt = "auto"
    """Most replicates that are trained as one stack; auto decides by measuring."""
    data_parallel: Annotated[int, Meta(ge=1, le=64)] = 1
    """Workers among which every batch is divided, with the same gradient; not with batch norm."""
    keep_weights: bool = False
    """Store the final weights of every finished trial with the sweep; `--weights` exports them."""


class Probe(Table, frozen=True):
    """When the training is interrupted for measurements, and which batches are drawn for them.

    `at` are shares of the budget: 0 is before the first step, 1 after the last. At each of them
    `draws` batches of each of `batch_sizes` are drawn at the same weights (without sizes: of the
    trial's batch size). For each of `pairs` of a small and a large batch size, `pair_draws` times
    one step with the large batch is compared with successive steps of the small one on as many
    samples.
    """

    at: tuple[Share, ...] = ()
    """Shares of the budget: 0 before the first step, 1 after the last; required in `[probe]`."""
    batch_sizes: tuple[PositiveInt, ...] = ()
    """Sizes of the batches drawn, in images; without it the trial's batch size."""
    draws: Annotated[int, Meta(ge=2, le=1_000_000)] = 1000
    """Number of batches drawn of each size."""
    pairs: tuple[tuple[PositiveInt, PositiveInt], ...] = ()
    """Pairs of a small batch size and a multiple of it: several small steps against one large."""
    pair_draws: Annotated[int, Meta(ge=2, le=1_000_000)] = 100
    """How many times each pair is compared."""


class Sharpness(Table, frozen=True):
    """How sharp the minimum is in which a trial ends: Keskar et al. 2016, Metric 2.1.

    It is measured for each half-width `epsilon` of a box around the weights, on `samples` training
    images, with `iterations` iterations of L-BFGS-B, in the full space or in a random subspace with
    `dimensions` dimensions.
    """

    epsilon: Annotated[tuple[HalfWidth, ...], Meta(max_length=16)] = ()
    """Half-widths of the boxes, relative to 1 plus a weight's magnitude; without it nothing is
    measured."""
    samples: PositiveInt = 1000
    """Training images for the mean loss."""
    iterations: Annotated[int, Meta(ge=1, le=10_000)] = 10
    """Iterations of L-BFGS-B."""
    dimensions: PositiveInt | None = None
    """Dimensions of the random subspace to search; without it the full space."""


class Settings(Table, frozen=True):
    """Every setting of one configuration."""

    data: Data
    model: Model
    train: Train
    scaling: Scaling = Scaling()
    memory: Memory = Memory()
    run: Run = Run()
    probe: Probe = Probe()
    schedule: Schedule = Schedule()
    phases: tuple[Phase, ...] = ()
    sharpness: Sharpness = Sharpness()
    task: TaskTable | None = None

    @property
    def validates(self) -> bool:
        """Whether any samples are held out, or the task brings validation data."""
        facts = self.task.facts if self.task else None
        return self.data.validation > 0.0 or (facts is not None and facts.validation > 0)


def informed(settings: Settings, facts: TaskFacts) -> Settings:
    """Return the settings of a task with what running its function has shown."""
    assert settings.task is not None
    replace = msgspec.structs.replace
    data = replace(settings.data, validation=0.0) if facts.validation else settings.data
    model = replace(settings.model, batch_norm=facts.batch_norm)
    return replace(settings, task=replace(settings.task, facts=facts), data=data, model=model)


class Selection(Table, frozen=True):
    """The keys in which the candidates of `[select]` differ, and the criterion."""

    keys: tuple[str, ...]
    by: str = "validation_accuracy"
    """Criterion at the end of training: validation_accuracy, validation_loss, validation_NAME for a
    metric NAME of a task, or steps_to_target, which needs a target."""
    seeds_after: Annotated[int, Meta(ge=0)] = 0
    """Number of fresh seeds with which each chosen candidate is trained again and judged; 0 judges
    it on the seeds that chose it, which flatters it."""


class Configuration(Table, frozen=True):
    """Settings with a readable name; its trials are replicates, one per seed.

    `rivals` is the name of its group of candidates, or empty without `[select]`. `confirms` is the
    id of the chosen candidate that this configuration trains again with fresh seeds, or empty.
    """

    id: str
    label: str
    settings: Settings
    seeds: tuple[int, ...]
    rivals: str = ""
    confirms: str = ""


class Trial(Table, frozen=True):
    """One configuration with one seed."""

    id: str
    configuration: str
    seed: int
    settings: Settings

    @property
    def batch_size(self) -> int:
        """Return the batch size of the settings; the plan limits it to the training set."""
        return self.settings.train.batch_size


Selector = dict[str, Any]
"""Selects configurations: values by dotted key of the settings, or the `label`."""


class Claim(Table, frozen=True):
    """A statement about a sweep that its seeds can support or contradict.

    It is either a `trend` of the measure over the values of a setting, or a `relation` of `left` to
    `right` or to the number `value` (without `left`, of all configurations). `within` is the
    largest difference that still counts as equal. A measure of the probe is read at `at_share`, by
    default the last of `probe.at`; sharpness at `epsilon`, by default the first of
    `sharpness.epsilon`.
    """

    statement: str
    """The statement as a sentence; required."""
    measure: str
    """What is compared: a numeric column of `trials.csv`, or a named measure; required."""
    trend: Literal["increasing", "decreasing"] | None = None
    """How the measure changes from the lowest level of `over` to the highest. Excludes left,
    relation, right and value."""
    over: str | None = None
    """The setting with the levels of a trend; `probe.batch_sizes` and `probe.pairs` are levels
    within each training. Required by a trend."""
    left: Selector | None = None
    """Selects configurations, such as { batch_size = 64 }; with value it may be left out and means
    all."""
    relation: Literal["greater", "less", "equal"] | None = None
    """How left compares with right or value; required with either."""
    right: Selector | None = None
    """Selects the configurations that left is compared with. Excludes value."""
    value: float | None = None
    """Number that left is compared with; accuracies are fractions."""
    at_share: Share | None = None
    """Which of `probe.at` a measure of the probe is read at; without it the last."""
    within: PositiveFloat | None = None
    """Largest difference that counts as equal, in the unit of the measure; required by equal,
    and only allowed there."""
    epsilon: PositiveFloat | None = None
    """Which of `sharpness.epsilon` sharpness is read at; without it the first."""
    layer: str | None = None
    """Layer that `layer_norm_mean`, `layer_norm_cv` or `layer_norm_share` is read at, such as
    `conv1`; required by these measures. `layer_norms.csv` has the names."""


class Judging(Table, frozen=True):
    """How the claims of a sweep are judged together, and when a batch size is recommended."""

    correction: Literal["holm", "none"] = "holm"
    """Correction of the p values for the number of claims: `holm` (Holm 1979) keeps the chance of
    any false verdict at 5 %; `none` judges each claim alone, so several claims err more often."""
    within: Within = 0.005
    """Margin of the recommendation: a batch size is recommended only if its test accuracy is shown
    to be at most this much below that of every other one. 0.005 is half a point."""


class Interpolation(Table, frozen=True):
    """The straight line between the final weights of two configurations, seed by seed.

    Loss and accuracy are measured at (1 − α) · w_start + α · w_end, at `points` values of α from
    the first of `alpha` to the last (Goodfellow et al. 2015; Keskar et al. 2016, figure 3). `start`
    and `end` are ids of configurations. Training loss and accuracy are measured on `samples`
    images, by default as many as there are test images.
    """

    start: str
    """Selects the one configuration at α = 0, as in claims. Written `from`; required."""
    end: str
    """Selects the one configuration at α = 1, with the same data and model. Written `to`;
    required."""
    alpha: tuple[Along, Along] = (-1.0, 2.0)
    """First and last α."""
    points: Annotated[int, Meta(ge=2, le=1000)] = 25
    """Number of α, evenly spaced."""
    samples: Annotated[int, Meta(ge=2)] | None = None
    """Training images for loss and accuracy; without it as many as there are test images."""

    @property
    def alphas(self) -> tuple[float, ...]:
        """Return every α, evenly spaced."""
        (low, high), last = self.alpha, self.points - 1
        return tuple((low * (last - at) + high * at) / last for at in range(self.points))


def trials_of(configuration: Configuration) -> list[Trial]:
    """Return the replicates of a configuration in the order of their seeds."""
    return [
        Trial(
            id=f"{configuration.id}-s{seed}",
            configuration=configuration.id,
            seed=seed,
            settings=configuration.settings,
        )
        for seed in configuration.seeds
    ]


TABLES: dict[str, type[Table]] = {
    "data": Data,
    "model": Model,
    "train": Train,
    "scaling": Scaling,
    "memory": Memory,
    "run": Run,
    "probe": Probe,
    "schedule": Schedule,
    "sharpness": Sharpness,
    "task": TaskTable,
}
BUDGETS = ("epochs", "steps", "samples", "seconds")
