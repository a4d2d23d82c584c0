"""What a person asks for: the tables of a preset as typed values.

A preset resolves into *configurations* (every setting fixed), and each of these into
*trials*, one a seed. These types hold no defaults that depend on the machine or the data:
what a machine decides is in the numeric plan (`engine.planning.plan`).
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from batchscope.engine.formatting import parse_size

PositiveInt = Annotated[int, Meta(ge=1, le=2**53)]
PositiveFloat = Annotated[float, Meta(gt=0)]
NonNegativeFloat = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Precision = Literal["fp32", "bf16"]

MAX_TRIALS = 100_000
Within = Annotated[float, Meta(gt=0, lt=1)]
Factor = Annotated[float, Meta(gt=1, le=1e6)]
HalfWidth = Annotated[float, Meta(gt=0, le=1e6)]
Along = Annotated[float, Meta(ge=-1e6, le=1e6)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the preset: immutable, and unknown keys are refused."""


class Data(Table, frozen=True):
    """Which images to train on; the share `validation` of the training images is held out."""

    name: Literal["digits", "mnist", "fashion-mnist", "cifar10"]
    """`digits` comes along; the others are downloaded once, or read from `--data-dir`."""
    validation: Fraction = 0.0
    """Share of the training images that is held out of training; 0.1 with `[select]`."""


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

    A target ends the training before; it is checked `target_checks` times an epoch.

    With `bf16` the forward and backward passes are automatically cast to bfloat16 where torch
    deems that safe; weights, gradients, losses and updates stay float32.
    """

    batch_size: PositiveInt
    """Images that an optimizer step sees; required here, in `[grid]` or in every cell."""
    lr: PositiveFloat
    """Learning rate, before scaling; required likewise."""
    epochs: PositiveInt | None = None
    """The budget in epochs. One of epochs, steps, samples and seconds is required."""
    steps: PositiveInt | None = None
    """The budget in optimizer steps."""
    samples: PositiveInt | None = None
    """The budget in images that the optimizer sees."""
    seconds: PositiveFloat | None = None
    """The budget in seconds of training, evaluation left out."""
    target_accuracy: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Accuracy that ends a training before its budget: on the images held out, where there are
    any, else on the test set. Excludes target_loss."""
    target_loss: PositiveFloat | None = None
    """Loss in nats that ends it likewise. Excludes target_accuracy."""
    target_checks: PositiveInt = 1
    """How often an epoch the target is checked, evenly spaced; needs a target."""
    optimizer: Literal["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"] = "sgd"
    """With torch's defaults but for the keys here."""
    momentum: Fraction = 0.9
    """Of momentum and nesterov (above 0 there); no other reads it."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty, decoupled in adamw."""
    loss_reduction: Literal["mean", "sum"] = "mean"
    """Whether the gradient is that of the mean loss of a batch, or of its sum."""
    sampling: Literal["without-replacement", "with-replacement"] = "without-replacement"
    """Whether an epoch goes through a permutation of the images, or draws as many anew."""
    precision: Precision = "fp32"
    """bf16 has the passes in bfloat16, weights and updates in float32."""


class Scaling(Table, frozen=True):
    """How the learning rate follows the batch size, and how it warms up."""

    rule: Literal["none", "linear", "sqrt", "adam-sqrt"] = "none"
    """From the base to the batch size the rate is multiplied by the factor (linear), or its root
    (sqrt); adam-sqrt, for adam and adamw, moves the betas and epsilon too (Malladi et al. 2022)."""
    base_batch_size: PositiveInt | None = None
    """The batch size that `train.lr` is meant for, in images; required by every rule but none."""
    max_lr: PositiveFloat | None = None
    """Caps the rate after scaling."""
    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs in which the rate rises to its value: from the one before scaling, else from 0."""


class Schedule(Table, frozen=True):
    """How learning rate and batch size change over the budget; `engine.schedule.course` has the
    rules.

    `step`: at each of `at`, shares of the budget, the rate is divided by `factor`, or the batch
    multiplied by it instead, up to `max_batch_size`; what is left of the factor then goes to the
    rate. `cosine`: the rate falls to `final_lr_share` of itself. Over `batch_warmup_epochs` the
    batch grows from `batch_warmup_start` by doubling. What a kind does not read has no effect.
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    """What happens to the rate over the budget."""
    at: Annotated[tuple[Within, ...], Meta(max_length=32)] = ()
    """Shares of the budget in rising order, at which a step comes; required by step."""
    factor: Factor | None = None
    """What the rate is divided by, or the batch multiplied by, at each step; required by step."""
    by: Literal["lr", "batch"] = "lr"
    """Whether a step lowers the rate or raises the batch size (Smith et al. 2017)."""
    max_batch_size: PositiveInt | None = None
    """Up to so many images; what is left of the factor divides the rate. For by = "batch"."""
    final_lr_share: Share = 0.0
    """Share of the rate at which cosine ends."""
    batch_warmup_epochs: NonNegativeFloat = 0.0
    """Epochs in which the batch size doubles from `batch_warmup_start` to its value."""
    batch_warmup_start: PositiveInt | None = None
    """Images to begin with, below the batch size; required by `batch_warmup_epochs`."""


