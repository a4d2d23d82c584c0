"""Several workers on one trial, as real processes: the gradient is that of a single worker."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent, EpochRecord, EpochsFinished, TrialEnded
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.planning.plan import Plan, make_plan, shares
from batchscope.engine.processes.orders import TeamSpec
from batchscope.engine.spec import Memory, Model, Probe, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.data_parallel.exchange import TeamLost
from batchscope.engine.training.data_parallel.leader import Team, start_team
from batchscope.engine.training.instruments.instrument import Step
from batchscope.engine.training.instruments.noise_scale import NoiseScale
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.train_step import Stepper
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.engine.training.stack_fixtures import trial_of
from tests.unit.training_fixtures import CPU, never, synthetic, untimed

TRAIN, TEST, HELD = 53, 20, 6
CNN = Model(name="cnn", channels=(3, 4), hidden=(7,))
PROBE = Probe(at=(0.0, 0.5, 1.0), batch_sizes=(2, 5), draws=2)
ROUNDING, ROUNDING_OF_BF16 = 2e-6, 2e-2


class House(NamedTuple):
    """Images, their folder, and a team of workers."""

    data: Prepared
    images: Images
    team: Team


@pytest.fixture(scope="module", params=[2, 3])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    data = synthetic(tmp_path_factory.mktemp("small"), train=TRAIN, test=TEST)
    team = start_team(request.param, TeamSpec(), "cpu", 60.0, print)
    yield House(data, load_images(data, CPU), team)
    team.end()


def over(trial: Trial, workers: int) -> Trial:
    run = replace(trial.settings.run, data_parallel=workers)
    return replace(trial, settings=replace(trial.settings, run=run))


def steppers(house: House, trial: Trial) -> tuple[Stepper, Stepper]:
    """Return the stepper of one worker, and that of the team."""
    alone = make_plan(trial, TRAIN, threads=1)
    ours = over(trial, house.team.size)
    plan = make_plan(ours, TRAIN, threads=1)
    house.team.begin(ours, plan, house.data)
    one = Stepper((trial,), alone, house.images, CPU)
    return one, Stepper((ours,), plan, house.images, CPU, house.team)


def batch_of(size: int) -> Tensor:
    order = torch.randperm(TRAIN, generator=torch.Generator().manual_seed(size))
    return order[:size].unsqueeze(0)


def apart(found: Tensor, wanted: Tensor) -> float:
    """Return the relative distance."""
    length = torch.linalg.vector_norm
    return float(length(found - wanted) / length(wanted))


class Trained:
    """A trial trained by a team or by one worker, with its events."""

    def __init__(
        self,
        house: House,
        trial: Trial,
        workers: int | None = None,
        *,
        folder: Path | None = None,
        halted: Callable[[], bool] = never,
    ) -> None:
        workers = workers or house.team.size
        trial = over(trial, workers)
        self.plan: Plan = make_plan(trial, TRAIN, threads=1)
        team = house.team if workers > 1 else None
        if team:
            team.begin(trial, self.plan, house.data)
        names = (trial.id,)
        self.events: list[AnyEvent] = []
        job = TrainingJob((trial,), names, self.plan, 1, 0, "cpu", folder, "digest", {}, team)
        trainer = Trainer(job, house.images, self.events.append, halted)
        self.training = trainer.training
        trainer.run()

    @property
    def weights(self) -> Tensor:
        return self.training.stepper.stack.weights.detach()

    @property
    def records(self) -> list[EpochRecord]:
        found = [e for e in self.events if isinstance(e, EpochsFinished)]
        return [untimed(record) for event in found for record in event.records]

    @property
    def ended(self) -> TrialEnded:
        last = self.events[-1]
        assert isinstance(last, TrialEnded)
        return last


@pytest.mark.parametrize("size", [1, 2, 16, 37, TRAIN])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("model", [Model(name="mlp", hidden=(13, 7)), CNN], ids=["mlp", "cnn"])
def test_the_gradient_equals_that_of_one_worker(
    house: House, model: Model, reduction: str, size: int
) -> None:
    """Also for batches that cannot be divided evenly, and for fewer images than workers."""
    one, several = steppers(house, trial_of(model, batch_size=TRAIN, loss_reduction=reduction))
    one.gradient(batch_of(size))
    several.gradient(batch_of(size))
    assert apart(several.stack.gradient, one.stack.gradient) < ROUNDING


@pytest.mark.parametrize("cut", [1, 5, 16])
def test_each_worker_divides_its_share_into_micro_batches(house: House, cut: int) -> None:
    memory = Memory(micro_batch_size=cut)
    one, several = steppers(house, trial_of(batch_size=TRAIN, memory=memory))
    assert several.micro_batch_size == cut
    one.gradient(batch_of(TRAIN))
    several.gradient(batch_of(TRAIN))
    assert apart(several.stack.gradient, one.stack.gradient) < ROUNDING


def test_in_bf16_it_is_that_of_one_worker_to_bf16s_rounding(house: House) -> None:
    one, several = steppers(house, trial_of(batch_size=37, precision="bf16"))
    for stepper in (one, several):
        stepper.gradient(batch_of(37))
    assert 0 < apart(several.stack.gradient, one.stack.gradient) < ROUNDING_OF_BF16


def test_the_other_ranks_use_the_weights_they_are_sent(house: House) -> None:
    """They keep no weights from step to step."""
    one, several = steppers(house, trial_of(batch_size=16))
    for stepper in (one, several):
        stepper.stack.weights.detach().mul_(3.0)
        stepper.gradient(batch_of(16))
    assert apart(several.stack.gradient, one.stack.gradient) < ROUNDING


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_noise_scale_is_computed_from_the_shares(house: House, reduction: str) -> None:
    """Compare with McCandlish, appendix A.1, from the gradients of single shares."""
    size, workers = 37, house.team.size
    one, several = steppers(house, trial_of(batch_size=size, loss_reduction=reduction))
    batch = batch_of(size)
    found = several.gradient(batch, parts=True)
    whole = several.stack.gradient.clone()
    several.gradient(batch)
    assert torch.equal(whole, several.stack.gradient), "it is the same whether measured or not"

    def mean_gradient(part: Tensor) -> Tensor:
        one.gradient(part)
        scale = 1.0 if reduction == "mean" else 1.0 / part.shape[1]
        return one.stack.gradient.double() * scale

    parts = torch.split(batch, list(shares(size, workers)), 1)
    squares = [mean_gradient(part).square().sum() * part.shape[1] for part in parts]
    p = torch.stack(squares).sum() / size
    q = mean_gradient(batch).square().sum()
    trace = size * (p - q) / (workers - 1)
    noise = NoiseScale(several.stack.gradient, possible=True)
    scale = 1.0 / size if reduction == "mean" else 1.0
    noise.before_step(Step(1, 0, size, size, 0.1, scale, parts=found))
    found_trace, found_signal, count = noise.of_replicate(0)
    assert count == 1
    assert found_trace == pytest.approx(float(trace), rel=1e-4)
    assert found_signal == pytest.approx(float(q - trace / size), rel=1e-4)


def test_workers_without_images_are_no_parts(house: House) -> None:
    assert house.team.parts(2) == 2
    assert house.team.parts(37) == house.team.size
    noise = NoiseScale(torch.zeros(1, 3), possible=True)
    step = Step(1, 0, samples=1, batch_size=64, lr=0.1, scale=1.0)
    assert noise.needs_parts(step) is False, "a batch of one image has no parts"


@pytest.mark.parametrize(
    "train",
    [
        {"lr": 0.1},
        {"optimizer": "momentum", "lr": 0.05},
        {"optimizer": "adam", "lr": 0.003},
        {"optimizer": "adamw", "lr": 0.003, "weight_decay": 0.1, "loss_reduction": "sum"},
        {"sampling": "with-replacement"},
    ],
    ids=lambda train: str(train.get("optimizer", train.get("sampling", "sgd"))),
)
def test_a_training_equals_that_of_one_worker_to_rounding(
    house: House, train: dict[str, Any]
) -> None:
    """Steps, norms, distances, losses; the last batch of an epoch is smaller."""
    trial = trial_of(probe=PROBE, **train)
    one, several = Trained(house, trial, 1), Trained(house, trial)
    assert several.ended.status == "finished"
    assert apart(several.weights, one.weights) < 1e-4
    for ours, theirs in zip(several.records, one.records, strict=True):
        assert (ours.steps, ours.samples) == (theirs.steps, theirs.samples)
        assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-4)
        assert Norms(ours.norms).mean == pytest.approx(Norms(theirs.norms).mean, rel=1e-4)
        assert ours.distance_from_init == pytest.approx(theirs.distance_from_init, rel=1e-4)
        assert ours.path_length == pytest.approx(theirs.path_length, rel=1e-4)
        assert ours.noise_draws == theirs.noise_draws
        assert ours.peak_memory_bytes


def test_the_same_plan_gives_the_same_bits(house: House) -> None:
    trial = trial_of(optimizer="adam", lr=0.003, batch_size=17)
    first, second = Trained(house, trial), Trained(house, trial)
    assert first.records == second.records
    assert torch.equal(first.weights, second.weights)


def test_a_resumed_training_has_the_same_bits(house: House, tmp_path: Path) -> None:
    """The other ranks have no state to restore."""
    trial = trial_of(optimizer="momentum", lr=0.05, epochs=4)
    whole = Trained(house, trial)
    asked = itertools.count(1)
    broken = Trained(house, trial, folder=tmp_path, halted=lambda: next(asked) > 6)
    assert broken.ended.status == "stopped"
    resumed = Trained(house, trial, folder=tmp_path)
    assert resumed.ended.status == "finished"
    assert torch.equal(resumed.weights, whole.weights)
    assert resumed.records[-1] == whole.records[-1]


def test_no_worker_trains_on_images_held_out(house: House) -> None:
    """The other ranks receive indices into the whole data set."""
    trial = trial_of(batch_size=16)
    data = replace(trial.settings.data, validation=HELD / TRAIN)
    trial = replace(trial, settings=replace(trial.settings, data=data))
    split = house._replace(images=load_images(house.data, CPU, HELD))
    one, several = Trained(split, trial, 1), Trained(split, trial)
    assert several.records[-1].validation_loss == pytest.approx(one.records[-1].validation_loss)
    assert apart(several.weights, one.weights) < 1e-4


def test_the_gradient_is_computed_again_when_a_share_runs_out_of_memory(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients sent for the failed attempt are not mistaken for the next ones."""
    one, several = steppers(house, trial_of(batch_size=37))
    real, full = several._gradient._accumulate, several.micro_batch_size

    def cramped(batch: Tensor, mean: bool) -> None:
        real(batch, mean)
        if several.micro_batch_size == full:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(several._gradient, "_accumulate", cramped)
    assert several.step(batch_of(37), 1, 0)
    one.step(batch_of(37), 1, 0)
    assert several.micro_batch_size == -(-full // 2)
    assert not house.team.broken
    assert apart(several.stack.weights.detach(), one.stack.weights.detach()) < ROUNDING


def test_a_team_of_another_size_is_refused() -> None:
    with pytest.raises(MachineProblem, match=r"data_parallel = 2: .* was started with 4"):
        start_team(2, TeamSpec(size=4, rendezvous="tcp://127.0.0.1:1"), "cpu", 60.0, print)


def test_a_worker_that_does_not_start_is_named() -> None:
    with pytest.raises(TeamLost, match="worker 2 of 2 ended with exit code 1"):
        start_team(2, TeamSpec(devices=("cpu", "no-such-device")), "cpu", 60.0, print)
