"""Broken and unusual tasks: each trains, or is told in one line that names their file and line."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Train
from batchscope.engine.system.scarcity import is_scarce
from batchscope.engine.task import TaskProblem
from batchscope.engine.training.jobs.task_inspection import inspect
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.tasks.task_host import TaskHost
from batchscope.engine.training.torch_device import device_failed
from tests.broken.loaded_kinds import copied, line_of, loaded
from tests.unit.engine.training.tasks.task_fixtures import task_trial
from tests.unit.training_fixtures import CPU, Run

pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs", "ignore:.*torch.jit")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path / "theirs")


def trained(host: TaskHost, **changed: Any) -> Run:
    """Train as a worker does; problems come as they would be recorded."""
    settings = {"batch_size": 5, "lr": 0.01, "epochs": 3, **changed}
    try:
        task = host.made(0)
        with host.at_the_function():
            data = TaskDataset(task, 0, CPU)
        return Run(task_trial(Train(**settings)), data)
    except BaseException as error:
        raise TaskProblem(host.explained(error)) from error


def inspected_and_trained(host: TaskHost) -> None:
    inspect(host)
    trained(host)


def problem_of(folder: Path, kind: str) -> str:
    """Return why a kind cannot be trained, found before the training or in it."""
    with loaded(folder, kind) as host, pytest.raises(TaskProblem) as raised:
        inspected_and_trained(host)
    text = str(raised.value)
    assert text.isprintable()
    return text


WORKS = (
    *("plain", "lambda", "prints", "reseeds", "sleeps", "tied", "tied-by-storage"),
    *("frozen-and-unused", "buffers", "double-backward", "autocast", "compiled"),
    *("checkpointing", "checkpointing-reentrant", "prints-loudly", "inputs-with-gradients"),
)


@pytest.mark.parametrize("kind", WORKS)
def test_it_works(folder: Path, kind: str) -> None:
    with loaded(folder, kind) as host:
        facts = inspect(host)
        run = trained(host)
    assert (facts.train, run.ended.status) == (40, "finished")
    assert run.records[-1].test_loss is not None
    assert run.records[-1].test_loss < (run.records[0].test_loss or 0.0)


AT_THEIR_LINE = {
    "raises": "KeyError: 'the configuration'",
    "interrupts": "called sys.exit",
    "step-7": "ValueError: no label 7",
    "mean": "times the gradient of the whole: the loss is probably a mean; return the sum",
    "no-weight": "expected (sum, weight), got tensor(",
    "nan": "is nan before the first step",
    "weight-negative": "the weight of a batch is -1; it must not be negative",
    "weight-nan": "the weight of a batch is nan",
    "weight-infinite": "the weight of a batch is inf; it must be finite",
    "weight-learned": "the weight depends on the weights of the model",
    "weight-text": "the weight must be a number, but is '5'",
    "wrong-device": "RuntimeError: ",
    "device-of-sum": "the sum is on the device 'meta'",
    "generator-loss": "write `return` in the place of `yield`",
    "sys-exit": "called sys.exit: no more money",
    "half": "the sum is torch.bfloat16, in which a sum over a batch loses digits",
    "own-backward": "it changes the gradients of the model (.backward())",
    "zero-grad": "the gradients were cleared or replaced (zero_grad)",
    "replaced-weights": "weight was put somewhere else (.data = …); change it in place",
    "other-model": "use its argument `model`",
    "wordless": "Wordless",
    "damaged-sample": "OSError: sample 33 is damaged",
    "metric-f1": "such as F1 or AUC, is not possible yet",
    "lbfgs": "LBFGS evaluates the loss several times a step",
    "other-optimizer": "SGD holds parameters that are not those of the model",
    "no-groups": "there are no parameters in its groups",
    "cuda": ": ",
    "too-large": "RuntimeError: ",
}


@pytest.mark.parametrize("kind", AT_THEIR_LINE)
def test_its_line_is_named(folder: Path, kind: str) -> None:
    text = problem_of(folder, kind)
    assert line_of(kind) in text
    assert AT_THEIR_LINE[kind] in text
    assert text.count("kinds.py") == 1


AT_THE_FUNCTION = {
    "not-a-task": "expected a batchscope.Task, got {'model'",
    "ddp": "the model is wrapped in DataParallel; give the module inside of it (.module)",
    "module-list": "expected a torch.nn.Module, got [",
    "lazy": "weight has no size yet; pass a batch through the model first",
    "complex": "weight is complex; use a real parameter",
    "sparse": "words has sparse gradients",
    "frozen": "no parameter requires a gradient",
    "no-copy": "the model cannot be copied (TypeError: cannot pickle",
    "meta": "on the device 'meta'",
    "double": "first.weight is torch.float64; use float32",
    "empty": "Task(train=…): there are no samples in it",
    "no-text": "expected tensors or a data set with __len__ and __getitem__, got a value that "
    "cannot be shown (NoText)",
    "arrays": "write torch.as_tensor",
    "unequal": "its tensors differ in their number of samples: 39, 40",
    "generator": "expected tensors or a data set with __len__ and __getitem__, got <generator",
    "growing-buffer": "the buffer cache had the shape (1,) and has the shape",
    "scheduler": "a scheduler changes the rate of Scheduled; leave it out, and say the course",
    "cross-entropy": "TypeError: ",
}


@pytest.mark.parametrize("kind", AT_THE_FUNCTION)
def test_what_the_function_brought_is_named(folder: Path, kind: str) -> None:
    text = problem_of(folder, kind)
    assert "kinds.py, line " in text
    assert AT_THE_FUNCTION[kind] in text


def test_an_error_without_a_text_is_no_lack_of_the_machine(folder: Path) -> None:
    with loaded(folder, "wordless") as host, pytest.raises(TaskProblem) as raised:
        trained(host)
    error = raised.value.__cause__
    assert error is not None
    assert type(error).__name__ == "Wordless"
    assert not is_scarce(error)
    assert not ran_out(error)
    assert not device_failed(error)


def test_a_loss_that_becomes_nan_diverges(folder: Path) -> None:
    with loaded(folder, "later-nan") as host:
        inspect(host)
        run = trained(host)
    assert run.ended.status == "diverged"


@pytest.mark.parametrize(("batch_size", "cut"), [(5, 5), (5, 2), (40, 40)])
def test_a_loss_that_goes_backward_is_found_in_a_training_too(
    folder: Path, batch_size: int, cut: int
) -> None:
    trial = task_trial(Train(batch_size=batch_size, lr=0.01, epochs=1))
    plan = msgspec.structs.replace(make_plan(trial, 40, threads=1), micro_batch_size=cut)
    with loaded(folder, "own-backward") as host:
        data = TaskDataset(host.made(0), 0, CPU)
        with pytest.raises(TaskProblem, match="backward"):
            Run(trial, data, plan)


def test_batches_without_weight_are_counted(folder: Path) -> None:
    with loaded(folder, "weight-0") as host:
        run = trained(host, batch_size=7)  # 40 = 5 × 7 + 5
    assert run.training.stepper.empty_batches == 3


@pytest.mark.parametrize(("kind", "weights"), [("tied", 16), ("tied-by-storage", 16)])
def test_tied_weights_have_one_owner(folder: Path, kind: str, weights: int) -> None:
    with loaded(folder, kind) as host:
        run = trained(host)
    assert run.started.parameters == weights + 3
    model: Any = run.flat.model
    assert model.first.weight is model.second.weight
    assert torch.equal(run.flat.weights[:9].view(3, 3), model.second.weight)


def test_a_tie_by_memory_trains_as_a_tie(folder: Path) -> None:
    losses = []
    for kind in ("tied", "tied-by-storage"):
        with loaded(folder, kind) as host:
            losses.append([record.test_loss for record in trained(host).records])
    assert losses[0] == losses[1]


def test_a_compiled_model_trains_as_one_that_is_not(folder: Path) -> None:
    with loaded(folder, "compiled") as host:
        compiled = trained(host)
        assert isinstance(host.made(0).model, nn.Module)
    assert type(compiled.flat.model).__name__ == "Net"


def test_seeds_that_a_loss_resets_change_nothing(folder: Path) -> None:
    losses = []
    for kind in ("plain", "reseeds"):
        with loaded(folder, kind) as host:
            losses.append([record.test_loss for record in trained(host).records])
    assert losses[0] == losses[1]


def test_a_buffer_that_is_replaced_is_the_one_that_is_kept(folder: Path) -> None:
    with loaded(folder, "buffers") as host:
        run = trained(host)
    (steps, seen, phase) = run.training.stepper.stack.buffers
    assert (steps.dtype, seen.dtype, phase.dtype) == (torch.int64, torch.bool, torch.complex64)
    model: Any = run.flat.model
    assert steps.data_ptr() == model.steps.data_ptr()
    assert steps.item() >= 3 * 8
    assert seen.all()


def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    for name, source, told in (
        ("raising", "x = 1\n\n1 / 0\n\ndef make(seed): ...\n", "line 3: ZeroDivisionError: "),
        ("leaving", "import sys\nsys.exit(4)\ndef make(seed): ...\n", "line 2: called sys.exit: 4"),
        ("lacking", "import nowhere\ndef make(seed): ...\n", "line 1: ModuleNotFoundError: "),
    ):
        (tmp_path / f"{name}.py").write_text(source)
        use = f"{name}:make"
        with pytest.raises(TaskProblem, match=f"^{name}.py, {told}"), loaded(tmp_path, "", use):
            pass


def test_a_function_may_be_a_lambda(folder: Path) -> None:
    with loaded(folder, "plain", "kinds:lazily") as host:
        assert trained(host).ended.status == "finished"
