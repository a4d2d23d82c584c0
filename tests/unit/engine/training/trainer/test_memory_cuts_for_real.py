"""A process whose memory really runs out in the middle of a step."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.training.batches import load_images
from batchscope.engine.training.model.build import build_model
from tests.unit.engine.training.trainer.large_trial import large_trial
from tests.unit.training_fixtures import CPU, set_gradients, synthetic

DIGITS = DATASETS["digits"]
STARVED = """
import resource, sys
import torch
from batchscope.engine.planning.plan import Plan, make_plan
from batchscope.engine.training.batches import load_images
from batchscope.engine.training.trainer.train_step import Stepper
from batchscope.engine.training.model.passes import unheard
from tests.unit.engine.training.trainer.large_trial import large_trial
from tests.unit.training_fixtures import CPU, synthetic
from pathlib import Path

folder, name, spare = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
images = load_images(synthetic(folder, train=2048, test=8), CPU)
trial = large_trial(name)
stepper = Stepper((trial,), make_plan(trial, 2048, 1), images, CPU)
passes = stepper.stack.passes
accumulate = passes.accumulate
accumulate(images.samples, torch.arange(64)[None], 64, True, unheard)
tried = []

def counted(samples, batch, micro, mean, heard):
    tried.append(micro)
    accumulate(samples, batch, micro, mean, heard)

passes.accumulate = counted
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + spare
resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
cut = stepper.step(torch.arange(2048)[None], 1, 0)
resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
torch.save([p.grad for p in stepper.stack.members[0].model.parameters()], folder / "gradient.pt")
print(cut, *tried)
"""


@pytest.mark.skipif(
    not hasattr(resource, "RLIMIT_AS") or not Path("/proc/self/statm").exists(),
    reason="this system cannot bound the memory of a process, or does not say what it has",
)
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_process_without_memory_for_the_batch_ends_with_its_gradient(
    tmp_path: Path, name: str
) -> None:
    command = [sys.executable, "-c", STARVED, str(tmp_path), name, str(48 << 20)]
    process = subprocess.run(
        command, cwd=Path(__file__).parents[5], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    cut, *tried = process.stdout.split()
    sizes = list(dict.fromkeys(map(int, tried)))  # a part is taken apart first, for the noise scale
    assert (cut, sizes[0]) == ("True", 2048)
    assert sizes == [2048 >> number for number in range(len(sizes))]
    images = load_images(synthetic(tmp_path, train=2048, test=8), CPU)
    model = build_model(large_trial(name).settings.model, DIGITS, 0).double()
    set_gradients(model, images.train.double(), images.train_labels, "mean")
    found: list[Tensor] = torch.load(tmp_path / "gradient.pt")
    for gradient, parameter in zip(found, model.parameters(), strict=True):
        assert parameter.grad is not None
        # a ReLU whose input rounds to the other side of zero moves single elements
        away = torch.dist(gradient.double(), parameter.grad)
        assert away <= 1e-3 * parameter.grad.norm()
