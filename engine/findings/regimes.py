"""What a batch size is good for, by the hyperbola: three regimes, and two marks along it.

Shallue et al. 2018 (arXiv:1811.03600) tell three regimes apart as the batch grows: steps fall as
1/B (perfect scaling), then less (diminishing returns), then not at all (maximal data parallelism).
They draw no border by number. Here it is a fifth above what is the least possible, on either arm of
the hyperbola of McCandlish et al. 2018: of the samples, E <= 1.2 E_min, which is B <= B_crit/5, and
of the steps, S <= 1.2 S_min, which is B >= 5 B_crit.
"""

from typing import Literal

Regime = Literal[
    "perfect scaling", "diminishing returns", "maximal data parallelism", "undetermined"
]
EXCESS = 0.2


def regime_at(batch_size: float, critical: float) -> Regime:
    """The regime of a batch size; `critical` may be 0 or infinite."""
    if batch_size <= EXCESS * critical:
        return "perfect scaling"
    return "maximal data parallelism" if EXCESS * batch_size >= critical else "diminishing returns"


def regime_within(
    batch_size: float, value: float | None, low: float, high: float
) -> tuple[Regime, bool]:
    """The regime, and whether it is the same at both ends of the interval of the critical size.

    Without a `value` it is told only where it is the same.
    """
    at_low, at_high = regime_at(batch_size, low), regime_at(batch_size, high)
    sure = at_low == at_high
    if value is None:
        return (at_low, True) if sure else ("undetermined", False)
    return regime_at(batch_size, value), sure


def above_linear_by(critical: float, smallest: float, excess: float = EXCESS) -> float:
    """The batch size whose steps are a fifth over linear scaling from the smallest batch.

    Zhang et al. 2024 (arXiv:2410.21676) call it critical. Scaled linearly, the samples stay those
    of the smallest batch B₀; E(B) = 1.2 E(B₀) on the hyperbola gives B = 0.2 B_crit + 1.2 B₀.
    """
    return excess * critical + (1.0 + excess) * smallest
