"""Computes how many steps a budget has.

Every function takes `joins`: whether a single image that the batches of an epoch would leave joins
the last of them, as batch norm needs (`engine.schedule.course.Course.joins`).
"""

from batchscope.engine.spec import Train


def steps_per_epoch(train_size: int, batch_size: int, joins: bool = False) -> int:
    """Return the number of steps of an epoch; its last batch may be smaller, or larger by one."""
    steps = -(-train_size // batch_size)
    return steps - 1 if joins and steps > 1 and train_size % batch_size == 1 else steps


def planned_steps(
    train: Train, train_size: int, batch_size: int, joins: bool = False
) -> int | None:
    """Return the optimizer steps of a budget; None for a budget in seconds.

    A budget in samples ends with the first step that reaches it.
    """
    per_epoch = steps_per_epoch(train_size, batch_size, joins)
    if train.epochs is not None:
        return train.epochs * per_epoch
    if train.steps is not None:
        return train.steps
    if train.samples is not None:
        whole, rest = divmod(train.samples, train_size)
        return whole * per_epoch + -(-rest // batch_size)
    return None


def samples_after(steps: int, train_size: int, batch_size: int, joins: bool = False) -> int:
    """Return the number of training images seen after `steps` steps."""
    whole, rest = divmod(steps, steps_per_epoch(train_size, batch_size, joins))
    return whole * train_size + min(rest * batch_size, train_size)
