"""Trends with a reversal in their middle, and honest ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchscope.engine.findings.comparison_sides import Side
from batchscope.engine.findings.decisions import direction, held_back
from batchscope.engine.findings.effects import effect_between
from batchscope.engine.findings.trend_test import reversal, trend_gaps
from tests.unit.engine.verdict_simulations.means import BUDGET
from tests.unit.engine.verdict_simulations.noise import Drawn, scales, signals
from tests.unit.engine.verdict_simulations.sides import Random, side, until

REVERSAL = 4.0
"""Standard deviations of a single seed's value."""
ALLOWED = 0.065
SEEDS, LEVELS = (3, 4, 5, 10), (3, 5, 7)


@dataclass(frozen=True)
class Shape:
    """True means of the levels, in standard deviations of a single seed's value.

    Args:
        name: what it is.
        means: the mean of each level.
        spreads: the standard deviation of each level; 1 for all of them if empty.
        shared: standard deviation of what a seed adds to all levels.
        paired: whether the levels share seeds.
    """

    name: str
    means: tuple[float, ...]
    spreads: tuple[float, ...] = ()
    shared: float = 0.0
    paired: bool = True


def rising(levels: Sequence[Side]) -> bool:
    """Whether a rising trend is supported: the same steps as in `claim_verdicts`."""
    effect = effect_between(levels[-1], levels[0])
    if effect is None:
        return False
    decision = direction(effect, 1)
    if decision.word != "supported" or held_back(decision, effect, False, levels[-1], levels[0]):
        return False
    return not (trend_gaps(levels, 1) or reversal(levels, 1))


def supported(shape: Shape, n: int, rounds: int) -> float:
    """How often a rise over these levels is supported."""
    random = np.random.default_rng([4, n, *shape.name.encode()])
    spreads = shape.spreads or (1.0,) * len(shape.means)
    found = 0
    for _ in range(rounds):
        luck = random.normal(0, shape.shared, n) if shape.shared else 0.0
        levels = [
            side(
                mean + luck + random.normal(0, spread, n),
                name=f"level {at}",
                start=b"" if shape.paired else bytes([at]),
            )
            for at, (mean, spread) in enumerate(zip(shape.means, spreads, strict=True))
        ]
        found += rising(levels)
    return found / rounds


def noise_trend(random: Random, true: Sequence[float], n: int, drawn: Drawn) -> list[Side]:
    """Levels with these true noise scales."""
    pairs = (drawn.pairs(random, signals(random, each, n, 0.2)) for each in true)
    return [scales(each) for each in pairs]


def noise_supported(
    true: Sequence[float], n: int, rounds: int, drawn: Drawn | None = None
) -> float:
    """How often a rise over levels with these true noise scales is supported."""
    random = np.random.default_rng([5, n, len(true)])
    return (
        sum(rising(noise_trend(random, true, n, drawn or Drawn(draws=200))) for _ in range(rounds))
        / rounds
    )


def reversals(levels: int) -> list[Shape]:
    """Trends that fall by four standard deviations somewhere; their ends rise."""
    last, half, far = levels - 1, levels // 2, 10 * REVERSAL
    shapes: dict[str, list[float]] = {
        "a fall between large ends": [far * at for at in range(levels)],
        "a fall between two plateaus": [far] * half + [far - REVERSAL] * (levels - half),
    }
    shapes["a fall between large ends"][half] = far * (half - 1) - REVERSAL
    if levels == 3:
        shapes["a peak at one level"] = [0.0, 3 * REVERSAL, 2 * REVERSAL]
        shapes["a dip at one level"] = [2 * REVERSAL, REVERSAL, 3 * REVERSAL]
        shapes["a fall between two plateaus"] = [0.0, far, far - REVERSAL]
    else:
        flat = [*[0.0] * last, 2 * REVERSAL]
        shapes["a fall between two plateaus"][0] = 0.0
        shapes["a fall between two plateaus"][-1] = 2 * far
        shapes["a peak at one level"] = [
            REVERSAL * (at == last // 2) + x for at, x in enumerate(flat)
        ]
        shapes["a peak beside the first level"] = [
            REVERSAL * (at == 1) + x for at, x in enumerate(flat)
        ]
        shapes["a dip beside the last level"] = [0.0, *[REVERSAL] * (levels - 3), 0.0, 3 * REVERSAL]
    if levels >= 5:
        up = REVERSAL / 2
        hump = [0.0, up, REVERSAL, *[up] * (levels - 5), 0.0, 3 * REVERSAL]
        shapes["a peak spread over levels"] = hump
    found = [Shape(name, tuple(means)) for name, means in shapes.items()]
    one = shapes["a peak at one level"]
    wide = tuple(np.geomspace(0.5, 2, levels).tolist())
    return [
        *found,
        Shape("a peak, seeds shared", tuple(2.24 * each for each in one), (), 2.0),
        Shape("a peak, levels apart (Welch)", tuple(one), paired=False),
        Shape(
            "a peak, spreads 0.5 to 2 (Welch)",
            tuple(2 * each for each in one),
            wide,
            paired=False,
        ),
    ]


def honest(levels: int) -> list[Shape]:
    """Trends that rise throughout, or rise and stay."""
    steps = [
        Shape(f"steps of {size:g}", tuple(size * at for at in range(levels)))
        for size in (0.5, 1.0, 2.0, 4.0)
    ]
    half = levels // 2
    plateau = tuple(4.0 * min(at, half) for at in range(levels))
    saturating = tuple(12 * (1 - 0.5**at) for at in range(levels))
    return [*steps, Shape("a plateau", plateau), Shape("saturating, as −1/B", saturating)]


NOISE_REVERSED = ((8.0, 168.0, 64.0), (8.0, 32.0, 12.5, 128.0), (8.0, 16.0, 84.0, 32.0, 256.0))
"""Noise scales that fall somewhere by 2.3 to 3.6 standard deviations of a seed's ratio."""
NOISE_RISING = (
    (16.0, 64.0),
    (16.0, 64.0, 64.0, 64.0),
    (16.0, 32.0, 64.0, 64.0, 128.0),
    (16.0, 32.0, 64.0, 128.0, 256.0),
)


def missed_supported(where: str, n: int, rounds: int) -> float:
    """How often a rise of the steps to a target is supported, over four levels.

    The levels do not differ, and a third of the seeds miss the target at the last or at all levels;
    or the steps rise, and most seeds miss it at the last level.
    """
    random = np.random.default_rng([6, n, *where.encode()])
    found = 0
    for _ in range(rounds):
        if where == "rising":
            levels = [until(random.normal(mean, 100, n), 1500) for mean in (400, 700, 1000, 1550)]
        else:
            budgets = [BUDGET if where == "all" or at == 3 else 1e9 for at in range(4)]
            levels = [until(random.normal(1000, 200, n), budget) for budget in budgets]
        found += rising(levels)
    return found / rounds
