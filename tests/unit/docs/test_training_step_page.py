"""The listing of `docs/training-step.md` runs, and computes what `Stepper` computes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Memory, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.training_fixtures import CPU, SMALL_MLP, make_trial, synthetic

PAGE = Path(__file__).parents[3] / "docs" / "training-step.md"
STEPS, BATCH = 5, 20  # micro-batches of 8, 8 and 4


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return load_images(synthetic(tmp_path, 100, 20), CPU)


def listing(name: str) -> dict[str, Any]:
    """Execute the listing as the module `name`, and return its globals."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": name}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def batches(images: Images) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randperm(images.train_size, generator=generator)[:BATCH] for _ in range(STEPS)]
    return torch.stack(drawn)


def test_the_listing_runs_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    listing("__main__")
    assert len(capsys.readouterr().out.splitlines()) == STEPS


def test_five_steps_of_the_listing_give_the_weights_of_the_stepper(images: Images) -> None:
    page = listing("page")
    train = Train(
        batch_size=BATCH,
        lr=page["LR"],
        optimizer="momentum",
        momentum=page["MOMENTUM"],
        epochs=20,  # so that five steps fit in one slice of norms
    )
    trial = make_trial(train, memory=Memory(micro_batch_size=page["MICRO_BATCH"]))
    plan = make_plan(trial, images.train_size, threads=1)
    assert BATCH % plan.micro_batch_size, "the last micro-batch of a batch is smaller"
    stepper = Stepper((trial,), plan, images, CPU)
    ours = stepper.stack.members[0].model

    model = build_model(SMALL_MLP, DATASETS["digits"], trial.seed)
    weights = list(model.parameters())
    for own, other in zip(ours.parameters(), weights, strict=True):
        assert torch.equal(own, other), "the initial weights"

    velocity = [torch.zeros_like(each) for each in weights]
    norms = []
    for number, batch in enumerate(batches(images), 1):
        stepper.step(batch.unsqueeze(0), number, number - 1)
        x, y = images.train[batch], images.train_labels[batch]
        norm, length = page["step"](model, velocity, x, y)
        assert length > 0
        norms.append(norm)

    for own, other in zip(ours.parameters(), weights, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-6)
    assert stepper.norms.of(STEPS)[:, 0].tolist() == pytest.approx(norms, rel=1e-5)
