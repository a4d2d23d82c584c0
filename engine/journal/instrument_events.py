"""What instruments find: room in memory, the pace of stacks, gradients, sharpness, lines.

Events like all others (`engine.journal.events`), each the result of looking once at a device, at
the weights of one moment, or between the final weights of two trials.
"""

from msgspec import Struct

from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.stacking import StackTiming


class NormSlice(Struct, frozen=True, array_like=True):
    """Gradient norms of consecutive steps: their histogram and their moments.

    `first_bin` and `counts` index the edges of `engine.metrics.norm_histogram`; `squares` is the
    sum of squared deviations from `mean`. Norms that are not finite are in `broken` alone.
    """

    first_step: int
    count: int
    mean: float
    squares: float
    first_bin: int
    counts: tuple[int, ...]
    broken: int = 0


class LayerNorm(Struct, frozen=True, array_like=True):
    """Gradient norms of one layer over some steps: mean, and sum of squared deviations from it."""

    mean: float
    squares: float


class ValueBins(Struct, frozen=True):
    """Single values of many gradients: moments, and counts by sign and power of two.

    `bins` are pairs of index and count, indices of `engine.metrics.norm_histogram.signed_edges`.
    `kurtosis` is the fourth central moment over the squared variance (3 for a normal distribution),
    `None` where all values are alike.
    """

    count: int
    mean: float
    std: float
    kurtosis: float | None
    bins: tuple[tuple[int, int], ...]


class Draws(Struct, frozen=True):
    """Gradients of many batches of one size, drawn independently at the same weights.

    `pairwise_cosine` is the mean cosine between two of them. Draws whose norm is not finite count
    as broken in `norms` alone; `values` is `None` where all are.
    """

    batch_size: int
    norms: NormSlice
    values: ValueBins | None
    pairwise_cosine: float | None


class Competing(Struct, frozen=True):
    """One draw of a competition, in the plane of the small steps.

    The x axis points along the sum of the small steps, whose length is `total`; y is positive on
    the side of the first of them. `outside` is the length of what the large step has outside
    the plane.
    """

    total: float
    first: tuple[float, float]
    large: tuple[float, float]
    outside: float


class Competition(Struct, frozen=True):
    """Successive small steps against one large step: same weights, same samples, same rate.

    Of each figure mean and sample standard deviation over the draws: `cosine` between the sum of
    the small steps and the large step, `length_ratio` of that sum to the large step,
    `straightness`, the length of the sum over the summed lengths, and `step_cosine`, the mean
    cosine between two small steps, weighted by their lengths. `examples` are the first draws.
    """

    small: int
    large: int
    draws: int
    lr: float
    cosine: tuple[float, float]
    length_ratio: tuple[float, float]
    straightness: tuple[float, float]
    step_cosine: tuple[float, float]
    examples: tuple[Competing, ...]


class LinePoint(Struct, frozen=True, array_like=True):
    """Figures at (1 − `alpha`) · w_start + `alpha` · w_end.

    Losses are means per sample, accuracies fractions. A loss that is not finite is None.
    """

    alpha: float
    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float


class Event(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """A fact with the moment it was written down."""

    at: float = 0.0


class MicroBatchesMeasured(Event, frozen=True, tag="measured"):
    """Micro-batch sizes that were executed before a trial's first step, for all that are like it.

    `limit_bytes` is what the worker may hold, data included, and `asked_bytes` what people allow
    the device, if they said so; `held_bytes` is live between steps.
    `evaluation_batch_size` is the largest that keeps the headroom, of the usual one and its halves.
    """

    trial: str
    device: str
    device_name: str
    batch_size: int
    asked_bytes: int | None
    limit_bytes: int
    held_bytes: int
    shapes: tuple[Shape, ...]
    evaluation_batch_size: int
    evaluation_peak_bytes: int
    seconds: float


class Paced(Event, frozen=True, tag="paced"):
    """Stacks of replicates whose steps were timed before a plan was fixed, for all that are alike.

    `batch_size` is the largest that occurs, taken in micro-batches of `micro_batch_size`. The
    largest stack that was wanted is `asked`. Where it was to find out how many workers there should
    be, so many `workers` with `threads` each did this at the same time, and nothing else ran.
    """

    trial: str
    worker: int
    device_name: str
    batch_size: int
    micro_batch_size: int
    threads: int
    asked: int
    stacks: tuple[StackTiming, ...]
    seconds: float
    workers: int = 0


class MemorySampled(Event, frozen=True, tag="memory"):
    """Bytes of a device: its total, what this sweep's processes hold, and what others hold.

    `total` is 0 where it cannot be read; in a container it is at most the container's limit.
    `limit` is the most that this sweep may take, by `--memory-limit` or the container.
    `utilization` is the percentage of the time that the device was busy, `temperature` in
    degrees Celsius, `power` in watts. None is not known, or no limit.
    """

    device: str
    name: str
    total: int
    ours: int
    others: int
    limit: int | None = None
    utilization: int | None = None
    temperature: int | None = None
    power: float | None = None


class Probed(Event, frozen=True, tag="probed"):
    """What was drawn at the weights of one moment; `at_share` is its share of the budget."""

    trial: str
    attempt: int
    at_share: float
    epoch: int
    steps: int
    samples: int
    seconds: float
    draws: tuple[Draws, ...] = ()
    competitions: tuple[Competition, ...] = ()


class Predicted(Event, frozen=True, tag="predicted"):
    """What a trial says of every test image at its end, beside what is right.

    `packed` is one byte an image, (predicted − label) mod `classes`, as zlib compresses it: 0 where
    it is right. `engine.metrics.prediction_codec` reads it.
    """

    trial: str
    attempt: int
    steps: int
    classes: int
    images: int
    packed: bytes


class SharpnessMeasured(Event, frozen=True, tag="sharpness"):
    """How far the loss of a trial rises in a box around its final weights: see `Sharpness`.

    `sharpness` is in percent of 1 + `loss`, and not known where the loss is not finite somewhere
    in the box. `dimensions` is None for the full space. `reason` says why there is no sharpness,
    or that the search ended before its last iteration.
    """

    trial: str
    attempt: int
    steps: int
    epsilon: float
    dimensions: int | None
    samples: int
    loss: float | None
    highest_loss: float | None
    sharpness: float | None
    evaluations: int
    iterations: int
    seconds: float
    reason: str = ""


class Interpolated(Event, frozen=True, tag="interpolated"):
    """The line between the final weights of two trials; see `Interpolation`.

    Training figures are of `samples` images. Where it is `recalibrated`, batch norm's statistics
    were taken anew at every point, on those images. Without points, `reason` says why.
    """

    start: str
    end: str
    points: tuple[LinePoint, ...] = ()
    samples: int = 0
    recalibrated: bool = False
    seconds: float = 0.0
    reason: str = ""
