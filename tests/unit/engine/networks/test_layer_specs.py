"""Output shapes, weights and multiply-adds of layers, by hand."""

import pytest

from batchscope.engine.networks.layer_specs import (
    BatchNorm,
    Conv,
    Flatten,
    GlobalMean,
    LayerSpec,
    Linear,
    MaxPool,
    ReLU,
    Residual,
    Shape,
    fits,
    multiply_adds,
    output_shape,
    weights,
    with_inputs,
)

IMAGE = (3, 9, 8)


@pytest.mark.parametrize(
    ("layer", "shape", "output", "count", "work"),
    [
        (Conv(5), IMAGE, (5, 9, 8), 27 * 5 + 5, 27 * 5 * 72),
        (Conv(5, bias=False), IMAGE, (5, 9, 8), 27 * 5, 27 * 5 * 72),
        (Conv(5, stride=2), IMAGE, (5, 5, 4), 27 * 5 + 5, 27 * 5 * 20),
        (Conv(5, 5, padding=0), IMAGE, (5, 5, 4), 75 * 5 + 5, 75 * 5 * 20),
        (Conv(5, 1, 2, 0, bias=False), IMAGE, (5, 5, 4), 15, 15 * 20),
        (Linear(4), (7,), (4,), 32, 28),
        (Linear(4, bias=False), (7,), (4,), 28, 28),
        (BatchNorm(), IMAGE, IMAGE, 6, 0),
        (BatchNorm(8), (7,), (7,), 14, 0),
        (ReLU(), IMAGE, IMAGE, 0, 0),
        (MaxPool(), IMAGE, (3, 4, 4), 0, 0),
        (GlobalMean(), IMAGE, (3, 1, 1), 0, 0),
        (Flatten(), IMAGE, (216,), 0, 0),
        (Residual((Conv(3),)), IMAGE, IMAGE, 84, 81 * 72),
        (
            Residual((Conv(5, stride=2),), (Conv(5, 1, 2, 0),)),
            IMAGE,
            (5, 5, 4),
            140 + 20,
            27 * 5 * 20 + 15 * 20,
        ),
    ],
)
def test_one_layer(layer: LayerSpec, shape: Shape, output: Shape, count: int, work: int) -> None:
    assert layer.output(shape) == output
    assert layer.weights(shape) == count
    assert layer.multiply_adds(shape) == work
    assert layer.fits(shape)


def test_a_sequence_hands_each_output_on() -> None:
    layers = (Conv(4), MaxPool(), Flatten(), Linear(10))
    shapes = [shape for _, shape in with_inputs(layers, (1, 8, 6))]
    assert shapes == [(1, 8, 6), (4, 8, 6), (4, 4, 3), (48,)]
    assert output_shape(layers, (1, 8, 6)) == (10,)
    assert weights(layers, (1, 8, 6)) == 40 + 490
    assert multiply_adds(layers, (1, 8, 6)) == 9 * 4 * 48 + 480


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((), True),
        ((Conv(2, 5, padding=0),), False),
        ((Conv(2, 4, padding=0),), True),
        ((MaxPool(), MaxPool()), True),
        ((MaxPool(), MaxPool(), MaxPool()), False),
        ((MaxPool(), MaxPool(), MaxPool(), Flatten(), Linear(3)), False),
        # the second convolution pads what the first one has reduced to nothing
        ((Residual((Conv(2, 5, padding=0), Conv(2, 1, padding=2))),), False),
        ((Residual((Conv(2),), (Conv(2, 5, padding=0), Conv(2, 1, padding=2))),), False),
    ],
)
def test_an_image_of_4_by_4_fits(layers: tuple[LayerSpec, ...], expected: bool) -> None:
    assert fits(layers, (1, 4, 4)) == expected
