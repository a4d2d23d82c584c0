"""Summarizes the frozen-weight probe: means over the seeds of each configuration, with intervals.

Pure functions of a `SweepState`; only finished trials count. Within one configuration and moment
every batch size is drawn at the same weights, so each mean is also divided by that of the smallest.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from batchscope.engine.analysis.figures import preferred
from batchscope.engine.findings.configuration_summary import Mean, mean_over, measured_in
from batchscope.engine.journal.events import Probed
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.probe_registry import COMPETED, DRAWN
from batchscope.engine.metrics.rounding_variance import single_variance
from batchscope.engine.spec import Configuration

Size = tuple[int, ...]
Figures = Mapping[str, float | None]


class DrawSummary(Struct, frozen=True, kw_only=True):
    """Gradients of batches of one size, drawn at the weights of one moment.

    `at_share` is the share of the budget that had been trained. `normalized` is the mean divided
    by that of the smallest size drawn there. `engine.metrics.probe_values` defines the measures.
    """

    configuration: str
    label: str
    at_share: float
    batch_size: int
    norm_mean: Mean | None
    norm_cv: Mean | None
    kurtosis: Mean | None
    pairwise_cosine: Mean | None


class CompetitionSummary(Struct, frozen=True, kw_only=True):
    """Several small steps compared with one large step, from the weights of one moment.

    `normalized` is the mean divided by that of the pair with the smallest large step.
    """

    configuration: str
    label: str
    at_share: float
    small: int
    large: int
    cosine: Mean | None
    length_ratio: Mean | None
    straightness: Mean | None
    step_cosine: Mean | None


@dataclass(frozen=True, slots=True)
class _Row:
    """Means of all measures for one size, at one moment of a configuration."""

    configuration: Configuration
    at_share: float
    size: Size
    means: dict[str, Mean | None]

    @property
    def place(self) -> dict[str, Any]:
        """Return the fields that both kinds of rows share."""
        return {
            "configuration": self.configuration.id,
            "label": self.configuration.label,
            "at_share": self.at_share,
            **self.means,
        }


def probes(state: SweepState) -> list[DrawSummary]:
    """Return the draws by training batch size, then moment, then size drawn, all rising."""
    return [DrawSummary(batch_size=row.size[0], **row.place) for row in _rows(state, _draws)]


def competitions(state: SweepState) -> list[CompetitionSummary]:
    """Return the competitions in the order of `probes`, smaller large steps first."""
    return [
        CompetitionSummary(large=row.size[0], small=row.size[1], **row.place)
        for row in _rows(state, _competitions)
    ]


def _draws(probed: Probed) -> Iterator[tuple[Size, Figures]]:
    for each in probed.draws:
        yield (each.batch_size,), {_short(name): of(each) for name, of in DRAWN.items()}


def _competitions(probed: Probed) -> Iterator[tuple[Size, Figures]]:
    for each in probed.competitions:
        size = (each.large, each.small)
        yield size, {_short(name): of(each) for name, of in COMPETED.items()}


def _short(measure: str) -> str:
    return measure.removeprefix("probe_").removeprefix("competition_")


def _rows(
    state: SweepState, figures_of: Callable[[Probed], Iterable[tuple[Size, Figures]]]
) -> Iterator[_Row]:
    for name in preferred(state):
        gathered: dict[float, dict[Size, list[Figures]]] = {}
        for trial in state.replicates(name):
            for probed in trial.probes if trial.status == "finished" else ():
                for size, figures in figures_of(probed):
                    at_moment = gathered.setdefault(probed.at_share, {})
                    at_moment.setdefault(size, []).append(figures)
        for at, sizes in sorted(gathered.items()):
            smallest = sizes[min(sizes)]
            for size, per_seed in sorted(sizes.items()):
                means = {figure: _mean(per_seed, smallest, figure) for figure in per_seed[0]}
                yield _Row(state.configurations[name], at, size, means)


def _mean(per_seed: list[Figures], smallest: list[Figures], figure: str) -> Mean | None:
    """Return the mean over the seeds, also divided by that of the smallest size."""
    mean, base = (_over(figures, figure) for figures in (per_seed, smallest))
    return measured_in(mean, base) if mean is not None else None


def _over(per_seed: list[Figures], figure: str) -> Mean | None:
    values = _known(per_seed, figure)
    floor = max(map(single_variance, values), default=0.0)
    return mean_over(values, floor, len(per_seed) - len(values))


def _known(per_seed: list[Figures], figure: str) -> list[float]:
    values = (figures[figure] for figures in per_seed)
    return [value for value in values if value is not None and math.isfinite(value)]
