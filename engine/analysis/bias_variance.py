"""The test error of each configuration as bias and variance over its seeds, as rows and lines.

The decomposition itself is in `engine.metrics.bias_variance`.
"""

from collections.abc import Sequence

from msgspec import Struct

from batchscope.engine.analysis.figures import by_batch_size
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.bias_variance import (
    LEAST_JUDGED,
    decomposed_over,
    differ,
    predicting,
)

FEW = "bias and variance need at least 4 finished seeds for an interval"
DIFFERENT = "the seeds have different test data, so bias and variance over them do not exist"


class BiasVariance(Struct, frozen=True, kw_only=True):
    """The decomposition of one configuration over its `seeds`, each part with its standard error.

    With three seeds the errors of the parts are None; that of `error`, a mean, is not.
    """

    configuration: str
    label: str
    batch_size: int
    seeds: int
    error: float
    bias: float
    variance: float
    variance_unbiased: float
    variance_biased: float
    net_variance: float
    error_se: float
    bias_se: float | None = None
    variance_se: float | None = None
    variance_unbiased_se: float | None = None
    variance_biased_se: float | None = None
    net_variance_se: float | None = None


def bias_variances(state: SweepState) -> list[BiasVariance]:
    """Return a row for each configuration with three finished seeds, smaller batch sizes first."""
    decompositions = []
    for name in by_batch_size(state):
        trials = predicting(state, name)
        parts = decomposed_over(trials)
        if parts is None:
            continue
        each = state.configurations[name]
        errors = parts.errors._asdict()
        known = errors if len(trials) >= LEAST_JUDGED else {"error": errors["error"]}
        decompositions.append(
            BiasVariance(
                configuration=name,
                label=each.label,
                batch_size=each.settings.train.batch_size,
                seeds=len(trials),
                **parts.whole._asdict(),
                **{f"{key}_se": value for key, value in known.items()},
            )
        )
    return decompositions


def on_different_data(state: SweepState) -> bool:
    """Return whether the seeds of a configuration were tested on different data."""
    return any(differ(predicting(state, name)) for name in state.configurations)


LABEL_MOST = 22
PARTS = ("error", "bias", "net_variance", "variance")
NAMES = ("error", "bias", "+ net variance", "(variance)")


def part_lines(rows: Sequence[BiasVariance]) -> list[str]:
    """Return a line for each configuration, in percent ± the jackknife's standard error.

    With three seeds the parts have no standard error. Empty if no configuration qualifies.
    """
    if not rows:
        return []
    longest = max(len(each.label) for each in rows)
    width = min(LABEL_MOST, max(len("batch size"), longest))
    counts = sorted({each.seeds for each in rows})
    over = "n=" + " to ".join(map(str, (counts[0], counts[-1])[: len(counts)]))
    heads = "".join(f"{name:>15}" for name in NAMES)
    lines = [f"{'batch size':>{width}}{heads}  in %, {over}"]
    for each in rows:
        cells = (f"{_cell(each, part):>15}" for part in PARTS)
        lines.append(f"{each.label[:width]:>{width}}{''.join(cells)}")
    return lines


def _cell(of: BiasVariance, part: str) -> str:
    """Format a part in percent, ± its standard error if it has one."""
    value, error = getattr(of, part), getattr(of, f"{part}_se")
    return f"{100 * value:.2f}" + ("" if error is None else f" ± {100 * error:.2f}")
