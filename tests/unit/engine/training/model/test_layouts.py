"""Convolutions that keep channels last compute what those of contiguous images do, and no more.

What writes beyond its memory may end the process, so the shapes are tried in one of their own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepare import prepare
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Data, Model, Train
from batchscope.engine.training.batches import Images, Labeled, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import alone, unheard
from tests.functional.lab import SHARED_DATA
from tests.unit.engine.training.stack_fixtures import Group
from tests.unit.training_fixtures import CPU, Run, make_trial, synthetic

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
SHAPES = """
import itertools, sys
import torch
from torch import nn
from batchscope.engine.training.model.layers import layers_of

torch.manual_seed(0)
torch.set_num_threads(1)
worst = 0.0
windows = [tuple(map(int, word.split(","))) for word in sys.argv[1:]]
channels = (1, 2, 3, 5, 7, 8)
for (kernel, stride, padding), size, groups, inputs, outputs in itertools.product(
    windows, (7, 8, 32), (1, 3), channels, (1, 5, 8)
):
    modules = [nn.Conv2d(inputs, outputs, kernel, stride, padding) for _ in range(groups)]
    parts = iter([
        (torch.stack(alike).detach(), torch.zeros(groups, *alike[0].shape))
        for alike in zip(*(module.parameters() for module in modules))
    ])
    given = []
    def parameters():
        given.append(next(parts))
        return given[-1]
    (layer,) = layers_of(nn.Sequential(modules[0]), parameters, iter(()), groups, True)
    x = torch.randn(3, groups, inputs, size, size)
    y = layer.forward(x.flatten(1, 2).contiguous(memory_format=torch.channels_last), True)
    d = torch.randn(y.shape)
    before = layer.backward(d.contiguous(memory_format=torch.channels_last), True, True)
    theirs = [x.double().requires_grad_(), *(w.double().requires_grad_() for w, _ in given)]
    # one image at a time of each replicate, by hand: windows times weights
    images = theirs[0].reshape(-1, inputs, size, size)
    columns = nn.functional.unfold(images, kernel, 1, padding, stride)
    columns = columns.view(3, groups, -1, columns.shape[-1])
    expected = theirs[1].flatten(2) @ columns + theirs[2].unsqueeze(2)
    expected.backward(d.double().view_as(expected))
    pairs = [(y, expected.detach()), (before, theirs[0].grad)]
    pairs += [(gradient, each.grad) for (_, gradient), each in zip(given, theirs[1:])]
    for ours, right in pairs:
        apart = (ours.double().reshape(-1) - right.reshape(-1)).abs().max() / right.abs().max()
        worst = max(worst, float(apart))
print(worst)
"""


@pytest.mark.parametrize("limits", [{}, AVX2], ids=["this processor", "AVX2"])
def test_a_convolution_of_few_channels_writes_only_its_own_memory(limits: dict[str, str]) -> None:
    """All kernels that the networks have, with several channels, image sizes and replicates."""
    windows = ("1,1,0", "1,2,0", "1,3,0", "3,1,1", "3,2,1", "5,1,0")  # kernel, stride, padding
    ended = subprocess.run(
        [sys.executable, "-c", SHAPES, *windows],
        env={**os.environ, "MALLOC_CHECK_": "3", **limits},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 2e-4  # of sums of 3,072 products


NARROW = Model(name="resnet18", width=0.0625)
TOLERANCE = 1e-2
GHOSTS = replace(NARROW, ghost_batch_size=8)


@pytest.fixture(scope="module")
def sixty_four(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """No last batch of two, of which batch norm multiplies the rounding."""
    return load_images(synthetic(tmp_path_factory.mktemp("images"), train=64, test=20), CPU)


def assert_alike(ours: list[EpochRecord], theirs: list[EpochRecord]) -> None:
    """Up to inputs of ReLU that are so near to 0 that rounding decides: one moves a percent."""
    assert ours[-1].steps == theirs[-1].steps > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=TOLERANCE)
        assert one.test_loss == pytest.approx(other.test_loss, rel=TOLERANCE)
        assert one.distance_from_init == pytest.approx(other.distance_from_init, rel=TOLERANCE)


MODELS = pytest.mark.parametrize("model", [NARROW, GHOSTS], ids=["batch norm", "ghost batch norm"])


@MODELS
def test_a_narrow_resnet_trains_the_same_in_both_layouts(model: Model, sixty_four: Images) -> None:
    trial = make_trial(Train(batch_size=16, lr=0.005, epochs=2), model)
    plan = make_plan(trial, sixty_four.train_size, threads=1)
    assert plan.layout == "channels-last"
    contiguous = replace(plan, layout="contiguous")
    ours, theirs = (Run(trial, sixty_four, each).records for each in (plan, contiguous))
    assert_alike(ours, theirs)


@pytest.mark.parametrize("channels_last", [False, True])
@MODELS
def test_its_gradient_is_that_of_float64_over_100_000_pixels(
    model: Model, channels_last: bool
) -> None:
    """Images like those of MNIST, most of whose pixels are the same in all."""
    generator = torch.Generator().manual_seed(3)
    images = torch.full((128, 1, 28, 28), -0.42)
    images[:, :, 4:24, 6:22] = torch.randn(128, 1, 20, 16, generator=generator)
    labels, batch = torch.arange(128) % 10, torch.arange(128).unsqueeze(0)
    gradients = []
    for dtype, last in ((torch.float32, channels_last), (torch.float64, False)):
        flat = FlatModel(build_model(model, DATASETS["mnist"], 0), CPU, dtype)
        alone(flat, last).accumulate(Labeled(images.to(dtype), labels), batch, 128, True, unheard)
        gradients.append(flat.gradient.double())
    ours, exact = gradients
    apart = torch.linalg.vector_norm(ours - exact) / torch.linalg.vector_norm(exact)
    assert apart < 1e-3


@MODELS
def test_a_stack_of_it_trains_the_same_in_both_layouts(model: Model, sixty_four: Images) -> None:
    trial = make_trial(Train(batch_size=16, lr=0.005, epochs=2), model)
    ours, theirs = (
        Group(trial, sixty_four, (0, 1), layout=layout)
        for layout in ("channels-last", "contiguous")
    )
    for seed in (0, 1):
        assert_alike(ours.records(seed), theirs.records(seed))


@pytest.mark.campaign
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the images of MNIST")
@MODELS
def test_it_trains_the_same_in_both_layouts_on_real_images(model: Model, tmp_path: Path) -> None:
    images = load_images(prepare("mnist", tmp_path, SHARED_DATA), CPU)
    trial = make_trial(Train(batch_size=128, lr=0.01, steps=12), model)
    trial = replace(trial, settings=replace(trial.settings, data=Data(name="mnist")))
    plan = make_plan(trial, images.train_size, threads=1)
    contiguous = replace(plan, layout="contiguous")
    ours, theirs = (Run(trial, images, each).records for each in (plan, contiguous))
    assert_alike(ours, theirs)
