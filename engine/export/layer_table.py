"""The table of gradient norms by layer; columns as `docs/export.md` defines them."""

from collections.abc import Iterator

from batchscope.engine.analysis.tables import Row
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.layer_norms import stated_norms

LAYER_COLUMNS = (
    "trial", "batch_size", "seed", "epoch", "steps", "layer", "parameters", "layer_draws",
    "layer_norm_mean", "layer_norm_cv", "layer_norm_share",
)  # fmt: skip


def layer_rows(state: SweepState) -> Iterator[Row]:
    """Return a row for each layer and each epoch of a trial that reports norms by layer."""
    for trial in state.trials.values():
        for epoch, steps, layers in stated_norms(trial):
            for each in layers:
                yield {
                    "trial": trial.id,
                    "batch_size": trial.batch_size,
                    "seed": trial.seed,
                    "epoch": epoch,
                    "steps": steps,
                    "layer": each.layer,
                    "parameters": each.parameters,
                    "layer_draws": each.draws,
                    "layer_norm_mean": each.mean,
                    "layer_norm_cv": each.cv,
                    "layer_norm_share": each.share,
                }
