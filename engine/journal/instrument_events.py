"""Events with measurements: memory, speed of stacks, gradients, sharpness, and loss along lines.

Each is the result of measuring once a device, the weights of one moment, or the line between the
final weights of two trials. `engine.journal.events` has all other events.
"""

from typing import Literal

from msgspec import Struct

from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.stacking import StackTiming


class NormSlice(Struct, frozen=True, array_like=True):
    """Histogram and moments of the gradient norms of consecutive steps.

    Attributes:
        first_step: number of steps before the slice.
        count: number of finite norms.
        mean: their mean.
        squares: sum of their squared deviations from `mean`.
        first_bin: index of the first bin, in the edges of `engine.metrics.norm_histogram`.
        counts: norms in this bin and those after it, as far as any are filled.
        broken: number of norms that are not finite; they count nowhere else.
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

    `bins` are pairs of index and count, with the indices of
    `engine.metrics.norm_histogram.signed_edges`. `kurtosis` is the fourth central moment divided by
    the squared variance (3 for a normal distribution), `None` if all values are equal.
    """

    count: int
    mean: float
    std: float
    kurtosis: float | None
    bins: tuple[tuple[int, int], ...]


class Draws(Struct, frozen=True):
    """Gradients of many batches of one size, drawn independently at the same weights.

    `pairwise_cosine` is the mean cosine between two of them. Gradients with a norm that is not
    finite are counted only in `norms.broken`; `values` is `None` if all are.
    """

    batch_size: int
    norms: NormSlice
    values: ValueBins | None
    pairwise_cosine: float | None


class Competing(Struct, frozen=True):
    """One draw of a competition, in the plane of the first small step and the sum of all.

    The x axis has the direction of the sum, and y is positive on the side of the first small step.

    Attributes:
        total: length of the sum of the small steps.
        first: coordinates of the first small step.
        large: coordinates of the large step.
        outside: length of the large step's component outside the plane.
    """

    total: float
    first: tuple[float, float]
    large: tuple[float, float]
    outside: float


class Competition(Struct, frozen=True):
    """Successive small steps compared with one large step: same weights, samples, learning rate.

    Pairs of numbers are mean and sample standard deviation over the draws.

    Attributes:
        small: samples of a small step.
        large: samples of the large step.
        draws: number of draws.
        lr: learning rate.
        cosine: cosine between the sum of the small steps and the large step.
        length_ratio: length of that sum divided by that of the large step.
        straightness: length of that sum divided by the sum of the lengths.
        step_cosine: mean cosine between two small steps, weighted by their lengths.
        examples: the first draws.
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
    """Loss and accuracy at the weights (1 − `alpha`) · w_start + `alpha` · w_end.

    Losses are means per sample, accuracies fractions. A loss that is not finite is None, and so is
    a figure that a task does not have.
    """

    alpha: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None


class Event(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """The base of all events; `at` is the time at which it was written."""

    at: float = 0.0


class Measuring(Event, frozen=True, tag="measuring"):
    """What is measured from now on, before the first step of a trial.

    Attributes:
        what: `workers` for the number of workers that is fastest, `micro-batches`, or `stacks`.
        trial: id of the trial that is measured, for itself and all similar ones.
    """

    what: Literal["workers", "micro-batches", "stacks"]
    trial: str


class MicroBatchesMeasured(Event, frozen=True, tag="measured"):
    """Micro-batch sizes that were run before a trial's first step, valid for all similar trials.

    Attributes:
        trial: id of the trial.
        device: name of the device.
        device_name: name of the device for people.
        batch_size: the largest batch size of the trial.
        asked_bytes: memory limit of the device set by the user; None if there is none.
        limit_bytes: memory that the worker may use, including the data set.
        held_bytes: live bytes between two steps.
        shapes: the sizes that were run.
        evaluation_batch_size: largest evaluation batch that fits, found by halving.
        evaluation_peak_bytes: its peak of live bytes.
        seconds: time of the measurement.
        longest: number of samples that were known as the longest of a task, and ran first; 0 where
            all are as long.
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
    longest: int = 0


class Paced(Event, frozen=True, tag="paced"):
    """Timed steps of stacks of replicates, before the plan of a group; valid for similar groups.

    Attributes:
        trial: id of the first trial.
        worker: number of the worker.
        device_name: name of the device for people.
        batch_size: the largest batch size of the trials.
        micro_batch_size: samples in one forward and backward pass.
        threads: threads of the worker.
        asked: size of the largest stack to be tried.
        stacks: the stacks that were timed.
        seconds: time of the measurement.
        workers: number of workers that measured at the same time, to find the fastest number of
            workers; 0 if the worker measured alone.
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
    """The memory and load of a device at one moment.

    Attributes:
        device: name of the device.
        name: name of the device for people.
        total: memory in bytes, in a container at most its limit; 0 if unknown.
        ours: bytes used by this sweep.
        others: bytes used by other processes.
        limit: the most bytes for this sweep, by `--memory-limit` or the container; None: no limit.
        utilization: percentage of the time in which the device was busy; None if unknown.
        temperature: in degrees Celsius; None if unknown.
        power: in watts; None if unknown.
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
    """A probe of the weights at one moment, after the share `at_share` of the budget."""

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
    """The final predictions of a trial for all test images.

    `packed` holds one byte for each image, (predicted − label) mod `classes`, compressed by zlib; 0
    is a correct prediction. `engine.metrics.prediction_codec` reads it. `labels` is the CRC-32 of
    the right classes of a task, whose test data may differ between seeds; 0 for images.
    """

    trial: str
    attempt: int
    steps: int
    classes: int
    images: int
    packed: bytes
    labels: int = 0


class SharpnessMeasured(Event, frozen=True, tag="sharpness"):
    """The sharpness of a trial's minimum: how far the loss rises in a box around its final weights.

    See `Sharpness` for the settings.

    Attributes:
        trial: id of the trial.
        attempt: number of the attempt.
        steps: steps before the measurement.
        epsilon: relative half-width of the box.
        dimensions: dimensions of the random subspace; None for the full space.
        samples: images in the loss.
        loss: loss at the final weights.
        highest_loss: highest loss found in the box.
        sharpness: rise in percent of 1 + `loss`; None if the loss is not finite in the box.
        evaluations: evaluations of loss and gradient.
        iterations: iterations of the search.
        seconds: time of the search.
        reason: why the sharpness is unknown, or that the search stopped before its last iteration.
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
    """Loss and accuracy along the line between the final weights of two trials.

    See `Interpolation` for the settings.

    Attributes:
        start: id of the trial at α = 0.
        end: id of the trial at α = 1.
        points: the points of the line.
        samples: training images of the training figures.
        recalibrated: whether batch norm's statistics were computed at every point, on these images.
        seconds: time of the measurement.
        reason: why there are no points.
    """

    start: str
    end: str
    points: tuple[LinePoint, ...] = ()
    samples: int = 0
    recalibrated: bool = False
    seconds: float = 0.0
    reason: str = ""
