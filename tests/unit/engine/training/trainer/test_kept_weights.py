"""Final weights that are kept: of every family, loaded by the plain torch of the documentation."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor, nn

from batchscope.engine.checkpoints.kept_weights import NAME
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.events import AnyEvent, TrialEnded, WeightsKept
from batchscope.engine.networks.architectures import channels_of, hidden_of
from batchscope.engine.networks.registry import FAMILIES
from batchscope.engine.planning.plan import Plan, make_plan
from batchscope.engine.processes.orders import WeightsOrder
from batchscope.engine.spec import Model, Settings, Train, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.kept_weights import file_content, module_names, renamed
from batchscope.engine.training.trainer.trainer import Trainer
from tests.reproduce_page import listing
from tests.torchvision_compat import import_torchvision
from tests.unit.training_fixtures import CPU, make_trial, never, synthetic

NETWORKS = [
    *((Model(name=name), data) for name in FAMILIES for data in ("digits", "mnist", "cifar10")),
    (Model(name="mlp", hidden=(), init="he"), "digits"),
    (Model(name="mlp", hidden=(9, 5), batch_norm=True), "digits"),
    (Model(name="cnn", channels=(3, 4), hidden=(), batch_norm=True), "mnist"),
    (Model(name="cnn", batch_norm=True, ghost_batch_size=8), "cifar10"),
    (Model(name="vgg16", width=0.1, hidden=(7,)), "cifar10"),
    (Model(name="vgg16-bn", width=0.1), "digits"),
    (Model(name="resnet18", width=0.2), "mnist"),
    (Model(name="resnet20", width=2.0), "cifar10"),
]
FITTING = [
    (model, data)
    for model, data in NETWORKS
    if not FAMILIES[model.name].problem(model, DATASETS[data])
]


def trained(model: Model, data: str) -> nn.Sequential:
    """Return a network with buffers as after a training."""
    network = build_model(model, DATASETS[data], 0)
    generator = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():
        if not name.endswith("num_batches_tracked"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network.eval()


def told(model: Model) -> dict[str, Any]:
    complete = msgspec.structs.replace(model, hidden=hidden_of(model), channels=channels_of(model))
    facts: dict[str, Any] = msgspec.to_builtins(complete)
    return facts


@pytest.mark.parametrize(("model", "data"), FITTING)
@torch.no_grad()
def test_every_family_loads_into_the_documented_module(model: Model, data: str) -> None:
    ours = trained(model, data)
    tensors = renamed(ours, module_names(model, data))
    page = listing("load.py")
    theirs = page["network_of"](told(model), DATASETS[data].shape)
    theirs.load_state_dict(tensors)  # strict
    assert len(tensors) == len(ours.state_dict())
    images = torch.randn(3, *DATASETS[data].shape, generator=torch.Generator().manual_seed(2))
    expected, found = ours(images), theirs.eval()(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("init", ["default", "glorot", "he"])
@pytest.mark.parametrize(("model", "data"), FITTING)
def test_the_page_draws_the_same_initial_weights(model: Model, data: str, init: Any) -> None:
    """To the last bit, which needs the same generator in the same order."""
    model = msgspec.structs.replace(model, init=init)
    ours = renamed(build_model(model, DATASETS[data], 3), module_names(model, data))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = listing("load.py")["network_of"](told(model), DATASETS[data].shape)
        listing("initialize.py")["initialize"](network, model.name, init)
    theirs = network.state_dict()
    assert set(theirs) == set(ours)
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_all_families_are_tried() -> None:
    assert {model.name for model, _ in FITTING} == set(FAMILIES)
    assert len(FITTING) > len(FAMILIES) * 2


@torch.no_grad()
def test_resnet18_loads_into_that_of_torchvision() -> None:
    import_torchvision()
    model = Model(name="resnet18")
    ours, theirs = trained(model, "cifar10"), listing("resnet18")["network"]
    theirs.load_state_dict(renamed(ours, module_names(model, "cifar10")))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(theirs.eval()(images), ours(images), rtol=1e-4, atol=1e-4)


def test_equal_content_gives_equal_bytes_that_the_library_reads() -> None:
    tensors = {"b.weight": torch.arange(6.0).view(2, 3), "a": torch.tensor(3)}
    facts = {f"key {number}": "é" * number for number in range(20)}
    content = file_content(tensors, facts)
    other = file_content(dict(reversed(tensors.items())), dict(reversed(facts.items())))
    assert content == other
    assert int.from_bytes(content[:8], "little") % 8 == 0  # so that the tensors are aligned
    read = load(content)
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


# ---- in a training


@pytest.fixture
def images(tmp_path: Path) -> Images:
    folder = tmp_path / "images"
    folder.mkdir()
    return load_images(synthetic(folder, 100, 20), CPU)


NORMED = Model(name="mlp", hidden=(6,), batch_norm=True)


class Kept:
    """A training of replicates that keeps their weights below a folder."""

    def __init__(
        self,
        folder: Path,
        images: Images,
        *trials: Trial,
        halted: Callable[[], bool] = never,
        attempt: int = 1,
        checkpoints: Path | None = None,
    ) -> None:
        self.folder, self.events = folder, list[AnyEvent]()
        ids = tuple(trial.id for trial in trials)
        plan: Plan = make_plan(trials[0], images.train_size, threads=1)
        job = TrainingJob(
            trials,
            ids,
            msgspec.structs.replace(plan, members=ids, group=ids[0]),
            attempt,
            worker=0,
            device="cpu",
            checkpoints=checkpoints,
            data_digest="digest of the images",
            kept={
                name: WeightsOrder(str(folder / name), "the sweep", "the preset", "the label")
                for name in ids
            },
        )
        trainer = Trainer(job, images, self.events.append, halted)
        self.training = trainer.training
        trainer.run()

    def of(self, trial: Trial) -> dict[str, Tensor]:
        return load((self.folder / trial.id / NAME).read_bytes())

    def said(self, trial: Trial) -> list[WeightsKept | TrialEnded]:
        """Return what became of a trial's weights, and how it ended, in the order of the events."""
        found = [each for each in self.events if isinstance(each, WeightsKept | TrialEnded)]
        return [each for each in found if each.trial == trial.id]


