"""The tables of an export as rows, in the columns that `docs/export.md` defines.

Columns and values are those of the entries in `engine.metrics.registry`.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator

from batchscope.engine.analysis.tuning import choices
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.epoch_registry import EPOCH_METRICS
from batchscope.engine.metrics.metric import Value as Value
from batchscope.engine.metrics.norm_histogram import EDGES, Norms
from batchscope.engine.metrics.registry import EPOCH_COLUMNS as EPOCH_COLUMNS
from batchscope.engine.metrics.registry import TRIAL_COLUMNS
from batchscope.engine.metrics.task_metrics import task_epoch_columns, task_trial_columns
from batchscope.engine.metrics.trial_registry import TABLE_METRICS

Row = dict[str, Value]

_FORMULA = re.compile("'*[=+@\t\r\n＝＋－＠-]")
"""The start of a text that spreadsheets take for a formula, or of one that is already marked."""
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
    metrics = (*TABLE_METRICS, *task_trial_columns(state))
    return {metric.name: metric.read(state, trial) for metric in metrics}


def trial_columns(state: SweepState) -> tuple[str, ...]:
    """Return the columns of `trials.csv`: those of every sweep, then those of its tasks."""
    return (*TRIAL_COLUMNS, *(metric.name for metric in task_trial_columns(state)))


def epoch_columns(state: SweepState) -> tuple[str, ...]:
    """Return the columns of `epochs.csv`: those of every sweep, then those of its tasks."""
    return (*EPOCH_COLUMNS, *(metric.name for metric in task_epoch_columns(state)))


def epoch_rows(state: SweepState) -> Iterator[Row]:
    """Yield one row for each epoch of every trial."""
    metrics = (*EPOCH_METRICS, *task_epoch_columns(state))
    for trial in state.trials.values():
        for record in trial.records:
            yield {metric.name: metric.value(state, trial, record) for metric in metrics}


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
    text = _Lines()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


class _Lines(io.StringIO):
    """Ends the rows of a CSV writer with a newline.

    The writer itself must believe that they end with CR and LF: until Python 3.13 it leaves a CR
    without quotes otherwise, and the cell reads back as two rows.
    """

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else as_cell(str(value))


def as_cell(text: str) -> str:
    """Return a text with an apostrophe before it if a spreadsheet would run it as a formula.

    This is the remedy that OWASP recommends against CSV injection. Numbers stay as they are.
    """
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def of_cell(cell: str) -> str:
    """Return the text of which `as_cell` made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isprintable()
