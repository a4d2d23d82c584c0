"""Live tensor bytes, compared with closed forms and with torch's profiler."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.spec import Model
from batchscope.engine.training.batches import load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.peak_memory import measured
from tests.unit.training_fixtures import CPU, accumulate, synthetic

FLOAT = 4


def peak_of(*known: Tensor) -> int:
    with measured(CPU, known) as peak:
        pass
    return peak.bytes


# ---- closed forms


def test_existing_storages_are_counted_once() -> None:
    base = torch.zeros(1000)
    assert peak_of() == 0
    assert peak_of(base) == 4000
    assert peak_of(base, base, base[10:20], base.view(10, 100)) == 4000
    assert peak_of(base[:1]) == 4000, "a view keeps the whole alive"
    assert peak_of(base, torch.zeros(3, dtype=torch.float64)) == 4024


def test_tensors_are_counted_until_they_are_freed() -> None:
    with measured(CPU, []) as peak:
        first = torch.zeros(1000)
        second = torch.zeros(500)
        del first
        third = torch.zeros(700)
        del second, third
        fourth = torch.ones(1499)
        del fourth
    assert peak.bytes == 6000


def test_the_peak_is_the_most_bytes_at_one_moment() -> None:
    with measured(CPU, []) as peak:
        held = torch.zeros(100)
        for _ in range(5):
            held = held + 1
    assert peak.bytes == 800, "the old and the new"


def test_views_and_in_place_operations_take_no_bytes() -> None:
    with measured(CPU, []) as peak:
        tensor = torch.zeros(10, 100)
        tensor.add_(1).mul_(2)
        tensor.t()[3:5].zero_()
        torch.mul(tensor, 2, out=tensor)
    assert peak.bytes == 4000


def test_a_view_keeps_its_storage_alive() -> None:
    with measured(CPU, []) as peak:
        view = torch.zeros(1000)[:10]
        more = torch.zeros(500)
        del view
        torch.zeros(900)
    assert peak.bytes == 6000
    assert len(more) == 500


def test_an_enlarged_storage_counts_with_its_new_size() -> None:
    with measured(CPU, []) as peak:
        tensor = torch.zeros(10)
        tensor.resize_(1000)
        del tensor
        torch.zeros(999)
    assert peak.bytes == 4000


def test_single_numbers_do_not_count() -> None:
    """A constant may be cached by an earlier trial, and figures must not depend on that."""
    with measured(CPU, [torch.tensor(1.0)]) as peak:
        numbers = [torch.tensor(1.0) for _ in range(1000)]
    assert (peak.bytes, len(numbers)) == (0, 1000)


def test_tensors_freed_afterwards_or_never_seen_do_no_harm() -> None:
    known, unseen = torch.zeros(100), torch.zeros(1000)
    with measured(CPU, [known]) as peak:
        del unseen
        late = torch.zeros(50)
    del late, known
    assert peak.bytes == 600


def test_an_error_passes_through_and_ends_the_measurement() -> None:
    data = torch.zeros(100)
    with pytest.raises(ValueError, match="inside"), measured(CPU, [data]):
        raise ValueError("inside")
    assert peak_of(data) == 400


def test_nothing_is_watched_after_the_measurement() -> None:
    """Images live as long as the worker, and are part of every trial's measurement."""
    data = torch.zeros(100)
    before = len(weakref.finalize._registry)  # type: ignore[attr-defined]
    for _ in range(20):
        with measured(CPU, [data]):
            kept = data + 1
    gc.collect()
    assert len(weakref.finalize._registry) == before  # type: ignore[attr-defined]
    assert len(kept) == 100


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize(("batch", "width"), [(64, 1000), (300, 77), (1, 500)])
def test_what_autograd_saves_of_linear_layers(depth: int, batch: int, width: int) -> None:
    layers = [nn.Linear(width, width) for _ in range(depth)]
    inputs = torch.randn(batch, width)
    rows, square = FLOAT * batch * width, FLOAT * width * width
    known = [inputs, *(weight for layer in layers for weight in layer.parameters())]

    def forward() -> Tensor:
        result = inputs
        for layer in layers:
            result = layer(result).relu()
        return result

    base = rows + depth * (square + FLOAT * width)
    assert peak_of(*known) == base
    with measured(CPU, known) as unsaved, torch.no_grad():
        forward()
    # besides the data, a layer's result and what went into it live at the same time
    assert unsaved.bytes == base + (3 if depth > 1 else 2) * rows
    with measured(CPU, known) as saved:
        result = forward()
    # every rectified result is kept, and at the end that of the last layer too
    assert saved.bytes == base + (depth + 1) * rows
    assert result.requires_grad


# ---- against torch's profiler


def profiled_peak(work: Callable[[], None]) -> int:
    """Return the peak of bytes that torch's allocator had given out since the start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    live = most = 0
    results = found.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: int(event.start_ns())):
        live += int(event.nbytes())
        most = max(most, live)
    assert events
    return most


@pytest.mark.parametrize(
    ("model", "micro"),
    [
        (Model(name="mlp"), 64),
        (Model(name="mlp"), 500),
        (Model(name="mlp", hidden=(512, 256, 128)), 300),
        (Model(name="mlp", hidden=()), 250),
    ],
)
def test_a_real_step_takes_the_bytes_of_torchs_profiler(
    tmp_path: Path, model: Model, micro: int
) -> None:
    images = load_images(synthetic(tmp_path, train=600, test=10), CPU)
    flat = FlatModel(build_model(model, DATASETS["digits"], 0), CPU)
    batch = torch.arange(500)

    def step() -> None:
        accumulate(flat, images.train, images.train_labels, batch, micro, True)

    step()
    held = [*images.held(), flat.weights.detach(), flat.gradient, batch]
    with measured(CPU, held) as peak:
        step()
    expected = profiled_peak(step)
    assert peak.bytes - peak_of(*held) == pytest.approx(expected, rel=0.01)
