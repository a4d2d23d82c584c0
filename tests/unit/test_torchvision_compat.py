"""Tests in separate processes, because the import is repaired only once in a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign  # each test imports torchvision, which takes seconds

ROOT = Path(__file__).parents[2]

MISSING = "operator torchvision::nms does not exist"


def run_python(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter that can import from the folders of `path`, and `tests`."""
    search = os.pathsep.join(map(str, [*path, ROOT]))
    environment = {**os.environ, "PYTHONPATH": search}
    return subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True
    )


def fake_torchvision(folder: Path, code: str) -> Path:
    """Write a package named torchvision that imports a submodule, then runs `code`."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "extension.py").write_text("")
    (package / "__init__.py").write_text(f"from torchvision import extension\n{code}\n")
    return folder


def test_data_sets_transforms_and_models_work() -> None:
    """They also work where the plain import fails, as with a CPU build of torch."""
    code = """
import sys
try:
    import torchvision
    plain = True
except RuntimeError as error:
    assert "operator torchvision::nms does not exist" in str(error), error
    plain = False
from tests.torchvision_compat import import_torchvision
guarded = import_torchvision()
assert guarded is import_torchvision() is sys.modules["torchvision"]
# Nothing of the failed import is left: each module is the one that the package holds.
for name in ("datasets", "extension", "models", "ops", "transforms"):
    assert sys.modules["torchvision." + name] is getattr(guarded, name), name

import torch
from torchvision import datasets, models, transforms
assert issubclass(datasets.FashionMNIST, datasets.MNIST) and datasets.CIFAR10
normalize = transforms.Normalize((0.5,), (0.25,))
assert normalize(torch.ones(1, 2, 2)).tolist() == [[[2.0, 2.0], [2.0, 2.0]]]
assert models.resnet18(num_classes=10)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
if not plain:
    try:
        torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except NotImplementedError:
        pass
    else:
        raise AssertionError("an operator without an implementation gave an answer")
print("plain" if plain else "mended")
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("plain", "mended")


def test_an_import_that_succeeds_is_left_alone(tmp_path: Path) -> None:
    code = """
import sys
from tests.torchvision_compat import import_torchvision
assert "torchvision" not in sys.modules
assert import_torchvision().answer == 42
assert "torch" not in sys.modules
"""
    done = run_python(code, fake_torchvision(tmp_path, "answer = 42"))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "failure",
    [
        "RuntimeError('CUDA driver version is insufficient')",
        "ImportError('libcudart.so.13: cannot open shared object file')",
        "OSError('operator torchvision::nms does not exist')",
    ],
)
def test_any_other_failure_propagates(tmp_path: Path, failure: str) -> None:
    code = f"""
import sys
from tests.torchvision_compat import import_torchvision
try:
    import_torchvision()
except Exception as error:
    assert repr(error) == repr({failure}), error
else:
    raise AssertionError("the failure was swallowed")
assert "torch" not in sys.modules
"""
    done = run_python(code, fake_torchvision(tmp_path, f"raise {failure}"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_failure_propagates_and_finds_no_half_import(tmp_path: Path) -> None:
    body = f"""
import sys
sys.tries = [*getattr(sys, "tries", []), extension]
raise RuntimeError("{MISSING}")
"""
    code = f"""
import gc
import sys
from tests.torchvision_compat import import_torchvision
try:
    import_torchvision()
except RuntimeError as error:
    assert str(error) == "{MISSING}"
first, second = sys.tries
assert first is not second
import torch
gc.collect()
for name in ("nms", "qnms"):
    schema = getattr(torch.ops.torchvision, name).default._schema
    assert [argument.name for argument in schema.arguments] == ["dets", "scores", "iou_threshold"]
"""
    done = run_python(code, fake_torchvision(tmp_path, body))
    assert done.returncode == 0, done.stderr