def trial_of(seed: int = 0, lr: float = 0.1, model: Model = NORMED) -> Trial:
    return make_trial(Train(batch_size=16, lr=lr, epochs=3), model, seed=seed)


def test_each_replicate_of_a_stack_has_its_file(tmp_path: Path, images: Images) -> None:
    trials = [trial_of(seed) for seed in (0, 1)]
    run = Kept(tmp_path / "kept", images, *trials)
    for trial, flat in zip(trials, run.training.stepper.stack.members, strict=True):
        kept, end = run.said(trial)
        assert isinstance(kept, WeightsKept)
        assert isinstance(end, TrialEnded)
        content = (run.folder / trial.id / NAME).read_bytes()
        assert (kept.bytes, kept.reason) == (len(content), "")
        assert kept.digest == hashlib.sha256(content).hexdigest()
        state = flat.model.state_dict()
        tensors = run.of(trial)
        assert set(tensors) == set(state), "an mlp has the names of its nn.Sequential"
        assert all(torch.equal(tensors[name], state[name]) for name in state)
        assert int(tensors["2.num_batches_tracked"]) == 3 * 7
    one, other = (run.of(trial) for trial in trials)
    assert not torch.equal(one["1.weight"], other["1.weight"])


def test_a_file_says_where_it_comes_from(tmp_path: Path, images: Images) -> None:
    trial = trial_of(model=Model(name="mlp"))
    run = Kept(tmp_path / "kept", images, trial)
    with safe_open(run.folder / trial.id / NAME, "pt") as file:
        facts = file.metadata()
    expected = {
        **{"program": "batchscope", "sweep": "the sweep", "preset": "the preset"},
        **{"label": "the label", "trial": trial.id, "configuration": trial.configuration},
        **{"seed": "0", "dataset": "digits", "data_sha256": "digest of the images"},
        **{"steps": "21", "epochs": "3", "torch_version": str(torch.__version__)},
    }
    assert facts.items() >= expected.items()
    assert msgspec.json.decode(facts["settings"], type=Settings) == trial.settings
    model = msgspec.json.decode(facts["model"], type=Model)
    assert (model.name, model.hidden) == ("mlp", (128, 64)), "its own widths are filled in"


def test_a_resumed_training_keeps_the_same_bytes(tmp_path: Path, images: Images) -> None:
    trials = [trial_of(seed) for seed in (0, 1)]
    whole = Kept(tmp_path / "whole", images, *trials)
    calls = iter(range(1000))
    stopped = Kept(
        tmp_path / "kept",
        images,
        *trials,
        halted=lambda: next(calls) > 10,
        checkpoints=tmp_path / "checkpoints",
    )
    assert [e.status for e in stopped.events if isinstance(e, TrialEnded)] == ["stopped"] * 2
    assert not (tmp_path / "kept").exists()
    resumed = Kept(
        tmp_path / "kept", images, *trials, attempt=2, checkpoints=tmp_path / "checkpoints"
    )
    assert 0 < (resumed.events[0].resumed_steps or 0) < 21  # type: ignore[union-attr]
    for trial in trials:
        paths = (run.folder / trial.id / NAME for run in (whole, resumed))
        one, other = (path.read_bytes() for path in paths)
        assert one == other


def test_a_diverged_trial_has_no_weights(tmp_path: Path, images: Images) -> None:
    trial = trial_of(lr=1e30)
    run = Kept(tmp_path / "kept", images, trial)
    assert isinstance(run.events[-1], TrialEnded)
    assert run.events[-1].status == "diverged"
    assert not any(isinstance(event, WeightsKept) for event in run.events)
    assert not run.folder.exists()


def test_a_refused_file_does_not_cost_the_result(tmp_path: Path, images: Images) -> None:
    trial = trial_of()
    (tmp_path / "file").write_bytes(b"in the way of the folder")
    run = Kept(tmp_path / "file" / "sweep" / "kept", images, trial)
    kept, end = run.said(trial)
    assert isinstance(kept, WeightsKept)
    assert "directory" in kept.reason.lower()
    assert (kept.digest, kept.bytes) == ("", 0)
    assert isinstance(end, TrialEnded)
    assert end.status == "finished"
