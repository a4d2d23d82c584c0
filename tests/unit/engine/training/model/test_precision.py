"""bf16: the passes run in bfloat16; weights, gradients and updates stay float32."""

import pytest
import torch
from msgspec.structs import replace
from torch.nn import functional

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.errors import MachineProblem
from batchscope.engine.planning.plan import alike, make_plan, reusable
from batchscope.engine.spec import Model, Precision, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.jobs.micro_batch_bench import Bench
from batchscope.engine.training.model import flat_model as flat_module
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from tests.unit.training_fixtures import CPU, Run, accumulate, make_trial, synthetic

DIGITS = DATASETS["digits"]
CNN = Model(name="cnn", channels=(8, 12), hidden=(20,))
MLP = Model(name="mlp", hidden=(40, 30))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("bf16"), train=300, test=60), CPU)


def train_of(precision: Precision, **more: object) -> Train:
    return Train(batch_size=100, lr=0.1, epochs=3, precision=precision, **more)  # type: ignore[arg-type]


def gradient(images: Images, model: Model, precision: Precision, micro: int) -> torch.Tensor:
    flat = FlatModel(build_model(model, DIGITS, 0), CPU, precision=precision)
    accumulate(flat, images.train, images.train_labels, torch.arange(100), micro, True)
    return flat.gradient


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other))


@pytest.mark.parametrize("model", [MLP, CNN])
@pytest.mark.parametrize("micro", [100, 30])
def test_a_gradient_is_the_one_of_torchs_own_autocast(
    images: Images, model: Model, micro: int
) -> None:
    network = build_model(model, DIGITS, 0)
    for first in range(0, 100, micro):
        part = slice(first, min(100, first + micro))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images.train[part])
        loss = functional.cross_entropy(logits.float(), images.train_labels[part], reduction="sum")
        (loss / 100).backward()  # type: ignore[no-untyped-call]
    expected = [p.grad.reshape(-1) for p in network.parameters() if p.grad is not None]
    flat = FlatModel(build_model(model, DIGITS, 0), CPU, precision="bf16")
    accumulate(flat, images.train, images.train_labels, torch.arange(100), micro, True)
    found = [p.grad.reshape(-1) for p in flat.model.parameters() if p.grad is not None]
    assert relative(torch.cat(found), torch.cat(expected)) < 1e-5


@pytest.mark.parametrize("model", [MLP, CNN])
def test_a_gradient_is_near_that_of_fp32_and_not_the_same(images: Images, model: Model) -> None:
    apart = relative(gradient(images, model, "bf16", 100), gradient(images, model, "fp32", 100))
    assert 1e-4 < apart < 0.2


def test_logits_are_those_of_torchs_autocast(images: Images) -> None:
    flat = FlatModel(build_model(CNN, DIGITS, 0), CPU, precision="bf16")
    with torch.autocast("cpu", torch.bfloat16):
        expected = flat.model(images.test)
    assert expected.dtype == torch.bfloat16
    found = flat.logits(images.test)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected.float())


def test_weights_gradients_and_state_stay_float32(images: Images) -> None:
    run = Run(make_trial(train_of("bf16", optimizer="adam"), CNN), images)
    assert run.ended.status == "finished"
    stepper = run.training.stepper
    measured = [tensor for each in stepper.instruments for tensor in each.held()]
    kept = [
        t for t in stepper.held() if t.is_floating_point() and all(t is not m for m in measured)
    ]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    assert torch.bfloat16 not in {tensor.dtype for tensor in measured}


def test_the_same_trial_gives_the_same_bits(images: Images) -> None:
    runs = [Run(make_trial(train_of("bf16"), CNN), images) for _ in range(2)]
    assert torch.equal(*(run.flat.weights for run in runs))
    other = Run(make_trial(train_of("fp32"), CNN), images)
    assert not torch.equal(runs[0].flat.weights, other.flat.weights)
    assert runs[0].records[-1].test_loss == pytest.approx(other.records[-1].test_loss, abs=0.1)


def test_a_step_needs_less_memory(images: Images) -> None:
    peaks = []
    for precision in ("fp32", "bf16"):
        trial = make_trial(train_of(precision), CNN)
        bench = Bench((trial,), make_plan(trial, images.train_size, 1), images, CPU, 1 << 40)
        bench._execute(100)
        peaks.append(bench._shapes[100].peak_bytes - bench.held_bytes)
    assert peaks[1] < 0.9 * peaks[0]


def test_the_plan_names_the_precision() -> None:
    trial = make_trial(train_of("bf16"))
    plan = make_plan(trial, 300, threads=1)
    assert plan.precision == "bf16"
    assert reusable([plan], [trial], 300) == plan
    assert reusable([replace(plan, precision="fp32")], [trial], 300) is None
    other = make_trial(train_of("fp32"))
    assert alike(trial.settings, 100) != alike(other.settings, 100)


def test_a_device_without_bf16_is_refused(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_module, "has_bf16", lambda device: False)
    with pytest.raises(MachineProblem, match=r"cpu .* bf16: .*train\.precision = 'fp32'"):
        Run(make_trial(train_of("bf16")), images)


def test_a_worker_reports_it_without_the_name_of_the_exception() -> None:
    from batchscope.engine.worker import _error_text

    assert _error_text(MachineProblem("cuda:0 has no bf16")) == "cuda:0 has no bf16"
    assert _error_text(ValueError("no  such\nthing")) == "ValueError: no such thing"
