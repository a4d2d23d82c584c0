"""The entries of the metrics that the frozen-weight probe measures: measures of claims alone."""

from collections.abc import Callable

from batchscope.engine.journal.events import Competition, Draws
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.metric import OWN, Place, Rounding, Spot, TrialMetric, Value
from batchscope.engine.metrics.probe_values import (
    competition_at,
    cosine,
    draws_at,
    kurtosis,
    length_ratio,
    norm_cv,
    norm_mean,
    pairwise_cosine,
    step_cosine,
    straightness,
)

PROBE = "measures of the probe"
MOMENT = Place(
    key="at_share",
    measures=PROBE,
    setting="probe.at",
    offered=lambda settings: settings.probe.at,
)
MOMENT_OF_PAIRS = Place(
    key="at_share",
    measures=PROBE,
    setting="probe.at and probe.pairs",
    offered=lambda settings: settings.probe.at if settings.probe.pairs else (),
)


class DrawnMetric(TrialMetric, frozen=True, kw_only=True):
    """A `figure` of the gradients of many batches of one size, drawn at the same weights."""

    figure: Callable[[Draws], float | None]
    column: bool = False
    rounding: Rounding = Rounding.FLOAT32
    places: tuple[Place, ...] = (MOMENT,)

    def read(self, state: SweepState, trial: TrialState, spot: Spot = OWN) -> Value:
        """Return the figure of what was drawn at a spot; None where nothing was."""
        draws = draws_at(trial, spot)
        return self.figure(draws) if draws else None


class CompetedMetric(TrialMetric, frozen=True, kw_only=True):
    """A `figure` of successive small steps against one large step, from the same weights."""

    figure: Callable[[Competition], float | None]
    column: bool = False
    rounding: Rounding = Rounding.FLOAT32
    places: tuple[Place, ...] = (MOMENT_OF_PAIRS,)

    def read(self, state: SweepState, trial: TrialState, spot: Spot = OWN) -> Value:
        """Return the figure of one pair at a spot; None where there was no competition."""
        competition = competition_at(trial, spot)
        return self.figure(competition) if competition else None


DRAWN_METRICS = (
    DrawnMetric(
        name="probe_norm_mean",
        unit="L2",
        definition="mean L2 norm of the gradients drawn",
        figure=norm_mean,
    ),
    DrawnMetric(
        name="probe_norm_cv",
        unit="ratio",
        definition="coefficient of variation of these norms: standard deviation (n − 1) ÷ mean",
        figure=norm_cv,
    ),
    DrawnMetric(
        name="probe_kurtosis",
        unit="ratio",
        definition="kurtosis of all single values g of the gradients drawn: mean of (g − mean)⁴ ÷ "
        "variance²; 3 for a normal distribution, more with heavier tails",
        figure=kurtosis,
    ),
    DrawnMetric(
        name="pairwise_cosine",
        unit="cosine",
        definition="mean cosine of the angle between two of the gradients drawn",
        figure=pairwise_cosine,
    ),
)
COMPETED_METRICS = (
    CompetedMetric(
        name="competition_cosine",
        unit="cosine",
        definition="mean cosine of the angle between the sum of the small steps and the large step",
        figure=cosine,
    ),
    CompetedMetric(
        name="competition_length_ratio",
        unit="ratio",
        definition="mean of the length of that sum ÷ the length of the large step",
        figure=length_ratio,
    ),
    CompetedMetric(
        name="competition_straightness",
        unit="ratio",
        definition="mean of the length of that sum ÷ the sum of the small steps' lengths; 1 if no "
        "small step undoes another",
        figure=straightness,
    ),
    CompetedMetric(
        name="competition_step_cosine",
        unit="cosine",
        definition="mean cosine of the angle between two small steps, weighted by their lengths",
        figure=step_cosine,
    ),
)
PROBE_METRICS: tuple[TrialMetric, ...] = (*DRAWN_METRICS, *COMPETED_METRICS)
DRAWN = {metric.name: metric.figure for metric in DRAWN_METRICS}
COMPETED = {metric.name: metric.figure for metric in COMPETED_METRICS}
