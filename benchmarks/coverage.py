"""Measure how often the confidence interval of the critical batch size covers the true value.

The interval of batchscope is compared with that of a bootstrap.

    python benchmarks/coverage.py [REPETITIONS]

In simulated data the true value is 150, the steps are 300 (1 + 150/B), and the batch sizes B are
geometrically spaced from 8 to 2,048. The steps are multiplied by noise of several kinds: equal for
all trials; five times wider at one end than at the other; partly shared by all trials of a seed;
heavy-tailed (t with 4 degrees of freedom); partly shared by all trials of a batch size, as with a
badly chosen learning rate. The program prints the share of intervals that cover 150, for batchscope
and for the percentile bootstrap over the seeds (300 draws, every fifth repetition), the share of
our intervals with two finite ends, and the median ratio of the upper end to the lower end.

Below, the same for a sweep with `[select]`: each of five batch sizes has up to four learning rates
that are equally good, the one with the fewest mean steps over three seeds is chosen, and the curve
is fitted to these seeds or to five fresh ones (`select.seeds_after`). The program prints the
coverage and by how much the mean steps of the chosen rates deviate from the true mean.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.findings.steps_samples_fit import fit

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int], Floats]
PLANTED, DRAWS, EVERY = 150.0, 300, 5
DESIGNS = ((4, 3), (5, 3), (8, 3), (4, 5), (8, 5))


def alike(spread: float) -> Noise:
    """Return noise of equal width for every trial."""
    return lambda random, count, seeds: random.normal(0, spread, (count, seeds))


def widening(random: np.random.Generator, count: int, seeds: int) -> Floats:
    """Return noise from 0.03 at the smallest batch to 0.15 at the largest."""
    spread: Floats = np.geomspace(0.03, 0.15, count)[:, None]
    noise: Floats = random.normal(0, spread, (count, seeds))
    return noise


def narrowing(random: np.random.Generator, count: int, seeds: int) -> Floats:
    """Return noise from 0.15 at the smallest batch to 0.03 at the largest."""
    noise: Floats = widening(random, count, seeds)[::-1].copy()
    return noise


def shared(random: np.random.Generator, count: int, seeds: int) -> Floats:
    """Return noise of 0.1 per seed plus 0.05 per trial."""
    return random.normal(0, 0.05, (count, seeds)) + random.normal(0, 0.1, (1, seeds))


def heavy(random: np.random.Generator, count: int, seeds: int) -> Floats:
    """Return heavy-tailed noise with a standard deviation of 0.1."""
    noise: Floats = random.standard_t(4, (count, seeds)) * 0.1 / np.sqrt(2)
    return noise


def mistuned(random: np.random.Generator, count: int, seeds: int) -> Floats:
    """Return noise of 0.1 per batch size plus 0.05 per trial."""
    return random.normal(0, 0.05, (count, seeds)) + random.normal(0, 0.1, (count, 1))


NOISES: dict[str, Noise] = {
    "alike, 0.05": alike(0.05),
    "alike, 0.15": alike(0.15),
    "wider for large": widening,
    "wider for small": narrowing,
    "shared by a seed": shared,
    "heavy tails": heavy,
    "mistuned sizes": mistuned,
}


def bootstrap(sizes: Floats, logs: Floats, random: np.random.Generator) -> tuple[float, float]:
    """Return the bootstrap percentile interval; seeds are resampled within each batch size."""
    count, seeds = logs.shape
    drawn = random.integers(0, seeds, (DRAWS, count, seeds))
    means = np.take_along_axis(logs[None], drawn, 2).mean(2)
    grid = np.linspace(np.log(PLANTED) - 2.5, np.log(PLANTED) + 2.5, 1000)
    left = means[:, None, :] - np.log1p(np.exp(grid)[:, None] / sizes)
    best = np.exp(grid[left.var(axis=2).argmin(axis=1)])
    low, high = np.quantile(best, [0.025, 0.975])
    return float(low), float(high)


def measured(noise: Noise, count: int, seeds: int, repetitions: int) -> list[float]:
    """Return our coverage, the bootstrap's, the share with two ends, and their median ratio."""
    random, sizes = np.random.default_rng(count * 100 + seeds), np.geomspace(8, 2048, count)
    curve = np.log(300 * (1 + PLANTED / sizes))[:, None]
    ours, other, ratios = 0, 0, []
    for at in range(repetitions):
        logs = curve + noise(random, count, seeds)
        estimate = fit(sizes.tolist(), np.exp(logs).tolist())
        ours += estimate.low <= PLANTED <= estimate.high
        if at % EVERY == 0:
            low, high = bootstrap(sizes, logs, random)
            other += low <= PLANTED <= high
        if estimate.low > 0 and estimate.high < np.inf:
            ratios.append(estimate.high / estimate.low)
    shares = [
        ours / repetitions,
        other / len(range(0, repetitions, EVERY)),
        len(ratios) / repetitions,
    ]
    return [*shares, float(np.median(ratios))]


