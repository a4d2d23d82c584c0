"""The entries of the gradient norms by layer: measures of claims, read at a layer."""

from collections.abc import Callable

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.layer_norms import LayerNorms, layer_norms
from batchscope.engine.metrics.metric import OWN, Place, Rounding, Spot, TrialMetric, Value
from batchscope.engine.networks.architectures import layers_of
from batchscope.engine.networks.layer_names import layer_names
from batchscope.engine.spec import Settings


def _layers(settings: Settings) -> list[str]:
    if settings.task is not None:
        return list(settings.task.facts.layers) if settings.task.facts else []
    return layer_names(layers_of(settings.model, DATASETS[settings.data.name]))


LAYER = Place(
    key="layer",
    measures="measures of layers",
    setting="the network",
    offered=_layers,
    required=True,
)


class LayerMetric(TrialMetric, frozen=True, kw_only=True):
    """A `figure` of the gradient norms of one layer over a whole training."""

    figure: Callable[[LayerNorms], float | None]
    column: bool = False
    rounding: Rounding = Rounding.FLOAT32
    places: tuple[Place, ...] = (LAYER,)

    def read(self, state: SweepState, trial: TrialState, spot: Spot = OWN) -> Value:
        """Return the figure of the layer at a spot; None where it has none."""
        found = (each for each in layer_norms(trial) if each.layer == spot.layer)
        layer = next(found, None)
        return self.figure(layer) if layer else None


LAYER_METRICS = (
    LayerMetric(
        name="layer_norm_mean",
        unit="L2",
        title="mean gradient norm of a layer",
        definition="mean norm of the gradient of one layer's weights and biases over all measured "
        "steps; the claim names the `layer`",
        figure=lambda layer: layer.mean,
    ),
    LayerMetric(
        name="layer_norm_cv",
        unit="ratio",
        title="gradient norm cv of a layer",
        definition="coefficient of variation of these norms: standard deviation (n − 1) ÷ mean",
        figure=lambda layer: layer.cv,
    ),
    LayerMetric(
        name="layer_norm_share",
        unit="fraction",
        title="share of a layer in the squared gradient norm",
        definition="mean squared norm of the layer ÷ that of the whole gradient",
        figure=lambda layer: layer.share,
    ),
)
