"""Computes the batch sizes that a `[probe]` draws, limited by the number of training images."""

from batchscope.engine.spec import Settings

UNBOUNDED = 2**53


def drawn_sizes(settings: Settings, train_size: int) -> tuple[int, ...]:
    """Return the batch sizes to draw, smallest first; by default the training's batch size."""
    probe, most = settings.probe, _most(settings, train_size)
    own = () if probe.pairs else (min(settings.train.batch_size, train_size),)
    return tuple(sorted({min(size, most) for size in probe.batch_sizes or own}))


def competing_pairs(settings: Settings, train_size: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of a small and a large batch size for which there are enough images."""
    most = _most(settings, train_size)
    return tuple(pair for pair in settings.probe.pairs if pair[1] <= most)


def _most(settings: Settings, train_size: int) -> int:
    return UNBOUNDED if settings.train.sampling == "with-replacement" else train_size
