"""The tables of sharpness and of lines between solutions; `docs/export.md` defines the columns."""

from collections.abc import Iterator

from batchscope.engine.analysis.tables import Row
from batchscope.engine.journal.sweep_state import SweepState

SHARPNESS_COLUMNS = (
    "trial", "batch_size", "seed", "epsilon", "dimensions", "samples", "loss", "highest_loss",
    "sharpness", "evaluations", "iterations", "seconds", "reason",
)  # fmt: skip
LINE_COLUMNS = (
    "from_trial", "to_trial", "seed", "alpha", "train_loss", "train_accuracy", "test_loss",
    "test_accuracy", "train_samples", "recalibrated",
)  # fmt: skip


def sharpness_rows(state: SweepState) -> Iterator[Row]:
    """Yield a row for each box of each trial."""
    for trial in state.trials.values():
        for box in trial.sharpness:
            yield {
                "trial": trial.id,
                "batch_size": trial.batch_size,
                "seed": trial.seed,
                "epsilon": box.epsilon,
                "dimensions": box.dimensions,
                "samples": box.samples,
                "loss": box.loss,
                "highest_loss": box.highest_loss,
                "sharpness": box.sharpness,
                "evaluations": box.evaluations,
                "iterations": box.iterations,
                "seconds": box.seconds,
                "reason": box.reason,
            }


def line_rows(state: SweepState) -> Iterator[Row]:
    """Yield a row for each point of each line, in the order of the seeds."""
    for (start, end), line in sorted(state.lines.items(), key=lambda each: _seed(state, each[0])):
        for point in line.points:
            yield {
                "from_trial": start,
                "to_trial": end,
                "seed": state.trials[start].seed,
                "alpha": point.alpha,
                "train_loss": point.train_loss,
                "train_accuracy": point.train_accuracy,
                "test_loss": point.test_loss,
                "test_accuracy": point.test_accuracy,
                "train_samples": line.samples,
                "recalibrated": line.recalibrated,
            }


def _seed(state: SweepState, ends: tuple[str, str]) -> int:
    return state.trials[ends[0]].seed
