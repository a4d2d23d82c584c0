"""What the frozen-weight probe says of a trial: at one moment, one number a trial.

While it draws, the weights stand still, so that batches of different sizes differ in nothing
else. At several levels of one training these numbers are compared at the same weights.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from batchscope.engine.data.validation_split import training_size
from batchscope.engine.experiment.measure_names import (
    COMPETED_NAMES,
    DRAWN_NAMES,
    PAIRS,
    is_probed,
)
from batchscope.engine.experiment.selectors import Ladder
from batchscope.engine.journal.events import Competition, Draws, Probed
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.schedule.probe_sizes import UNBOUNDED, competing_pairs, drawn_sizes
from batchscope.engine.spec import Configuration, Settings


def norm_mean(draws: Draws) -> float | None:
    """Mean L2 norm of the gradients drawn."""
    return Norms([draws.norms]).mean


def norm_cv(draws: Draws) -> float | None:
    """Coefficient of variation of these norms: standard deviation (n − 1) ÷ mean.

    Norms rescaled to a common mean, as in Shen 2018, differ in this alone.
    """
    return Norms([draws.norms]).cv


def kurtosis(draws: Draws) -> float | None:
    """Heaviness of the tails of the gradients' single values: E(g − ḡ)⁴ ÷ (E(g − ḡ)²)².

    Pearson's, 3 for a normal distribution, over all values of all gradients drawn.
    """
    return draws.values.kurtosis if draws.values else None


def pairwise_cosine(draws: Draws) -> float | None:
    """Mean cosine between two of the gradients drawn: 1 where all point the same way."""
    return draws.pairwise_cosine


def cosine(competition: Competition) -> float:
    """Mean cosine between the sum of the small steps and the large step (after Shen 2018)."""
    return competition.cosine[0]


def length_ratio(competition: Competition) -> float:
    """Mean of |Σ small steps| ÷ |large step| (after Shen 2018)."""
    return competition.length_ratio[0]


def straightness(competition: Competition) -> float:
    """Mean of |Σ small steps| ÷ Σ |small step|: 1 where none of them takes another back."""
    return competition.straightness[0]


def step_cosine(competition: Competition) -> float:
    """Mean cosine between two of the small steps, weighted by their lengths."""
    return competition.step_cosine[0]


DRAWN: dict[str, Callable[[Draws], float | None]] = {
    "probe_norm_mean": norm_mean,
    "probe_norm_cv": norm_cv,
    "probe_kurtosis": kurtosis,
    "pairwise_cosine": pairwise_cosine,
}
assert tuple(DRAWN) == DRAWN_NAMES
COMPETED: dict[str, Callable[[Competition], float]] = {
    "competition_cosine": cosine,
    "competition_length_ratio": length_ratio,
    "competition_straightness": straightness,
    "competition_step_cosine": step_cosine,
}
assert tuple(COMPETED) == COMPETED_NAMES


class Spot(NamedTuple):
    """Where in a training its probe is read.

    `level` is the batch size drawn, or the large one of a pair; without it the trial's own batch
    size, or the first pair. `at_share` is the moment; without it the last one. Of the sharpness,
    `epsilon` is the half-width of the box; without it the first one.
    """

    level: float | None = None
    at_share: float | None = None
    epsilon: float | None = None


OWN = Spot()


def probed_value(trial: TrialState, measure: str, spot: Spot = OWN) -> float | None:
    """A measure of `DRAWN` or `COMPETED`; None where nothing was drawn there."""
    held = _moment(trial, spot.at_share)
    if held is None:
        return None
    if measure in DRAWN:
        size = trial.batch_size if spot.level is None else spot.level
        drawn = next((each for each in held.draws if each.batch_size == size), None)
        return DRAWN[measure](drawn) if drawn else None
    asked = trial.settings.probe.pairs
    wanted = asked[:1] if spot.level is None else [pair for pair in asked if pair[1] == spot.level]
    of_pair = (each for each in held.competitions if (each.small, each.large) in wanted)
    competition = next(of_pair, None)
    return COMPETED[measure](competition) if competition else None


def _moment(trial: TrialState, at_share: float | None) -> Probed | None:
    if at_share is None:
        return trial.probes[-1] if trial.probes else None
    return next((each for each in trial.probes if each.at_share == at_share), None)


def ladder_within(
    state: SweepState,
    over: str,
    at_share: float | None = None,
    among: Iterable[Configuration] | None = None,
) -> Ladder:
    """The levels of `SIZES` or `PAIRS`, each with those `among` all that are probed then.

    Only those probed at the same levels are averaged, since a level with other configurations
    than the next would pass for an effect; those probed at most levels count.
    """
    levels = {
        each.id: _levels(state, each.settings, over)
        for each in (state.configurations.values() if among is None else among)
        if is_probed(each, over, at_share)
    }
    longest = max(levels.values(), key=len, default=())
    probed = [state.configurations[name] for name in levels]
    kept = tuple(each for each in probed if levels[each.id] == longest)
    aside = tuple(each for each in probed if levels[each.id] != longest)
    return Ladder(dict.fromkeys(longest, kept), aside)


def _levels(state: SweepState, settings: Settings, over: str) -> tuple[float, ...]:
    """Batch sizes drawn, or the large ones of the pairs."""
    data = state.data.get(settings.data.name)
    size = training_size(settings.data, data.train) if data else UNBOUNDED
    if over == PAIRS:
        return tuple(sorted({large for _, large in competing_pairs(settings, size)}))
    return drawn_sizes(settings, size) if settings.probe.batch_sizes else ()
