"""Loader processes change nothing but who reads: bits, resumes and errors are as without them."""

import dataclasses
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Event
from pathlib import Path
from queue import Queue
from typing import Any

import msgspec
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Phase, Train
from batchscope.engine.task import TaskProblem
from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.tasks import loader_processes
from batchscope.engine.training.tasks.batch_bytes import packed, unpacked
from batchscope.engine.training.tasks.loader_processes import LoaderLost
from batchscope.engine.training.tasks.read_ahead import Request
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.engine.training.tasks import loader_fixtures
from tests.unit.engine.training.tasks.loader_fixtures import (
    FAULTS,
    ODD,
    Broken,
    Drawn,
    FromFile,
    Odd,
    Samples,
    Unpicklable,
    deadlocks,
    killed,
    prints,
    task_of,
    waits,
)
from tests.unit.engine.training.tasks.task_fixtures import task_trial, token_task
from tests.unit.training_fixtures import CPU, Run, untimed

TRAIN = Train(batch_size=8, lr=0.001, epochs=3, optimizer="adam")
KINDS = {"drawn": Drawn, "open file": FromFile, "unpicklable": Unpicklable}


def dataset(kind: Callable[..., Any], loaders: int) -> TaskDataset:
    return TaskDataset(task_of(kind(), kind(9)), 0, CPU, loaders=loaders)


def outcome(run: Run) -> tuple[Any, ...]:
    """All figures but the memory of this process, which samples take only where they are read."""
    records = [msgspec.structs.replace(untimed(each), peak_memory_bytes=0) for each in run.records]
    return records, run.flat.weights.tolist()


@contextmanager
def no_child_stays() -> Iterator[None]:
    before = {each.pid for each in psutil.Process().children()}
    yield
    assert {each.pid for each in psutil.Process().children()} <= before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [8, 3])
def test_the_same_bits_with_any_number_of_loaders(kind: str, cut: int) -> None:
    trial = task_trial(TRAIN)
    found = []
    for loaders in (0, 1, 3):
        data = dataset(KINDS[kind], loaders)
        plan = msgspec.structs.replace(
            make_plan(trial, data.train_size, threads=1), micro_batch_size=cut
        )
        with no_child_stays():
            found.append(outcome(Run(trial, data, plan)))
    assert found[0] == found[1] == found[2]


def numbered(data: TaskDataset, numbers: list[int]) -> Request:
    return Request("train", tuple(numbers), data.samples.seeds)


def test_the_expected_batches_come_from_the_loaders() -> None:
    data = dataset(Samples, 2)
    data.expect([torch.tensor([[3, 1, 2]]), torch.tensor([[0]])], lambda: 2)
    ahead = data.samples.ahead
    assert ahead is not None
    try:
        assert len(ahead.pids) == 2
        assert all(map(psutil.pid_exists, ahead.pids))
        for numbers in ([3, 1], [2], [0]):
            request = numbered(data, numbers)
            assert ahead.is_next(request)
            x, _ = ahead.take(request)
            assert torch.equal(x, torch.stack([Samples()[n][0] for n in numbers]))
    finally:
        data.close()


def test_a_smaller_cut_is_followed() -> None:
    """A micro-batch is halved in the middle of a batch, and the batch is read again."""
    data, cut = dataset(Samples, 2), 4
    data.expect([torch.arange(8).unsqueeze(0), torch.arange(8, 16).unsqueeze(0)], lambda: cut)
    ahead = data.samples.ahead
    assert ahead is not None
    try:
        ahead.take(numbered(data, [0, 1, 2, 3]))
        cut = 2
        ahead.take(numbered(data, [0, 1]))
        for start in range(2, 16, 2):
            request = numbered(data, [start, start + 1])
            assert ahead.is_next(request)
            ahead.take(request)
    finally:
        data.close()


def test_phases_with_other_batch_sizes_give_the_same_bits() -> None:
    trial = task_trial(TRAIN)
    phases = (Phase(at_epoch=1.4, batch_size=16),)
    settings = msgspec.structs.replace(trial.settings, phases=phases)
    trial = msgspec.structs.replace(trial, settings=settings)
    found = [outcome(Run(trial, dataset(Drawn, loaders))) for loaders in (0, 2)]
    assert found[0] == found[1]


@pytest.mark.parametrize("after", [1, 7, 12])
def test_a_resume_with_loaders_gives_the_same_bits(after: int, tmp_path: Path) -> None:
    trial = task_trial(TRAIN)
    whole = outcome(Run(trial, dataset(Drawn, 0)))
    for attempt, loaders in ((1, 3), (2, 2)):
        steps, events = 0, list[Any]()

        def halted(attempt: int = attempt) -> bool:
            nonlocal steps
            steps += 1
            return attempt == 1 and steps > after

        data = dataset(Drawn, loaders)
        plan = make_plan(trial, data.train_size, threads=1)
        job = TrainingJob((trial,), (trial.id,), plan, attempt, 0, "cpu", checkpoints=tmp_path)
        trainer = Trainer(job, data, events.append, halted)
        with no_child_stays():
            trainer.run()
    assert events[0].resumed_steps == after
    assert trainer.training.stepper.stack.members[0].weights.tolist() == whole[1]


