"""The gradient noise scale of each configuration over its whole run, and its spread over seeds.

tr(Σ) and |G|² are averaged separately over all measurements and divided last (McCandlish et al.
2018, arXiv:1812.06162, appendix A.1): a mean of ratios would be biased. The interval is Fieller's
for a ratio of two means over the seeds (Fieller 1954); there is none where the seeds cannot
distinguish |G|² from 0. The same is done with |∇L_train|², the signal corrected for the finite
training set: see `engine.metrics.noise_scale`.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

from batchscope.engine.analysis.figures import by_batch_size
from batchscope.engine.analysis.statistics import LEVEL
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.noise_scale import (
    Noise,
    no_noise_scale,
    noise_of_sgd,
    noise_over,
    population,
)

AGREE = 10.0
"""Two figures that differ by less than this factor agree in their order of magnitude."""


class NoiseFinding(Struct, frozen=True, kw_only=True):
    """A noise scale in images, or the `reason` why it is undetermined.

    `trace` and `signal` are the means of tr(Σ) and |G|² over `draws` steps of `n` seeds; `low` and
    `high` are the 95 % interval, None without one. `sgd_noise_scale` is that of Smith and Le, which
    follows from the settings: see `engine.metrics.noise_scale`. The fields that end in `_train` are
    those of the training set: `signal_train` is the mean of |∇L_train|².
    """

    configuration: str
    label: str
    batch_size: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    trace: float | None = None
    signal: float | None = None
    draws: int = 0
    n: int = 0
    reason: str = ""
    sgd_noise_scale: float | None = None
    value_train: float | None = None
    low_train: float | None = None
    high_train: float | None = None
    signal_train: float | None = None
    reason_train: str = ""


def noise_scales(state: SweepState) -> list[NoiseFinding]:
    """Return the noise scale of each configuration with a finished trial, by batch size."""
    findings = []
    for name in by_batch_size(state):
        each = state.configurations[name]
        trials = [trial for trial in state.replicates(name) if trial.status == "finished"]
        if not trials:
            continue
        seeds = [drawn for trial in trials if (drawn := noise_over([trial])).draws]
        whole = noise_over(trials)
        low, high = _interval(seeds)
        value = whole.scale
        size = population(state, trials[0])
        train = whole.of_training(size) if size is not None and whole.draws else None
        train_ends = _interval([one.of_training(size) for one in seeds]) if size else (None, None)
        train_value = train.scale if train else None
        findings.append(
            NoiseFinding(
                configuration=name,
                label=each.label,
                batch_size=each.settings.train.batch_size,
                value=value,
                low=low if value is not None else None,
                high=high if value is not None else None,
                trace=whole.trace if whole.draws else None,
                signal=whole.signal if whole.draws else None,
                draws=whole.draws,
                n=len(seeds),
                reason="" if value is not None else _why(whole, no_noise_scale(each.settings)),
                sgd_noise_scale=noise_of_sgd(state, trials[0]),
                value_train=train_value,
                low_train=train_ends[0] if train_value is not None else None,
                high_train=train_ends[1] if train_value is not None else None,
                signal_train=train.signal if train else None,
                reason_train=""
                if train_value is not None
                else _why(train or whole, no_noise_scale(each.settings), "|∇L_train|²"),
            )
        )
    return findings


def _interval(seeds: Sequence[Noise]) -> tuple[float | None, float | None]:
    return ratio_interval([(one.trace, one.signal) for one in seeds])


def ratio_interval(
    pairs: Sequence[tuple[float, float]], level: float = LEVEL
) -> tuple[float | None, float | None]:
    """Return Fieller's interval of coverage 1 − `level` for mean(x)/mean(y) over pairs (x, y).

    It holds the ratios r for which a one-sample t test cannot distinguish the mean of x − r y from
    0. Both ends are None if the test cannot distinguish the mean of y from 0, or with fewer than
    two pairs.
    """
    from scipy.special import stdtrit

    n = len(pairs)
    if n < 2:
        return None, None
    x, y = (math.fsum(pair[at] for pair in pairs) / n for at in (0, 1))
    xx, yy, xy = (
        math.fsum((p[a] - (x, y)[a]) * (p[b] - (x, y)[b]) for p in pairs) / (n - 1) / n
        for a, b in ((0, 0), (1, 1), (0, 1))
    )
    t = float(stdtrit(n - 1, 1 - level / 2)) ** 2
    a, b, c = y * y - t * yy, x * y - t * xy, x * x - t * xx
    inside = b * b - a * c
    if a <= 0 or inside < 0:
        return None, None
    half = math.sqrt(inside)
    return (b - half) / a, (b + half) / a


def agrees(noise: float | None, critical: float | None) -> bool | None:
    """Return whether two values have the same order of magnitude; no more is claimed."""
    if noise is None or critical is None or noise <= 0:
        return None
    return 1 / AGREE <= noise / critical <= AGREE


def _why(drawn: Noise, impossible: str, signal: str = "|G|²") -> str:
    if impossible:
        return impossible
    if not drawn.draws:
        return "it was not measured"
    return f"the estimate of {signal} is not positive: more measurements are needed"
