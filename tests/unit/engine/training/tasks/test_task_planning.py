"""What is measured and said of a task before its first step: the longest samples, and cuts."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from batchscope.engine.journal.events import MicroBatchesMeasured
from batchscope.engine.orchestration.planner import chosen
from batchscope.engine.planning.batch_norm import ghostly, pieces, refusal, setting_problem
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.planning.random_forward import drawn_in_parts, same_in_parts
from batchscope.engine.spec import Memory, Train, Trial, informed
from batchscope.engine.task import Task
from batchscope.engine.task_table import TaskFacts
from batchscope.engine.training.jobs.micro_batch_bench import Bench
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.unit.engine.training.tasks.task_fixtures import task_trial
from tests.unit.training_fixtures import CPU, Run

SIZE, LONG, LONGEST = 60, 4_000, (41, 33, 57, 20)
UNLIMITED = 1 << 50


class Uneven(torch.utils.data.Dataset[Tensor]):
    """Sequences of ten numbers, and four long ones."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, number: int) -> Tensor:
        return torch.full((LONG if number in LONGEST else 10,), number / SIZE)


def padded(samples: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(samples), batch_first=True)


def loss(model: nn.Module, batch: Tensor) -> tuple[Tensor, int]:
    outputs: Tensor = model(batch.unsqueeze(2))
    return (outputs**2).sum(), batch.numel()


def data(held: int = 0) -> TaskDataset:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 1))
    return TaskDataset(Task(model=model, train=Uneven(), loss=loss, collate=padded), 0, CPU, held)


def trial_of(facts: TaskFacts, **train: Any) -> Trial:
    trial = task_trial(Train(**{"batch_size": 16, "lr": 0.1, "epochs": 1, **train}))
    return replace(trial, settings=informed(trial.settings, facts))


def bench(facts: TaskFacts, held: int = 0, limit: int = UNLIMITED) -> Bench:
    trial = trial_of(facts)
    images = data(held)
    return Bench((trial,), make_plan(trial, images.train_size, threads=1), images, CPU, limit)


def test_memory_is_measured_on_the_longest_samples_first() -> None:
    plain, known = bench(TaskFacts(train=SIZE)), bench(TaskFacts(train=SIZE, longest=LONGEST))
    for each in (plain, known):
        each._execute(2)
    assert known.longest == len(LONGEST)
    assert known._shapes[2].peak_bytes > plain._shapes[2].peak_bytes + 2 * LONG * 64 * 4


def test_what_fits_is_chosen_so_that_the_longest_batch_fits() -> None:
    """A limit for about four long sequences: a batch of sixteen short ones would fit by far."""
    held = bench(TaskFacts(train=SIZE)).held_bytes
    one = bench(TaskFacts(train=SIZE, longest=LONGEST))
    one._execute(1)
    limit = held + 4 * (one._shapes[1].peak_bytes - held)
    known = bench(TaskFacts(train=SIZE, longest=LONGEST), limit=limit)
    sizes = [s.micro_batch_size for s in known.shapes(2.0) if not s.failed]
    fitting = [s for s in sizes if known._shapes[s].peak_bytes <= 0.9 * limit]
    assert 1 <= max(fitting) <= 4
    unknown = bench(TaskFacts(train=SIZE), limit=limit)
    unknown.shapes(2.0)
    assert unknown._shapes[max(unknown._shapes)].micro_batch_size > 4


def test_samples_that_are_held_out_are_not_measured() -> None:
    known = bench(TaskFacts(train=SIZE, longest=tuple(range(SIZE))), held=12)
    assert known.longest == SIZE - 12
    assert sorted(known._heaviest[0].tolist()) == sorted(known._order[0].tolist())


def test_the_reason_names_the_longest_samples() -> None:
    trial = trial_of(TaskFacts(train=SIZE, longest=LONGEST))
    plan = make_plan(trial, SIZE, threads=1)
    measured = MicroBatchesMeasured(
        trial=trial.id, device="cpu", device_name="cpu", batch_size=16, asked_bytes=None,
        limit_bytes=1000, held_bytes=1, shapes=(Shape(16, 10, 1.0, rounds=3),),
        evaluation_batch_size=16, evaluation_peak_bytes=10, seconds=1.0, longest=4,
    )  # fmt: skip
    assert "longest samples" in chosen(plan, measured).reason
    assert "longest" not in chosen(plan, replace(measured, longest=0)).reason


