"""Builds sweeps with given steps to a target, without training."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Claim
from tests.unit.engine.findings_fixtures import Ended, configuration, record, sweep

SIZES = (8, 32, 128, 512, 2048)
TARGET = 0.9
STEPS_MIN, CRITICAL = 1000.0, 200.0


def hyperbola(batch_size: float, critical: float = CRITICAL) -> float:
    """Steps to the target where `STEPS_MIN` are the fewest."""
    return STEPS_MIN * (1 + critical / batch_size)


def reached(steps: float, batch_size: int, accuracy: float = TARGET, **figures: Any) -> Ended:
    """A trial that ended after so many steps; each takes a millisecond."""
    whole = round(steps)
    usual = {"steps": whole, "samples": whole * batch_size, "seconds": whole * 1e-3}
    return Ended(records=(record(accuracy, **{**usual, **figures}),))


def swept(
    steps: Callable[[int, int], float | Ended],
    sizes: Sequence[int] = SIZES,
    seeds: int = 3,
    *claims: Claim,
    **more: Any,
) -> SweepState:
    """A batch size and a seed give the steps to the target, or how the trial ended instead."""
    values = []
    for size in sizes:
        ends = []
        for seed in range(seeds):
            found = steps(size, seed)
            ends.append(found if isinstance(found, Ended) else reached(found, size))
        each = configuration(size, seeds=seeds, target_accuracy=TARGET, epochs=100, **more)
        values.append((each, ends))
    return sweep(values, *claims)


def wobbled(size: int, seed: int) -> float:
    """The hyperbola, a few percent up and down."""
    return hyperbola(size) * math.exp(random.Random(100 * size + seed).gauss(0, 0.03))
