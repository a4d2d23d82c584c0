"""Finds metrics: by name, and for each place that shows them, in its order.

A quantity has its name, unit, title, definition, direction, rounding, tag and value in one entry of
`epoch_registry`, `trial_registry` or `probe_registry`, and everything that shows it reads the entry
from here. So a new scalar instrument needs four changes: its own module, its place in the list of
instruments, a field of `EpochRecord`, and an entry at the end of `EPOCH_METRICS`. Run
`python docs/make_export.py` afterwards.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.epoch_registry import CURVE_ORDER, EPOCH_METRICS
from batchscope.engine.metrics.layer_registry import LAYER_METRICS
from batchscope.engine.metrics.metric import OWN, Metric, Place, Spot, TrialMetric
from batchscope.engine.metrics.probe_registry import COMPETED, DRAWN, PROBE_METRICS
from batchscope.engine.metrics.probe_values import PAIRS, SIZES
from batchscope.engine.metrics.task_metrics import task_value
from batchscope.engine.metrics.trial_registry import (
    BAR_ORDER,
    NAMED_METRICS,
    SUMMARY_ORDER,
    TABLE_METRICS,
)

Kind = TypeVar("Kind", bound=Metric)


def _ordered(metrics: Iterable[Kind], first: Sequence[str]) -> tuple[Kind, ...]:
    """Sort metrics: those that `first` names in its order, then the others in their own."""
    rank = {name: at for at, name in enumerate(first)}
    return tuple(sorted(metrics, key=lambda metric: rank.get(metric.name, len(rank))))


TRIAL_METRICS: tuple[TrialMetric, ...] = (
    *TABLE_METRICS,
    *NAMED_METRICS,
    *PROBE_METRICS,
    *LAYER_METRICS,
)
EPOCH = {metric.name: metric for metric in EPOCH_METRICS}
"""Epoch metrics by name."""
TRIAL = {metric.name: metric for metric in TRIAL_METRICS}
"""Trial metrics by name."""

EPOCH_COLUMNS = tuple(metric.name for metric in EPOCH_METRICS)
TRIAL_COLUMNS = tuple(metric.name for metric in TABLE_METRICS)
TAGS = {metric.name: metric.tag or metric.name for metric in EPOCH_METRICS if metric.scalar}
"""The TensorBoard tag of each column of `epochs.csv` that is drawn over the steps."""
CURVES = _ordered((metric for metric in EPOCH_METRICS if metric.curve), CURVE_ORDER)
BARS = _ordered((metric for metric in TRIAL_METRICS if metric.bar), BAR_ORDER)
PLOTS = tuple(metric for metric in TRIAL_METRICS if metric.plot)
"""What the report draws over the batch size."""
SUMMARY = _ordered((metric for metric in TRIAL_METRICS if metric.summary), SUMMARY_ORDER)
"""The figures of a configuration in `findings.json`."""
MEASURES = tuple(metric.name for metric in TRIAL_METRICS if not metric.text)
"""What a claim may measure."""
NAMED = tuple(metric.name for metric in (*NAMED_METRICS, *PROBE_METRICS, *LAYER_METRICS))
"""Measures that are no columns of `trials.csv`."""
PROBED = tuple(metric.name for metric in PROBE_METRICS)
FITTING = {SIZES: tuple(DRAWN), PAIRS: tuple(COMPETED)}
"""The measures that have a value at each level within one training."""
TIMED = tuple(metric.name for metric in TRIAL_METRICS if metric.stack == "time")
"""Measures that are times or paces: whatever else ran on the machine affects them."""
PEAKS = tuple(metric.name for metric in TRIAL_METRICS if metric.stack == "peak")
"""Measures that are peaks of memory: a stack shares one."""


def places() -> dict[str, Place]:
    """Return the keys of a claim that say where its measure is read, each with one such place."""
    return {place.key: place for metric in TRIAL_METRICS for place in metric.places}


def value_of(state: SweepState, trial: TrialState, measure: str, spot: Spot = OWN) -> float | None:
    """Return a measure of one trial, read at a spot; None where it is not known or not finite.

    A metric that is not in the registry is one of a task; one of a later version has no value.
    """
    metric = TRIAL.get(measure)
    value = metric.read(state, trial, spot) if metric else task_value(trial.last, measure)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