def test_tokens_with_dropout_and_their_own_collate() -> None:
    trial = task_trial(TRAIN)
    found = [
        outcome(Run(trial, TaskDataset(token_task(dropout=0.3), 0, CPU, loaders=loaders)))
        for loaders in (0, 2)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_loader_that_fails_names_the_line(fault: str) -> None:
    happens, expected = FAULTS[fault]
    code = CodeDigests(Path(__file__).parent)
    data = TaskDataset(task_of(Broken(happens)), 0, CPU, loaders=2, code=code)
    with no_child_stays(), pytest.raises(TaskProblem) as problem:
        Run(task_trial(TRAIN), data)
    text = str(problem.value)
    assert expected in text
    assert re.search(r"loader_fixtures\.py, line \d+", text)


@pytest.mark.parametrize("loaders", [0, 2])
@pytest.mark.parametrize("kind", ODD)
def test_samples_that_fit_into_no_batch_name_the_line(kind: str, loaders: int) -> None:
    sample, expected = ODD[kind]
    code = CodeDigests(Path(__file__).parent)
    data = TaskDataset(task_of(Odd(sample)), 0, CPU, loaders=loaders, code=code)
    with no_child_stays(), pytest.raises(TaskProblem) as problem:
        Run(task_trial(TRAIN), data)
    text = str(problem.value)
    assert f", and sample 7 is {expected};" in text or f"sample 7 is {expected}, and" in text
    assert "is (tensor (3,), tensor ())" in text
    assert "collate=" in text
    assert re.search(r"Odd, .*loader_fixtures\.py, line \d+", text)


def test_what_a_loader_prints_is_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """It does not get to descriptor 1, where a worker may write its events."""
    trial = task_trial(TRAIN)
    plain = outcome(Run(trial, dataset(Samples, 0)))
    printing = TaskDataset(task_of(Broken(prints), Samples(9)), 0, CPU, loaders=2)
    with no_child_stays():
        assert outcome(Run(trial, printing)) == plain
    said = capfd.readouterr()
    assert '{"kind":"ended"}' not in said.out
    assert '{"kind":"ended"}' in said.err


@pytest.mark.parametrize("fault", [waits, deadlocks])
def test_a_loader_that_hangs_says_where_and_is_waited_for(
    fault: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_processes, "PATIENCE_SECONDS", 0.5)
    said, code = Queue[str](), CodeDigests(Path(__file__).parent)
    data = TaskDataset(task_of(Broken(fault)), 0, CPU, 0, 2, code, said.put, seconds=0.5)
    data.expect([torch.tensor([[7]]), torch.tensor([[7]])], lambda: 1)
    try:
        text = said.get(timeout=60)
        assert data.samples.ahead is not None
        assert all(map(_lives, data.samples.ahead.pids))
    finally:
        data.close()
    lines = Path(loader_fixtures.__file__).read_text().splitlines()
    first = fault.__code__.co_firstlineno
    line = next(n for n, text in enumerate(lines, 1) if n > first and "# in a loader" in text)
    begin = f"loader_fixtures.py, line {line}: a loader process has been reading samples 7 of train"
    assert text.startswith(begin)
    assert said.empty(), "it is said once"


def test_a_slow_loader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch comes after it was said that it takes long."""
    monkeypatch.setattr(loader_processes, "PATIENCE_SECONDS", 0.2)
    said, went_on = Queue[str](), Event()

    def slow() -> None:
        assert went_on.wait(60)

    data = TaskDataset(task_of(Broken(slow)), 0, CPU, 0, 1, None, said.put, seconds=0.2)
    data.expect([torch.tensor([[7]])], lambda: 1)
    try:
        assert "has been reading samples 7 of train" in said.get(timeout=60)
        went_on.set()
        x, _ = data.samples.batch(torch.tensor([7]))
        assert torch.equal(x[0], Samples()[7][0])
    finally:
        data.close()


def test_a_killed_loader_lets_the_training_go_on_elsewhere() -> None:
    data = TaskDataset(task_of(Broken(killed)), 0, CPU, loaders=2)
    with no_child_stays(), pytest.raises(LoaderLost, match=r"SIGKILL.*Broken, .*line \d+"):
        Run(task_trial(TRAIN), data)


def test_a_batch_that_cannot_be_sent_is_a_problem() -> None:
    class Local(Samples):
        def __getitem__(self, number: int) -> Any:
            return type("Here", (), {})

    task = dataclasses.replace(task_of(Local()), collate=list)
    data = TaskDataset(task, 0, CPU, loaders=1)
    with pytest.raises(TaskProblem, match="cannot be sent"):
        Run(task_trial(TRAIN), data)


def test_loaders_end_with_a_training_that_is_killed() -> None:
    script = """
import torch, time
from tests.unit.engine.training.tasks.loader_fixtures import Samples, task_of
from batchscope.engine.training.tasks.read_ahead import Request
from batchscope.engine.training.tasks.task_dataset import TaskDataset
data = TaskDataset(task_of(Samples()), 0, torch.device("cpu"), loaders=3)
data.expect([torch.tensor([[0]])], lambda: 1)
print(*data.samples.ahead.pids, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(each) for each in process.stdout.readline().split()]
    assert len(pids) == 3
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while any(map(_lives, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]


@given(
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from(DTYPES),
    st.integers(0, 3),
    st.booleans(),
)
def test_a_tensor_keeps_bits_and_strides(
    shape: list[int], dtype: torch.dtype, turn: int, skip: bool
) -> None:
    tensor = (torch.randn(shape, dtype=torch.float64) * 3).to(dtype)
    if len(shape) > 1:
        tensor = tensor.transpose(turn % len(shape), 0)
    if skip and shape:
        tensor = tensor[::2]
    (found,) = unpacked(packed([tensor]))
    assert found.dtype == dtype
    assert torch.equal(found, tensor)
    assert found.stride() == tensor.stride()