class Phase(Table, frozen=True):
    """A change in mid-run, at a share of the budget or after so many epochs.

    From the first step that begins there, `lr` and `batch_size` replace those before.
    """

    at: Within | None = None
    """Share of the budget at which it begins. One of at and at_epoch is required."""
    at_epoch: PositiveFloat | None = None
    """Epochs that are over when it begins, below the budget."""
    lr: PositiveFloat | None = None
    """Learning rate from then on; no rule scales it. Written in `set`."""
    batch_size: PositiveInt | None = None
    """Batch size from then on, in images. Written in `set`."""


class Memory(Table, frozen=True):
    """How a batch is cut into micro-batches; `auto` leaves it to the numeric plan.

    `limit` bounds the live tensor bytes of a device: a size such as `512MiB`, or bytes.
    """

    micro_batch_size: Literal["auto"] | PositiveInt = "auto"
    """Images in memory at once; auto has it measured before the first step."""
    limit: str | PositiveInt | None = None
    """Most bytes of live tensors on a device: bytes, or a text such as "512MiB"."""

    @property
    def limit_bytes(self) -> int | None:
        """The limit in bytes; None without one."""
        return None if self.limit is None else parse_size(self.limit)


class Run(Table, frozen=True):
    """How trials may share the machine while an epoch is timed, and a worker.

    Replicates, which differ in the seed alone, can be trained as one stack: `auto` leaves that to
    what is measured, a number is how many at most. Budgets in seconds, `bf16` and epochs that are
    timed `alone` are never stacked, nor is what has several workers of its own.

    `data_parallel` workers train one trial together: each takes the gradient of its share of every
    batch, and their sum moves the weights.
    """

    timing: Literal["shared", "alone"] = "shared"
    """alone: nothing else of the sweep runs while an epoch is timed, and nothing is stacked."""
    stack: Literal["auto", "never"] | PositiveInt = "auto"
    """Replicates that train as one stack at most; auto has that measured."""
    data_parallel: Annotated[int, Meta(ge=1, le=64)] = 1
    """Workers among which every batch is divided, at the same gradient; not with batch norm."""


class Probe(Table, frozen=True):
    """At which moments the training holds still, and what is drawn there at the same weights.

    `at` are shares of the budget: 0 is before the first step, 1 after the last. `draws` batches
    of each of `batch_sizes` are drawn (of the trial's own size where none is given); and for each
    of `pairs`, small and large batch size, `pair_draws` times as many samples as the large one
    has are taken as one step and as successive steps of the small one.
    """

    at: tuple[Share, ...] = ()
    """Shares of the budget: 0 before the first step, 1 after the last; required in `[probe]`."""
    batch_sizes: tuple[PositiveInt, ...] = ()
    """Images of the batches that are drawn; without it the trial's own batch size."""
    draws: Annotated[int, Meta(ge=2, le=1_000_000)] = 1000
    """Batches drawn of each size."""
    pairs: tuple[tuple[PositiveInt, PositiveInt], ...] = ()
    """Small and large batch size, a multiple of the small: several steps against one."""
    pair_draws: Annotated[int, Meta(ge=2, le=1_000_000)] = 100
    """How often each pair competes."""


