"""What a `[probe]` draws from data of a size: of one batch no more images than there are."""

from batchscope.engine.spec import Settings

UNBOUNDED = 2**53


def drawn_sizes(settings: Settings, train_size: int) -> tuple[int, ...]:
    """Batch sizes drawn, smallest first: the training's own where no size and no pair is named."""
    probe, most = settings.probe, _most(settings, train_size)
    own = () if probe.pairs else (min(settings.train.batch_size, train_size),)
    return tuple(sorted({min(size, most) for size in probe.batch_sizes or own}))


def competing_pairs(settings: Settings, train_size: int) -> tuple[tuple[int, int], ...]:
    """Pairs of a small and a large batch size for which there are enough images."""
    most = _most(settings, train_size)
    return tuple(pair for pair in settings.probe.pairs if pair[1] <= most)


def _most(settings: Settings, train_size: int) -> int:
    return UNBOUNDED if settings.train.sampling == "with-replacement" else train_size
