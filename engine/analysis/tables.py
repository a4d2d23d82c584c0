"""The tables of an export as rows, in the columns that `docs/export.md` defines.

Columns and values are those of the entries in `engine.metrics.registry`.
"""

import csv
import io
from collections.abc import Iterable, Iterator

from batchscope.engine.analysis.tuning import choices
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.epoch_registry import EPOCH_METRICS
from batchscope.engine.metrics.metric import Value as Value
from batchscope.engine.metrics.norm_histogram import EDGES, Norms
from batchscope.engine.metrics.registry import EPOCH_COLUMNS as EPOCH_COLUMNS
from batchscope.engine.metrics.trial_registry import TABLE_METRICS

Row = dict[str, Value]

NORM_COLUMNS = ("trial", "batch_size", "seed", "epoch", "bin_left", "bin_right", "count")


def trial_rows(state: SweepState) -> Iterator[Row]:
    """Yield one row for each trial, also for those that never began."""
    made = choices(state)
    best = {name for choice in made for name in (choice.chosen, choice.judged)}
    open_groups = {choice.group for choice in made if choice.chosen is None}
    for trial in state.trials.values():
        of = state.configurations[trial.configuration]
        known = of.confirms or (of.rivals and of.rivals not in open_groups)
        yield {**trial_row(state, trial), "selected": of.id in best if known else None}


def trial_row(state: SweepState, trial: TrialState) -> Row:
    """Return settings and final metrics of one trial that do not depend on other trials."""
    return {metric.name: metric.read(state, trial) for metric in TABLE_METRICS}


def epoch_rows(state: SweepState) -> Iterator[Row]:
    """Yield one row for each epoch of every trial."""
    for trial in state.trials.values():
        for record in trial.records:
            yield {metric.name: metric.value(state, trial, record) for metric in EPOCH_METRICS}


def norm_rows(state: SweepState) -> Iterator[Row]:
    """Yield one row for every bin of gradient norms that is not empty, epoch by epoch."""
    for trial in state.trials.values():
        for record in trial.records:
            for index, count in sorted(Norms(record.norms).bins.items()):
                yield {
                    "trial": trial.id,
                    "batch_size": trial.batch_size,
                    "seed": trial.seed,
                    "epoch": record.epoch,
                    "bin_left": EDGES[index],
                    "bin_right": EDGES[index + 1],
                    "count": count,
                }


def to_csv(columns: tuple[str, ...], rows: Iterable[Row]) -> str:
    """Return rows as CSV: a float reads back to the same bits, an unknown value is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