class Judged(NamedTuple):
    """Coverage of the interval, and the relative error of the mean steps, averaged."""

    coverage: float
    bias: float


def after_selection(
    spread: float,
    repetitions: int,
    rates: Sequence[int] = (4, 4, 4, 4, 4),
    seeds: int = 3,
    fresh: int = 5,
) -> dict[str, Judged]:
    """Return how a curve fares that is fitted after choosing a learning rate for each batch size.

    Args:
        spread: standard deviation of ln(steps) over the seeds.
        repetitions: number of simulated sweeps.
        rates: number of equally good learning rates for each of five batch sizes.
        seeds: seeds on which the rate with the fewest mean steps is chosen.
        fresh: seeds with which the chosen rate is trained again.

    Returns:
        The coverage and bias if the chosen rate is judged on the `same seeds`, on `fresh seeds`,
        and, for comparison, if it is given and not chosen (`no choice`, with `seeds` seeds).
    """
    random, sizes = np.random.default_rng(24), np.geomspace(8, 2048, 5)
    curve, most = 300 * (1 + PLANTED / sizes)[:, None], max(rates)
    absent = np.arange(most) >= np.array(rates)[:, None]
    mean = np.exp(spread**2 / 2)
    covered: dict[str, int] = {"same seeds": 0, "fresh seeds": 0, "no choice": 0}
    errors: dict[str, list[float]] = {name: [] for name in covered}
    for _ in range(repetitions):
        tried = curve[:, None] * np.exp(random.normal(0, spread, (5, most, seeds)))
        best = np.where(absent, np.inf, tried.mean(axis=2)).argmin(axis=1)
        again = curve[:, None] * np.exp(random.normal(0, spread, (5, most, fresh)))
        judged = {
            "same seeds": tried[np.arange(5), best],
            "fresh seeds": again[np.arange(5), best],
            "no choice": tried[:, 0],
        }
        for name, steps in judged.items():
            estimate = fit(sizes.tolist(), steps.tolist())
            covered[name] += estimate.low <= PLANTED <= estimate.high
            errors[name].append(float((steps / (curve * mean)).mean()) - 1)
    return {
        name: Judged(covered[name] / repetitions, float(np.mean(errors[name]))) for name in covered
    }


def main() -> None:
    """Print the tables."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{'noise':<18}sizes seeds   ours  bootstrap  two ends  high/low")
    for name, noise in NOISES.items():
        for count, seeds in DESIGNS:
            ours, other, closed, ratio = measured(noise, count, seeds, repetitions)
            print(
                f"{name:<18}{count:>5} {seeds:>5}  {ours:.3f}      {other:.3f}     "
                f"{closed:.3f}  {ratio:>8.2f}",
                flush=True,
            )
    print("\nequal rates at 8 … 2048  spread  judged on    coverage  mean steps")
    for rates in ((4, 4, 4, 4, 4), (1, 2, 3, 4, 4)):
        for spread in (0.05, 0.1, 0.2, 0.4):
            for name, found in after_selection(spread, repetitions, rates).items():
                print(
                    f"{rates!s:<25}{spread:<8g}{name:<11}  {found.coverage:>8.3f}  "
                    f"{100 * found.bias:>+8.2f} %",
                    flush=True,
                )


if __name__ == "__main__":
    main()
