"""What events say of gradients: norms along the steps, and what probes drew at the same weights."""

from msgspec import Struct


class NormSlice(Struct, frozen=True, array_like=True):
    """Gradient norms of consecutive steps: their histogram and their moments.

    `first_bin` and `counts` index the edges of `engine.bins`; `squares` is the sum of squared
    deviations from `mean`. Norms that are not finite are in `broken` alone.
    """

    first_step: int
    count: int
    mean: float
    squares: float
    first_bin: int
    counts: tuple[int, ...]
    broken: int = 0


class ValueBins(Struct, frozen=True):
    """Single values of many gradients: moments, and counts by sign and power of two.

    `bins` are pairs of index and count, indices of `engine.bins.signed_edges`. `kurtosis` is the
    fourth central moment over the squared variance (3 for a normal distribution), `None` where
    all values are alike.
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
