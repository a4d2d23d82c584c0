"""Chooses how often an instrument measures that would slow down every step."""

from math import gcd

MOST_APART = 16
SAMPLES_PER_RUN = 500


def steps_apart(epoch_steps: int, total_steps: int | None, least: int = 1) -> int:
    """Return the interval between two measurements, in optimizer steps.

    It gives about 500 measurements a run, at least one in 16 steps and at least one an epoch. It
    has no divisor in common with the steps of an epoch, so a smaller last batch is measured neither
    always nor never: a little fewer steps than wanted, or a little more, and 1 only where no
    other number works (840 steps have a divisor in common with every number up to 8).

    Args:
        epoch_steps: steps of an epoch.
        total_steps: steps of the run; None where unknown.
        least: about the smallest number that keeps the cost low; epochs may be too short for it.
    """
    wanted = MOST_APART if total_steps is None else total_steps // SAMPLES_PER_RUN
    wanted = max(1, min(MOST_APART, epoch_steps, max(wanted, least)))
    near = [*range(wanted, wanted // 2, -1), *range(wanted + 1, min(2 * wanted, epoch_steps))]
    return next((every for every in near if gcd(every, epoch_steps) == 1), 1)
