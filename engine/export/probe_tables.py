"""The tables of what the probe drew at frozen weights; `docs/export.md` defines the columns."""

from collections.abc import Iterator

from batchscope.engine.analysis.tables import Row
from batchscope.engine.journal.events import Draws, Probed, ValueBins
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.norm_histogram import EDGES, Norms, signed_edges

_MOMENT = ("trial", "batch_size", "seed", "at_share", "epoch", "steps", "samples")
PROBE_COLUMNS = (
    *_MOMENT, "probed_batch_size", "draws", "loss_reduction", "sampling", "norm_mean", "norm_std",
    "norm_cv", "value_mean", "value_std", "value_kurtosis", "pairwise_cosine",
)  # fmt: skip
PROBE_BIN_COLUMNS = (
    "trial", "batch_size", "seed", "at_share", "probed_batch_size", "quantity", "bin_left",
    "bin_right", "count",
)  # fmt: skip
_FIGURES = ("cosine", "length_ratio", "straightness", "step_cosine")
COMPETITION_COLUMNS = (
    *_MOMENT, "small_batch_size", "large_batch_size", "draws", "lr",
    *(f"{figure}_{part}" for figure in _FIGURES for part in ("mean", "std")),
)  # fmt: skip


def probe_rows(state: SweepState) -> Iterator[Row]:
    """Yield a row for each batch size drawn at each moment of each trial."""
    for trial, probed in _probes(state):
        train = trial.settings.train
        for draws in probed.draws:
            norms = Norms([draws.norms])
            yield {
                **_moment(trial, probed),
                "probed_batch_size": draws.batch_size,
                "draws": draws.norms.count + draws.norms.broken,
                "loss_reduction": train.loss_reduction,
                "sampling": train.sampling,
                "norm_mean": norms.mean,
                "norm_std": norms.std,
                "norm_cv": norms.cv,
                **_values(draws.values),
                "pairwise_cosine": draws.pairwise_cosine,
            }


def probe_bin_rows(state: SweepState) -> Iterator[Row]:
    """Yield a row for each bin of norms and of single values that is not empty."""
    for trial, probed in _probes(state):
        for draws in probed.draws:
            for quantity, left, right, count in _bins(draws):
                yield {
                    **_moment(trial, probed),
                    "probed_batch_size": draws.batch_size,
                    "quantity": quantity,
                    "bin_left": left,
                    "bin_right": right,
                    "count": count,
                }


def competition_rows(state: SweepState) -> Iterator[Row]:
    """Yield a row for each pair of batch sizes at each moment of each trial."""
    for trial, probed in _probes(state):
        for competition in probed.competitions:
            row: Row = {
                **_moment(trial, probed),
                "small_batch_size": competition.small,
                "large_batch_size": competition.large,
                "draws": competition.draws,
                "lr": competition.lr,
            }
            for figure in _FIGURES:
                row[f"{figure}_mean"], row[f"{figure}_std"] = getattr(competition, figure)
            yield row


def _probes(state: SweepState) -> Iterator[tuple[TrialState, Probed]]:
    for trial in state.trials.values():
        for probed in trial.probes:
            yield trial, probed


def _moment(trial: TrialState, probed: Probed) -> Row:
    return {
        "trial": trial.id,
        "batch_size": trial.batch_size,
        "seed": trial.seed,
        "at_share": probed.at_share,
        "epoch": probed.epoch,
        "steps": probed.steps,
        "samples": probed.samples,
    }


def _values(values: ValueBins | None) -> Row:
    if values is None:
        return {}
    return {
        "value_mean": values.mean,
        "value_std": values.std,
        "value_kurtosis": values.kurtosis,
    }


def _bins(draws: Draws) -> Iterator[tuple[str, float, float, int]]:
    for index, count in sorted(Norms([draws.norms]).bins.items()):
        yield "norm", EDGES[index], EDGES[index + 1], count
    for index, count in draws.values.bins if draws.values else ():
        yield "value", *signed_edges(index), count