class Sharpness(Table, frozen=True):
    """How sharp the minimum is that a trial ends in: Keskar et al. 2016, Metric 2.1.

    Measured once for each half-width `epsilon` of the box around the weights, on so many of the
    training images, by so many iterations of L-BFGS-B: in the full space, or in a random subspace
    of so many `dimensions`.
    """

    epsilon: Annotated[tuple[HalfWidth, ...], Meta(max_length=16)] = ()
    """Half-widths of the boxes, as shares of a weight's size plus 1; without one nothing is
    measured."""
    samples: PositiveInt = 1000
    """Training images that the loss is the mean over."""
    iterations: Annotated[int, Meta(ge=1, le=10_000)] = 10
    """Iterations of L-BFGS-B."""
    dimensions: PositiveInt | None = None
    """Of the random subspace to search; without it the full space."""


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


class Selection(Table, frozen=True):
    """What `[select]` chooses among candidates that differ in these `keys` alone, and by what."""

    keys: tuple[str, ...]
    by: Literal["validation_accuracy", "validation_loss", "steps_to_target"] = "validation_accuracy"
    """At the end of the training; steps_to_target needs a target."""


class Configuration(Table, frozen=True):
    """Settings with a readable name; its trials are replicates, one a seed.

    `rivals` names the group of candidates that it is one of, empty where nothing is chosen.
    """

    id: str
    label: str
    settings: Settings
    seeds: tuple[int, ...]
    rivals: str = ""


class Trial(Table, frozen=True):
    """One configuration with one seed."""

    id: str
    configuration: str
    seed: int
    settings: Settings

    @property
    def batch_size(self) -> int:
        """The batch size that was asked for (the plan has the one that the data allow)."""
        return self.settings.train.batch_size


Selector = dict[str, Any]
"""Picks configurations: values by dotted key of the settings, or the `label`."""


class Claim(Table, frozen=True):
    """A sentence about a sweep that its seeds can support or contradict.

    Either a `trend` of the measure over the values of a settings key, or `left` in a `relation`
    to `right` or to the number `value` (then no `left` stands for all configurations); `within`
    is how far apart two sides may be and still count as equal. A measure of the probe is read at
    the moment `at_share` of its `at`, the last one without; the sharpness at the half-width
    `epsilon`, the first one without.
    """

    statement: str
    """The sentence; required."""
    measure: str
    """What it is about: a column of `trials.csv` with numbers, or a named measure; required."""
    trend: Literal["increasing", "decreasing"] | None = None
    """How the measure moves from the lowest level of `over` to the highest. Excludes left,
    relation, right and value."""
    over: str | None = None
    """The setting whose values are the levels; `probe.batch_sizes` and `probe.pairs` are levels
    within each training. Required by a trend."""
    left: Selector | None = None
    """Picks configurations, such as { batch_size = 64 }; without it, beside a value, all."""
    relation: Literal["greater", "less", "equal"] | None = None
    """How left is to right, or to value; required by both."""
    right: Selector | None = None
    """Picks what left is compared with. Excludes value."""
    value: float | None = None
    """A number to compare with, accuracies as fractions."""
    at_share: Share | None = None
    """The moment of `probe.at` at which a measure of the probe is read; the last without it."""
    within: PositiveFloat | None = None
    """How far apart still counts as equal, in the unit of the measure; required by equal alone."""
    epsilon: PositiveFloat | None = None
    """The box of `sharpness.epsilon` in which sharpness is read; the first without it."""


class Interpolation(Table, frozen=True):
    """The straight line between the final weights of two configurations, seed by seed.

    Loss and accuracy are measured at (1 − α) · w_start + α · w_end, for so many `points` of α
    from the first of `alpha` to the last (Goodfellow et al. 2015; Keskar et al. 2016, figure 3).
    `start` and `end` are ids of configurations. Training figures are of so many `samples`, of as
    many as there are test images where none are named.
    """

    start: str
    """Picks the one configuration at α = 0, as claims do. Written `from`; required."""
    end: str
    """The one at α = 1, with the same data and network. Written `to`; required."""
    alpha: tuple[Along, Along] = (-1.0, 2.0)
    """First and last α."""
    points: Annotated[int, Meta(ge=2, le=1000)] = 25
    """How many, evenly apart."""
    samples: Annotated[int, Meta(ge=2)] | None = None
    """Training images for the figures; without it as many as there are test images."""

    @property
    def alphas(self) -> tuple[float, ...]:
        """Every α, evenly apart."""
        (low, high), last = self.alpha, self.points - 1
        return tuple((low * (last - at) + high * at) / last for at in range(self.points))


def trials_of(configuration: Configuration) -> list[Trial]:
    """The replicates of a configuration, in the order of their seeds."""
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
}
BUDGETS = ("epochs", "steps", "samples", "seconds")
