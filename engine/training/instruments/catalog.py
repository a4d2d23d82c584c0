"""Builds the list of instruments that measure during a training; no other place names them all."""

from batchscope.engine.training.instruments.grad_norms import GradientNorms
from batchscope.engine.training.instruments.gradient_cosine import GradientCosine
from batchscope.engine.training.instruments.instrument import Instrument, TrainingView
from batchscope.engine.training.instruments.layer_norms import LayerNorms
from batchscope.engine.training.instruments.noise_scale import NoiseScale
from batchscope.engine.training.instruments.weight_distance import WeightDistance
from batchscope.engine.training.instruments.weight_travel import weight_travel


def build_instruments(view: TrainingView) -> list[Instrument]:
    """Return the instruments of a training, in the order in which a step calls them."""
    norms = GradientNorms(view.gradient, view.slice_steps)
    return [
        norms,
        NoiseScale.of(view),
        weight_travel(view, norms),
        WeightDistance(view.weights, view.start_weights),
        LayerNorms.of(view),
        GradientCosine.of(view),
    ]
