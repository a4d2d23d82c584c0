"""How a batch is divided among the workers of a data-parallel training."""


def shares(count: int, workers: int) -> tuple[int, ...]:
    """Images for each of so many workers, even to one image, the larger shares first.

    Of a batch with fewer images than workers the last have none.
    """
    each, more = divmod(count, workers)
    return (each + 1,) * more + (each,) * (workers - more)


def largest_share(count: int, workers: int) -> int:
    """Images of the first worker, who has the most."""
    return -(-count // workers)


def share_of(count: int, workers: int, rank: int) -> slice:
    """Where in a batch the images of one of the workers are, in the order of their ranks."""
    sizes = shares(count, workers)
    start = sum(sizes[:rank])
    return slice(start, start + sizes[rank])
