"""Computes the metrics of the frozen-weight probe: one number per trial at one moment.

While the probe draws batches the weights do not change, so that batches of different sizes differ
in nothing else. A trend over several sizes within one training compares them at the same weights.
"""

from batchscope.engine.journal.events import Competition, Draws, Probed
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.metrics.metric import Spot
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.spec import Configuration

SIZES, PAIRS = "probe.batch_sizes", "probe.pairs"
NAMES = {SIZES: "probed batch size", PAIRS: "large batch size"}
"""Settings that are levels within one training, and what such a level is called."""


def norm_mean(draws: Draws) -> float | None:
    """Return the mean L2 norm of the gradients drawn."""
    return Norms([draws.norms]).mean


def norm_cv(draws: Draws) -> float | None:
    """Return the coefficient of variation of these norms: standard deviation (n − 1) ÷ mean.

    Norms rescaled to a common mean, as in Shen 2018, differ only in this.
    """
    return Norms([draws.norms]).cv


def kurtosis(draws: Draws) -> float | None:
    """Return the kurtosis of the gradients' single values: how heavy their tails are.

    E(g − ḡ)⁴ ÷ (E(g − ḡ)²)², Pearson's, 3 for a normal distribution, over all values of all
    gradients drawn.
    """
    return draws.values.kurtosis if draws.values else None


def pairwise_cosine(draws: Draws) -> float | None:
    """Return the mean cosine between two of the gradients drawn: 1 if all point the same way."""
    return draws.pairwise_cosine


def cosine(competition: Competition) -> float:
    """Return the mean cosine between the sum of the small steps and the large step (Shen 2018)."""
    return competition.cosine[0]


def length_ratio(competition: Competition) -> float:
    """Return the mean of |Σ small steps| ÷ |large step| (after Shen 2018)."""
    return competition.length_ratio[0]


def straightness(competition: Competition) -> float:
    """Return the mean of |Σ small steps| ÷ Σ |small step|: 1 if none of them undoes another."""
    return competition.straightness[0]


def step_cosine(competition: Competition) -> float:
    """Return the mean cosine between two of the small steps, weighted by their lengths."""
    return competition.step_cosine[0]


def draws_at(trial: TrialState, spot: Spot) -> Draws | None:
    """Return the draws of one batch size at a spot; None if nothing was drawn there."""
    held = _moment(trial, spot.at_share)
    size = trial.batch_size if spot.level is None else spot.level
    return next((each for each in held.draws if each.batch_size == size), None) if held else None


def competition_at(trial: TrialState, spot: Spot) -> Competition | None:
    """Return the competition of one pair of batch sizes at a spot; None where there was none."""
    held, pairs = _moment(trial, spot.at_share), trial.settings.probe.pairs
    wanted = pairs[:1] if spot.level is None else [p for p in pairs if p[1] == spot.level]
    competitions = held.competitions if held else ()
    return next((each for each in competitions if (each.small, each.large) in wanted), None)


def is_probed(configuration: Configuration, over: str = "", at_share: float | None = None) -> bool:
    """Return whether a configuration is probed, at that moment and at levels of `over` if given."""
    probe = configuration.settings.probe
    levels = {SIZES: probe.batch_sizes, PAIRS: probe.pairs}.get(over, (None,))
    return bool(levels) and (bool(probe.at) if at_share is None else at_share in probe.at)


def _moment(trial: TrialState, at_share: float | None) -> Probed | None:
    if at_share is None:
        return trial.probes[-1] if trial.probes else None
    return next((each for each in trial.probes if each.at_share == at_share), None)
