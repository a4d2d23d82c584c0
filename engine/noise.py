"""The gradient noise scale, tr(Σ)/|G|², of means that were taken apart; and where there is none.

McCandlish et al. 2018 (arXiv:1812.06162) call it B_simple: about the batch size up to which twice
the batch is worth twice the steps. It comes near the critical batch size in its order of magnitude.
"""

import math

from engine.architecture import has_batch_norm
from engine.course import changing
from engine.spec import Settings


def noise_scale(trace: float, signal: float) -> float | None:
    """In samples; None where the estimate of |G|² is not positive, and so undetermined."""
    if not (math.isfinite(trace) and math.isfinite(signal)) or signal <= 0:
        return None
    return trace / signal


def no_noise_scale(settings: Settings) -> str:
    """Why there is none for these settings; empty where there is one."""
    if has_batch_norm(settings.model):
        return "with batch norm the gradient of a part of the batch is none of the whole"
    if settings.train.batch_size < 2 and not changing(settings):
        return "a batch of one image has no parts"
    return ""
