"""The tables of an export as rows, in the columns that `docs/export.md` defines."""

import csv
import io
from collections.abc import Iterable, Iterator

from batchscope.engine.analysis.figures import noise_over, pace
from batchscope.engine.analysis.target_reached import reached
from batchscope.engine.analysis.tuning import choices
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.noise_scale import sgd_noise_scale
from batchscope.engine.metrics.norm_histogram import EDGES, Norms
from batchscope.engine.planning.batch_norm import normalized_over

Value = str | int | float | bool | None
Row = dict[str, Value]

EPOCH_COLUMNS = (
    "trial", "batch_size", "seed", "epoch", "steps", "samples", "lr", "train_loss",
    "train_accuracy", "test_loss", "test_accuracy", "generalization_gap", "epoch_seconds",
    "samples_per_second", "grad_norm_mean", "grad_norm_std", "grad_norm_cv", "distance_from_init",
    "weight_norm", "noise_scale", "peak_memory_bytes", "update_norm_mean", "path_length",
    "noise_trace", "noise_signal", "noise_draws", "last_batch_size", "validation_loss",
    "validation_accuracy", "stacked", "warm_up_seconds", "sgd_noise_scale",
)  # fmt: skip
NORM_COLUMNS = ("trial", "batch_size", "seed", "epoch", "bin_left", "bin_right", "count")


def trial_rows(state: SweepState) -> Iterator[Row]:
    """One row a trial, also of those that never began."""
    best = {choice.chosen for choice in choices(state)}
    open_groups = {choice.group for choice in choices(state) if choice.chosen is None}
    for trial in state.trials.values():
        group = state.configurations[trial.configuration].rivals
        known = group and group not in open_groups
        yield {
            **trial_row(state, trial),
            "selected": trial.configuration in best if known else None,
        }


def trial_row(state: SweepState, trial: TrialState) -> Row:
    """Settings and last figures of one trial."""
    return {**_settings(state, trial), **_outcome(state, trial)}


def epoch_rows(state: SweepState) -> Iterator[Row]:
    """One row an epoch of every trial."""
    for trial in state.trials.values():
        for record in trial.records:
            total = Norms(record.norms)
            yield {
                "trial": trial.id,
                "batch_size": trial.batch_size,
                "seed": trial.seed,
                "epoch": record.epoch,
                "lr": record.lr,
                **_measured(record),
                "epoch_seconds": record.seconds,
                "samples_per_second": _rate(record),
                "grad_norm_mean": total.mean,
                "grad_norm_std": total.std,
                "grad_norm_cv": total.cv,
                "weight_norm": record.weight_norm,
                "peak_memory_bytes": record.peak_memory_bytes,
                "update_norm_mean": record.update_norm_mean,
                "noise_trace": record.noise_trace,
                "noise_signal": record.noise_signal,
                "noise_draws": record.noise_draws,
                "last_batch_size": record.last_batch_size,
                "warm_up_seconds": record.warm_up_seconds,
                "stacked": trial.started.stacked if trial.started else None,
                "sgd_noise_scale": _shaking(
                    state, trial, record.lr, record.last_batch_size or trial.batch_size
                ),
            }


def norm_rows(state: SweepState) -> Iterator[Row]:
    """One row for every bin of gradient norms that is not empty, epoch by epoch."""
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
    """Rows as CSV: floats so that they read back to the same bits, unknown values empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _settings(state: SweepState, trial: TrialState) -> Row:
    settings, plan = trial.settings, state.plans.get(trial.id)
    return {
        "trial": trial.id,
        "status": trial.status,
        "batch_size": plan.batch_size if plan else trial.batch_size,
        "micro_batch_size": plan.micro_batch_size if plan else None,
        "accumulation_steps": plan.accumulation_steps if plan else None,
        "seed": trial.seed,
        "dataset": settings.data.name,
        "model": settings.model.name,
        "optimizer": settings.train.optimizer,
        "lr": trial.started.lr if trial.started else None,
        "scaling_rule": settings.scaling.rule,
        "configuration": trial.configuration,
        "label": state.configurations[trial.configuration].label,
        "attempt": trial.attempt,
        "memory_cuts": sum(not cut.grew for cut in trial.cuts),
        "precision": settings.train.precision,
        "batch_norm_size": normalized_over(settings, plan) if plan else None,
        "reason": trial.reason,
        "stacked": trial.started.stacked if trial.started else None,
        "sgd_noise_scale": noise_of_sgd(state, trial),
        "device": trial.device or None,
        "data_parallel": plan.data_parallel if plan else settings.run.data_parallel,
    }


def _outcome(state: SweepState, trial: TrialState) -> Row:
    last = trial.last
    if last is None:
        return {"epochs": 0, "steps": 0, "samples": 0}
    from batchscope.engine.metrics.epoch_arrays import highest

    seconds, rate = pace(state, [trial])
    peak = highest(trial.records, "peak_memory_bytes")
    return {
        "epochs": last.epoch,
        **_measured(last),
        "best_test_accuracy": highest(trial.records, "test_accuracy"),
        "epoch_seconds": seconds,
        "samples_per_second": rate,
        "peak_memory_bytes": None if peak is None else int(peak),
        "init_norm": trial.started.init_norm if trial.started else None,
        **_noise(trial),
        **_to_target(trial),
        "sharpness": _sharpness(trial),
    }


def noise_of_sgd(state: SweepState, trial: TrialState) -> float | None:
    """Smith and Le's noise scale at the rate and batch size that a trial begins with."""
    return _shaking(state, trial, trial.started.lr if trial.started else None, trial.batch_size)


def _shaking(
    state: SweepState, trial: TrialState, lr: float | None, batch_size: int
) -> float | None:
    data = state.data.get(trial.settings.data.name)
    if lr is None or data is None:
        return None
    size = training_size(trial.settings.data, data.train)
    return sgd_noise_scale(trial.settings.train, lr, batch_size, size)


def _sharpness(trial: TrialState) -> float | None:
    """In the first of the boxes that were asked for."""
    measured = trial.sharpness_at()
    return measured.sharpness if measured else None


def _to_target(trial: TrialState) -> Row:
    totals = reached(trial)
    if totals is None:
        return {}
    return {f"{name}_to_target": value for name, value in totals._asdict().items()}


def _noise(trial: TrialState) -> Row:
    """The noise scale over the whole run: means over all draws, divided last."""
    noise = noise_over([trial])
    return {"noise_scale": noise.scale, "noise_draws": noise.draws}


def _measured(record: EpochRecord) -> Row:
    return {
        "steps": record.steps,
        "samples": record.samples,
        "train_loss": record.train_loss,
        "train_accuracy": record.train_accuracy,
        "test_loss": record.test_loss,
        "test_accuracy": record.test_accuracy,
        "generalization_gap": record.train_accuracy - record.test_accuracy,
        "distance_from_init": record.distance_from_init,
        "noise_scale": record.noise_scale,
        "path_length": record.path_length,
        "validation_loss": record.validation_loss,
        "validation_accuracy": record.validation_accuracy,
    }


def _rate(record: EpochRecord) -> float | None:
    return record.epoch_samples / record.seconds if record.seconds > 0 else None


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
