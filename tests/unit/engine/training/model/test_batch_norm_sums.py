"""Batch norm over many pixels, against that of torch in float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchscope.engine.training.model.batch_norm_sums import (
    LONGEST_SUM,
    SHORTEST_SUM,
    _folds,
    normalize,
    normalize_backward,
)

EPSILON, MOMENTUM = 1e-5, 0.1
SHAPES = {
    "many images": (128, 4, 28, 28),
    "a ragged last batch": (29, 3, 28, 28),
    "one image": (1, 5, 64, 64),
    "an odd number of odd images": (33, 2, 7, 7),
    "one channel": (40, 1, 8, 8),
    "a prime number of pixels": (4099, 2, 1, 1),
    "few pixels": (3, 2, 5, 5),
    "features": (6000, 7),
}


class Normed:
    """Output, gradients and running statistics of a batch."""

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
    ) -> None:
        generator = torch.Generator().manual_seed(len(shape))
        x, d = (torch.randn(shape, generator=generator) for _ in range(2))
        kind = {"memory_format": layout} if len(shape) == 4 else {}
        self.x = (3.0 * x + 10.0).to(dtype).contiguous(**kind)
        self.d = (d + 0.5 * x - 2.0).to(dtype).contiguous(**kind)
        self.scale, self.shift = (
            torch.randn(shape[1], generator=generator).to(dtype) for _ in range(2)
        )
        self.running = torch.zeros(shape[1], dtype=dtype), torch.ones(shape[1], dtype=dtype)

    def ours(self) -> list[Tensor]:
        y, mean, inverse = normalize(
            self.x, self.scale, self.shift, self.running, MOMENTUM, EPSILON
        )
        back = normalize_backward(self.d, self.x, self.scale, mean, inverse, EPSILON)
        return [y, *back, *self.running]

    def torchs(self) -> list[Tensor]:
        leaves = [each.requires_grad_() for each in (self.x, self.scale, self.shift)]
        x, scale, shift = leaves
        y = functional.batch_norm(x, *self.running, scale, shift, True, MOMENTUM, EPSILON)
        return [y.detach(), *torch.autograd.grad(y, leaves, self.d), *self.running]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_equals_torch_in_float64(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    ours = Normed(shape, torch.float64, layout).ours()
    torchs = Normed(shape, torch.float64, torch.contiguous_format).torchs()
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_rounding_errors_do_not_grow_with_the_number_of_pixels(shape: tuple[int, ...]) -> None:
    ours = Normed(shape, torch.float32, torch.channels_last).ours()
    exact = Normed(shape, torch.float64, torch.contiguous_format).torchs()
    divisible = shape != SHAPES["a prime number of pixels"]
    for one, other in zip(ours, exact, strict=True):
        apart = (one.double() - other).abs().max() / other.abs().max()
        assert float(apart) < (3e-6 if divisible else 3e-5)


def test_a_channel_without_variance_has_the_statistics_of_torch() -> None:
    x = torch.full((64, 2, 28, 28), 3.0).contiguous(memory_format=torch.channels_last)
    x[:, 1] = torch.randn(64, 28, 28)
    norm = nn.BatchNorm2d(2)
    expected = norm(x.contiguous())
    running = torch.zeros(2), torch.ones(2)
    y, mean, inverse = normalize(x, torch.ones(2), torch.zeros(2), running, MOMENTUM, EPSILON)
    torch.testing.assert_close(y, expected.detach(), rtol=1e-4, atol=1e-4)
    assert float(mean[0]) == 3.0
    assert float(inverse[0]) == pytest.approx(EPSILON**-0.5)
    torch.testing.assert_close(running, (norm.running_mean, norm.running_var))


@pytest.mark.parametrize("pixels", [1, 2, 1024, 1025, 4099, 6272, 100_352, 50_021 * 2, 10_007 * 3])
def test_sums_are_short_wherever_the_pixels_can_be_divided(pixels: int) -> None:
    k = _folds(pixels)
    assert pixels % k == 0
    divisors = [n for n in range(1, pixels + 1) if pixels % n == 0]
    short = [n for n in divisors if SHORTEST_SUM <= pixels // n <= LONGEST_SUM]
    assert k == (min(short) if pixels > LONGEST_SUM and short else 1)
