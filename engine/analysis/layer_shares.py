"""Gradient norms by layer of a configuration: means over its seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.layer_norms import layer_norms


@dataclass(frozen=True, slots=True)
class LayerMeans:
    """Figures of one layer, each a mean over the seeds that have it; None where none has.

    Attributes:
        layer: name of the layer.
        parameters: number of its weights and biases.
        mean: mean gradient norm.
        cv: coefficient of variation of the norms within a seed.
        share: share of the squared norm of the whole gradient, from 0 to 1.
        seeds: number of seeds.
    """

    layer: str
    parameters: int
    mean: float | None
    cv: float | None
    share: float | None
    seeds: int


def layer_means(
    state: SweepState, configuration: str, start: float = 0.0, stop: float = 1.0
) -> list[LayerMeans]:
    """Return the mean gradient norms of each layer over a share of the planned steps.

    Layers are in network order.
    """
    seeds = [layer_norms(trial, start, stop) for trial in state.replicates(configuration)]
    known = [layers for layers in seeds if layers]
    return [
        LayerMeans(
            layer=layers[0].layer,
            parameters=layers[0].parameters,
            mean=_mean(each.mean for each in layers),
            cv=_mean(each.cv for each in layers),
            share=_mean(each.share for each in layers),
            seeds=len(layers),
        )
        for layers in zip(*known, strict=True)
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
