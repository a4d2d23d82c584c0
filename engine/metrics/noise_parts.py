"""What one trial contributes to the noise scale of several seeds: its tr(Σ) and |G|²."""

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.metric import RatioParts
from batchscope.engine.metrics.noise_scale import noise_of_training, noise_over


def noise_parts(trial: TrialState) -> RatioParts | None:
    """Return the means of tr(Σ) and |G|² over the whole run; None without a measurement."""
    drawn = noise_over([trial])
    return RatioParts((drawn.trace, drawn.signal)) if drawn.draws else None


def train_noise_parts(state: SweepState, trial: TrialState) -> RatioParts | None:
    """Return the means of tr(Σ) and |∇L_train|² over the whole run; None where not known."""
    noise = noise_of_training(state, trial)
    return RatioParts((noise.trace, noise.signal)) if noise and noise.draws else None


def noise_growth_parts(trial: TrialState) -> RatioParts | None:
    """Return tr(Σ) and |G|² of the second half of the planned steps, and of the first half.

    None if one of the halves has no measurement.
    """
    first, second = noise_over([trial], 0.0, 0.5), noise_over([trial], 0.5, 1.0)
    if not first.draws or not second.draws:
        return None
    return RatioParts((second.trace, second.signal), (first.trace, first.signal))
