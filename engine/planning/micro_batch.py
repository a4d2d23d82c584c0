"""Chooses the fastest micro-batch size that fits into memory, from measurements.

A worker runs real steps with increasing micro-batch sizes. After each, a line through the measured
memory peaks predicts which size to try next. Only a measured size is ever chosen.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from batchscope.engine.formatting import shown_size
from batchscope.engine.planning.batch_norm import largest_cut, smallest_cut

SMALLEST, RISE = 8, 4
HEADROOM = 0.1
FASTER, FEWEST_ROUNDS = 1.05, 3
WORTH_TRYING = 1.1


class Shape(Struct, frozen=True, omit_defaults=True):
    """The measurement of a micro-batch size.

    Attributes:
        micro_batch_size: the size in images.
        peak_bytes: peak bytes of live tensors during a step, including the data.
        samples_per_second: median over the timed rounds.
        failed: the error if memory ran out, else empty.
        rounds: how often it was timed in turn with other sizes.
    """

    micro_batch_size: int
    peak_bytes: int = 0
    samples_per_second: float = 0.0
    failed: str = ""
    rounds: int = 0


class MicroBatchChoice(Struct, frozen=True):
    """A micro-batch size, and a sentence that says why."""

    micro_batch_size: int
    reason: str


def usable(limit: int) -> int:
    """Return the bytes of a memory limit that a plan may use; the rest is headroom."""
    return int(limit * (1 - HEADROOM))


def fits(shape: Shape, limit: int) -> bool:
    """Return whether a measured size stays below a limit in bytes with headroom."""
    return not shape.failed and shape.peak_bytes <= usable(limit)


def expected_peak(size: int, tried: Sequence[Shape], held: int) -> float:
    """Predict the peak bytes at a size, by a line through two measured sizes.

    These are the sizes around it, or the two largest.

    Args:
        size: the micro-batch size.
        tried: the measurements.
        held: bytes live between steps, which count as the measurement at size 0.
    """
    known = sorted(
        (shape.micro_batch_size, shape.peak_bytes) for shape in tried if not shape.failed
    )
    points = [(0, held), *(known or [(1, held)])]
    above = next((at for at, (x, _) in enumerate(points) if x >= size), len(points) - 1)
    (small, low), (large, high) = points[max(above, 1) - 1], points[max(above, 1)]
    slope = max(0.0, (high - low) / (large - small))
    return high + slope * (size - large)


def next_size(
    batch_size: int,
    tried: Sequence[Shape],
    limit: int,
    held: int,
    counts: Sequence[int] = (),
    together: int = 1,
) -> int | None:
    """Return the micro-batch size to measure next; None if no other is worth it.

    Sizes increase fourfold up to the whole batch while they are predicted to fit. If the whole
    batch is predicted to need less than half of the memory, it is measured at once, then the sizes
    below it. Then follow the largest size predicted to fit, and the one that cuts the batch into as
    many equal parts. If the prediction was wrong twice, or memory ran out, the interval is halved.

    Args:
        batch_size: the batch size in images.
        tried: the measurements so far.
        limit: memory limit in bytes.
        held: bytes live between steps.
        counts: sizes of batches; no micro-batch of them may have a single image (batch norm).
        together: size of the groups of images that may not be divided (ghost batch norm).
    """
    size = _next(batch_size, tried, limit, held, together)
    size = largest_cut(size, counts, together) if size else None
    if size is None and not any(fits(shape, limit) for shape in tried):
        size = smallest_cut(batch_size, counts, together)
    return None if size in {shape.micro_batch_size for shape in tried} else size


def _next(
    batch_size: int, tried: Sequence[Shape], limit: int, held: int, together: int
) -> int | None:
    if not tried:
        return min(_smallest(together), batch_size)
    good = [shape.micro_batch_size for shape in tried if fits(shape, limit)]
    bad = [shape.micro_batch_size for shape in tried if not fits(shape, limit)]

    def expected(size: int) -> bool:
        return expected_peak(size, tried, held) <= usable(limit)

    if not good:  # a single image is always measured before concluding that nothing fits
        return None if min(bad) == 1 else max(1, _last(0, min(bad) // 2, expected))
    best = max(good)
    rising = min(best * RISE, batch_size)
    if not bad and len(good) > 1 and expected_peak(batch_size, tried, held) <= usable(limit) / 2:
        between = [size for size in _rise(batch_size, together) if size not in good]
        return batch_size if batch_size not in good else next(iter(between), None)
    if not bad and rising > best and expected(rising):
        return rising
    most = min([rising, *(size - 1 for size in bad)])
    if len(bad) > 1 or any(shape.failed for shape in tried):
        most = min(most, (best + min(bad)) // 2)
    largest = _last(best, most, expected)
    if largest >= WORTH_TRYING * best:
        return largest
    even = -(-batch_size // -(-batch_size // best))
    return even if even not in (*good, *bad) else None


def _smallest(together: int) -> int:
    """Return the first size to measure: a multiple of the group size."""
    return -(-SMALLEST // together) * together


def _rise(batch_size: int, together: int) -> Iterator[int]:
    size = _smallest(together)
    while size < batch_size:
        yield size
        size *= RISE


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Return the largest number from `low` to `high` for which a monotone condition holds."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def choose_micro_batch(
    batch_size: int, tried: Sequence[Shape], limit: int, held: int, exact: bool = True
) -> MicroBatchChoice | None:
    """Choose a micro-batch size: the whole batch, or the largest that fits, or a faster one.

    A smaller size is chosen if it is at least 5 % faster.

    Args:
        batch_size: the batch size in images.
        tried: the measurements.
        limit: memory limit in bytes.
        held: bytes live between steps.
        exact: whether cutting a batch leaves the gradient unchanged. If not (batch norm, dropout),
            it is not cut for speed, and among cuts into as many parts the most even one is chosen.

    Returns:
        The choice, or None if no measured size fits.
    """
    fitting = [shape for shape in tried if fits(shape, limit)]
    if not fitting:
        return None
    largest = max(fitting, key=lambda shape: shape.micro_batch_size)
    if not exact:
        largest = _most_even(batch_size, largest, fitting)
    fastest = _fastest(largest, fitting) if exact else largest
    if fastest is not largest:
        gain = fastest.samples_per_second / largest.samples_per_second - 1
        why = f"{100 * gain:.0f} % faster than {_named(largest.micro_batch_size, batch_size)}"
        return MicroBatchChoice(fastest.micro_batch_size, f"{_cut(batch_size, fastest)}: {why}")
    if largest.micro_batch_size == batch_size:
        needed, room = told_apart(largest.peak_bytes, usable(limit))
        return MicroBatchChoice(batch_size, f"the whole batch at once: {needed} of {room} usable")
    return MicroBatchChoice(
        largest.micro_batch_size,
        f"{_cut(batch_size, largest)}: {_why_not_larger(batch_size, largest, tried, limit, held)}",
    )


def _most_even(batch_size: int, largest: Shape, fitting: Sequence[Shape]) -> Shape:
    """Return the smallest size that needs as few micro-batches per batch as the largest size."""
    parts = -(-batch_size // largest.micro_batch_size)
    alike = [one for one in fitting if -(-batch_size // one.micro_batch_size) == parts]
    return min(alike, key=lambda shape: shape.micro_batch_size)


def _fastest(largest: Shape, fitting: Sequence[Shape]) -> Shape:
    """Return the fastest size if it beats the largest by the margin, by times taken in turn."""
    if largest.rounds < FEWEST_ROUNDS:
        return largest
    timed = [shape for shape in fitting if shape.rounds >= FEWEST_ROUNDS]
    fastest = max(timed, key=lambda shape: shape.samples_per_second)
    enough = fastest.samples_per_second >= FASTER * largest.samples_per_second
    return fastest if enough else largest


def _why_not_larger(
    batch_size: int, largest: Shape, tried: Sequence[Shape], limit: int, held: int
) -> str:
    above = [shape for shape in tried if shape.micro_batch_size > largest.micro_batch_size]
    failed = [shape.micro_batch_size for shape in above if shape.failed]
    if failed:
        return f"{_named(min(failed), batch_size)} ran out of memory"
    size = min(2 * largest.micro_batch_size, batch_size)
    expected = expected_peak(size, tried, held)
    if expected <= usable(limit):
        return "the largest size measured within the time for planning"
    needed, room = told_apart(expected, usable(limit))
    return f"{_named(size, batch_size)} would need {needed}, but only {room} are usable"


def told_apart(needed: float, room: int) -> tuple[str, str]:
    """Format two sizes; in exact bytes if they would look equal although the first is larger."""
    if shown_size(needed) == shown_size(room) and needed > room:
        return f"{math.ceil(needed):,} bytes", f"{room:,} bytes"
    return shown_size(needed), shown_size(room)


def _cut(batch_size: int, shape: Shape) -> str:
    count, rest = divmod(batch_size, shape.micro_batch_size)
    tail = f" + {rest:,}" if rest else ""
    return f"{batch_size:,} = {count:,} × {shape.micro_batch_size:,}{tail}"


def _named(size: int, batch_size: int) -> str:
    return "the whole batch at once" if size == batch_size else f"{size:,}"
