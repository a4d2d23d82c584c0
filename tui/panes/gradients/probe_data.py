"""The results of a sweep's probes, pooled over the seeds: moments, draws and competitions."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from batchscope.engine.analysis.figures import pooled
from batchscope.engine.journal.events import Competing, Competition, Draws, Probed
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.norm_histogram import Norms, Pool

Pair = tuple[int, int]
MEASURES = ("cosine", "length_ratio", "straightness", "step_cosine")


@dataclass(frozen=True, slots=True)
class Values:
    """Single gradient values of several seeds: counts by bin, deviation, and mean kurtosis."""

    bins: dict[int, int]
    std: float | None
    kurtosis: float | None


@dataclass(frozen=True, slots=True)
class PooledDraws:
    """Gradients of batches of one size at the weights of one configuration, over all seeds."""

    configuration: str
    batch_size: int
    draws: list[Draws]

    @property
    def norms(self) -> Pool:
        """The norms of all draws."""
        return Pool(Norms([each.norms]) for each in self.draws)

    @property
    def cosine(self) -> float | None:
        """The mean cosine between two gradients of the same seed."""
        known = [d.pairwise_cosine for d in self.draws if d.pairwise_cosine is not None]
        return sum(known) / len(known) if known else None

    @property
    def values(self) -> Values:
        """The single gradient values of all draws; the kurtosis is the mean over the seeds."""
        parts = [each.values for each in self.draws if each.values is not None]
        bins: dict[int, int] = {}
        for each in parts:
            for index, count in each.bins:
                bins[index] = bins.get(index, 0) + count
        spread = pooled((each.mean, each.std, each.count) for each in parts)
        tails = [each.kurtosis for each in parts if each.kurtosis is not None]
        return Values(
            bins,
            spread[1] if spread else None,
            sum(tails) / len(tails) if tails else None,
        )


@dataclass(frozen=True, slots=True)
class PooledCompetition:
    """Small steps compared with one large step in one configuration, over all seeds."""

    configuration: str
    parts: list[Competition]

    def figure(self, measure: str) -> tuple[float, float] | None:
        """Return mean and deviation of a measure over all draws."""
        return pooled((*getattr(part, measure), part.draws) for part in self.parts)

    @property
    def draws(self) -> int:
        """The number of draws of all seeds."""
        return sum(part.draws for part in self.parts)

    @property
    def outside(self) -> float | None:
        """The mean share of a large step's length that lies outside the plane of the small ones."""
        shares = [
            each.outside / length
            for part in self.parts
            for each in part.examples
            if (length := math.hypot(*each.large, each.outside)) > 0
        ]
        return sum(shares) / len(shares) if shares else None

    @property
    def picture(self) -> Competing | None:
        """The mean of the stored examples; None without any."""
        examples = [example for part in self.parts for example in part.examples]
        if not examples:
            return None

        def mean(values: Iterator[float]) -> float:
            return sum(values) / len(examples)

        return Competing(
            mean(e.total for e in examples),
            (mean(e.first[0] for e in examples), mean(e.first[1] for e in examples)),
            (mean(e.large[0] for e in examples), mean(e.large[1] for e in examples)),
            mean(e.outside for e in examples),
        )


def moments(state: SweepState) -> list[float]:
    """Return the shares of the budget at which any trial was probed, in ascending order."""
    return sorted({probe.at_share for trial in state.trials.values() for probe in trial.probes})


def has_draws(state: SweepState) -> bool:
    """Return whether any probe drew gradients at frozen weights."""
    return any(probe.draws for trial in state.trials.values() for probe in trial.probes)


def pairs(state: SweepState) -> list[Pair]:
    """Return the batch sizes, small and large, of all competitions in the sweep."""
    return sorted(
        {
            (each.small, each.large)
            for trial in state.trials.values()
            for probe in trial.probes
            for each in probe.competitions
        }
    )


def drawn_at(state: SweepState, order: list[str], moment: float) -> list[PooledDraws]:
    """Return the draws at one moment, ordered by configuration, then by batch size."""
    drawn: list[PooledDraws] = []
    for name in order:
        sizes: dict[int, list[Draws]] = {}
        for probe in _probes(state, name, moment):
            for each in probe.draws:
                sizes.setdefault(each.batch_size, []).append(each)
        drawn += [PooledDraws(name, size, draws) for size, draws in sorted(sizes.items())]
    return drawn


def contests_at(
    state: SweepState, order: list[str], moment: float, pair: Pair
) -> list[PooledCompetition]:
    """Return this competition at one moment, for each configuration that has it."""
    contests: list[PooledCompetition] = []
    for name in order:
        parts = [
            each
            for probe in _probes(state, name, moment)
            for each in probe.competitions
            if (each.small, each.large) == pair
        ]
        if parts:
            contests.append(PooledCompetition(name, parts))
    return contests


def versus(pair: Pair) -> str:
    """Format the batch sizes with the number of small steps: `1+1 vs 2` or `16×4 vs 64`."""
    small, large = pair
    times = large // small
    return f"{small}+{small} vs {large}" if times == 2 else f"{times}×{small} vs {large}"


def _probes(state: SweepState, configuration: str, moment: float) -> list[Probed]:
    return [
        probe
        for trial in state.replicates(configuration)
        for probe in trial.probes
        if probe.at_share == moment
    ]