NORMED = TaskFacts(train=SIZE, batch_norm=True)


def test_batch_norm_in_a_model_has_the_rules_of_the_networks() -> None:
    cut = trial_of(NORMED)
    plan = replace(make_plan(cut, SIZE, threads=1), micro_batch_size=4, accumulation_steps=4)
    assert "batch norm sees 4" in ghostly(cut.settings, plan)
    one = setting_problem(trial_of(NORMED, batch_size=1).settings)
    assert one is not None
    assert one.startswith("train.batch_size: batch norm (of the task's model)")
    alone = trial_of(NORMED).settings
    alone = replace(alone, memory=Memory(micro_batch_size=5))
    told = refusal(pieces(alone, SIZE), 5)
    assert told is not None
    assert "micro-batches of 5 leave one of 16" in told


def test_batch_norm_is_not_measured_where_it_cannot_be() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def squares(model: nn.Module, batch: Tensor) -> tuple[Tensor, int]:
        return (model(batch) ** 2).sum(), len(batch)

    own = Task(model=model, train=torch.randn(33, 3), loss=squares)
    run = Run(trial_of(NORMED), TaskDataset(own, 0, CPU))
    assert run.ended.status == "finished"
    assert run.records[-1].noise_draws == 0  # as for the networks with batch norm
    assert run.records[-1].steps == 2  # the single sample at the end joins the batch before it


@pytest.mark.parametrize(("random", "micro"), [(True, 4), (True, 16), (False, 4)])
def test_a_cut_with_dropout_is_said_to_be_exact_in_distribution(random: bool, micro: int) -> None:
    trial = trial_of(TaskFacts(train=SIZE, random=random))
    plan = replace(make_plan(trial, SIZE, threads=1), micro_batch_size=micro)
    told = drawn_in_parts(trial.settings, plan)
    assert ("exact in distribution" in told) == (random and micro < 16)
    assert ("never divided for speed" in told) == (random and micro == 16)


def test_the_reason_does_not_speak_of_memory_where_the_preset_says_the_size() -> None:
    settings = trial_of(RANDOM).settings
    for micro in (4, 16):
        named = replace(settings, memory=Memory(micro_batch_size=micro))
        plan = make_plan(replace(trial_of(RANDOM), settings=named), SIZE, threads=1)
        assert "memory" not in drawn_in_parts(named, plan)


RANDOM = TaskFacts(train=SIZE, random=True)


@pytest.mark.parametrize("facts", [RANDOM, NORMED])
@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_the_cut_of_a_random_model_does_not_depend_on_time(
    facts: TaskFacts, seconds: float
) -> None:
    """Neither on the time for planning nor on the pace of smaller parts."""
    whole = bench(facts).shapes(seconds)
    assert whole[-1].micro_batch_size == 16
    tight = bench(facts)
    tight._execute(4)
    limit = int(tight._shapes[4].peak_bytes / 0.9) + 1
    sizes = bench(facts, limit=limit).shapes(seconds)
    fitting = [each.micro_batch_size for each in sizes if each.peak_bytes <= 0.9 * limit]
    assert max(fitting) == 4


def test_a_random_model_is_not_divided_for_speed() -> None:
    """Parts of 4 are twice as fast, and are chosen where the figures are the same."""
    shapes = (Shape(4, 10, 200.0, rounds=7), Shape(16, 20, 100.0, rounds=7))
    for facts, micro in ((TaskFacts(train=SIZE), 4), (RANDOM, 16), (NORMED, 16)):
        trial = trial_of(facts)
        measured = MicroBatchesMeasured(
            trial=trial.id, device="cpu", device_name="cpu", batch_size=16, asked_bytes=None,
            limit_bytes=1000, held_bytes=1, shapes=shapes,
            evaluation_batch_size=16, evaluation_peak_bytes=10, seconds=1.0,
        )  # fmt: skip
        plan = chosen(make_plan(trial, SIZE, threads=1), measured, same_in_parts(trial.settings))
        assert plan.micro_batch_size == micro
