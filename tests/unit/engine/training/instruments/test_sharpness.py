"""Sharpness of real networks at the end of a training, without side effects."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from batchscope.engine.devices.devices import Reading
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Sharpness, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.cancellation import Halted
from batchscope.engine.training.instruments.box_maximum import Subspace, Vector
from batchscope.engine.training.instruments.sharpness import SharpnessMeter
from tests.unit.engine.training.stack_fixtures import (
    CASES,
    NORMED,
    Group,
    equal_bits,
    learnable,
    trial_of,
)
from tests.unit.training_fixtures import CPU, Run, configuration, opened, started, synthetic

ASKED = Sharpness(epsilon=(1e-3, 5e-4), samples=30, iterations=3)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on, 20 to test."""
    folder = tmp_path_factory.mktemp("small")
    return learnable(load_images(synthetic(folder, train=50, test=20), CPU))


def sharp(trial: Trial, asked: Sharpness = ASKED) -> Trial:
    return replace(trial, settings=replace(trial.settings, sharpness=asked))


def measured(events: list[ev.AnyEvent], trial: str = "trial-s0") -> list[ev.SharpnessMeasured]:
    found = [e for e in events if isinstance(e, ev.SharpnessMeasured) and e.trial == trial]
    return [replace(each, seconds=0.0) for each in found]


@pytest.mark.parametrize("case", ["sgd", "adam", "batch norm", "cnn"])
def test_the_training_keeps_its_bits(images: Images, case: str) -> None:
    plain, with_it = Run(CASES[case], images), Run(sharp(CASES[case]), images)
    ours, others = with_it.training.stepper.stack, plain.training.stepper.stack
    assert equal_bits(ours.weights.detach(), others.weights.detach())
    assert all(map(torch.equal, ours.buffers, others.buffers))
    strip = {"seconds": 0.0, "warm_up_seconds": 0.0}
    one, other = ([replace(r, **strip) for r in run.records] for run in (plain, with_it))
    assert one == other
    found = measured(with_it.events)
    assert [each.epsilon for each in found] == [1e-3, 5e-4]
    assert [each.samples for each in found] == [30, 30]
    values = [each.sharpness for each in found]
    assert values[0] is not None
    assert values[1] is not None
    assert values[0] > values[1] > 0
    assert with_it.events.index(with_it.ended) == len(with_it.events) - 1


@pytest.mark.parametrize("model", [trial_of().settings.model, NORMED], ids=["mlp", "batch norm"])
def test_loss_and_gradient_match_float64(
    images: Images, model: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In evaluation mode, over the fixed part of the images, whatever the micro-batch."""
    seen: list[tuple[Vector, float, Vector]] = []
    evaluate = SharpnessMeter._evaluate

    def spy(self: SharpnessMeter, x: Vector) -> tuple[float, Vector]:
        loss, gradient = evaluate(self, x)
        seen.append((x.copy(), loss, gradient))
        return loss, gradient

    monkeypatch.setattr(SharpnessMeter, "_evaluate", spy)
    monkeypatch.setattr("batchscope.engine.planning.plan.DRAW_MICRO_BATCH_SIZE", 7)
    run = Run(sharp(trial_of(model)), images)  # type: ignore[arg-type]
    network = run.flat.model.double().eval()
    part = images.part(30)
    assert len(set(part.tolist())) == 30

    def loss_of(flat: Tensor) -> Tensor:
        parts, at = {}, 0
        for name, parameter in network.named_parameters():
            parts[name] = flat[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        logits = functional_call(network, parts, images.train[part].double())
        return functional.cross_entropy(logits, images.train_labels[part])

    for x, loss, gradient in seen:
        flat = torch.from_numpy(x).float().double().requires_grad_()
        expected = loss_of(flat)
        (slope,) = torch.autograd.grad(expected, flat)
        assert loss == pytest.approx(expected.item(), rel=1e-6)
        np.testing.assert_allclose(gradient, slope.numpy(), rtol=1e-3, atol=1e-6)
    first = measured(run.events)[0]
    climbed = seen[: first.evaluations]
    assert first.loss == climbed[0][1]
    assert first.highest_loss == max(loss for _, loss, _ in climbed)
    box = 1e-3 * (np.abs(climbed[0][0]) + 1)
    assert all((np.abs(x - climbed[0][0]) <= box * (1 + 1e-9)).all() for x, *_ in climbed)


def test_a_stack_measures_each_replicate_as_if_alone(images: Images) -> None:
    trial = sharp(trial_of())
    together = Group(trial, images, (0, 1))
    for seed in (0, 1):
        alone = Group(trial, images, (seed,))
        (one, two), (other, another) = (
            measured(group.events, f"trial-s{seed}") for group in (together, alone)
        )
        assert one.sharpness == pytest.approx(other.sharpness, rel=1e-3)
        assert two.sharpness == pytest.approx(another.sharpness, rel=1e-3)


def test_a_subspace_has_the_given_dimensions(images: Images) -> None:
    asked = replace(ASKED, dimensions=5)
    found = measured(Run(sharp(trial_of(), asked), images).events)
    assert [each.dimensions for each in found] == [5, 5]
    again = measured(Run(sharp(trial_of(), asked), images).events)
    assert found == again
    assert all((each.sharpness or 0) > 0 for each in found)


@pytest.mark.parametrize("dimensions", [10_000, None])
def test_as_many_dimensions_as_weights_are_the_full_space(
    images: Images, dimensions: int | None
) -> None:
    asked = replace(ASKED, epsilon=(1e-3,), dimensions=dimensions)
    (found,) = measured(Run(sharp(trial_of(), asked), images).events)
    assert found.dimensions is None


def test_a_subspace_too_large_for_memory_does_not_end_the_training(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = sum(each.numel() for each in Run(trial_of(), images).flat.model.parameters())
    needed = Subspace.bytes_of(weights, 5)
    asked = replace(ASKED, epsilon=(1e-3,), dimensions=5)
    for available, known in ((2 * needed, True), (2 * needed - 2, False)):
        reading = Reading(available=available)
        monkeypatch.setattr(
            "batchscope.engine.training.instruments.sharpness.memory_of", lambda *_, r=reading: r
        )
        run = Run(sharp(trial_of(), asked), images)
        (found,) = measured(run.events)
        assert run.ended.status == "finished"
        assert (found.sharpness is not None) == known
        assert ("a subspace of 5 dimensions takes" in found.reason) != known


def test_weights_are_restored_after_an_interrupted_search(images: Images) -> None:
    run = Run(trial_of(), images)
    before = run.flat.copy_weights()
    count = 0

    def check_cancelled() -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise Halted

    sharpness_meter = SharpnessMeter(sharp(trial_of()), run.plan, run.flat, images, check_cancelled)
    with pytest.raises(Halted):
        sharpness_meter.measure(1e-3)
    assert equal_bits(before, run.flat.copy_weights())
    assert run.flat.model.training


def test_a_training_halted_between_boxes_resumes_with_the_remaining_ones(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-width is not measured twice, and all results are reported again."""
    whole = Run(sharp(trial_of()), images)
    first, second = measured(whole.events)
    questions = len(whole.records) * 4 + first.evaluations + 1
    asked = 0

    def halted() -> bool:
        nonlocal asked
        asked += 1
        return asked > questions

    broken = Group(sharp(trial_of()), images, (0,), halted=halted, folder=tmp_path)
    assert broken.ended(0).status == "stopped"
    assert measured(broken.events) == [first]
    count = 0
    evaluate = SharpnessMeter._evaluate

    def counted(self: SharpnessMeter, x: Vector) -> tuple[float, Vector]:
        nonlocal count
        count += 1
        return evaluate(self, x)

    monkeypatch.setattr(SharpnessMeter, "_evaluate", counted)
    resumed = Group(sharp(trial_of()), images, (0,), folder=tmp_path, attempt=2)
    assert resumed.started(0).resumed_steps == 12
    assert [replace(each, attempt=1) for each in measured(resumed.events)] == [first, second]
    assert count == second.evaluations
    assert resumed.ended(0).status == "finished"


def test_a_loss_that_is_not_finite_in_the_box_gives_a_reason(images: Images) -> None:
    """Products of weights this large overflow in float32."""
    asked = replace(ASKED, epsilon=(1e37, 1e-3))
    broken, fine = measured(Run(sharp(trial_of(), asked), images).events)
    assert (broken.sharpness, broken.highest_loss) == (None, None)
    assert "not finite in the box" in broken.reason
    assert broken.loss == fine.loss
    assert fine.sharpness is not None


def test_the_fold_keeps_each_box_once_and_drops_abandoned_attempts() -> None:
    of = configuration(16)
    of = replace(of, settings=replace(of.settings, sharpness=ASKED))
    state = SweepState().fold([*opened([of]), started(of)])
    measured = ev.SharpnessMeasured(
        trial="b16-s0",
        attempt=1,
        steps=9,
        epsilon=1e-3,
        dimensions=None,
        samples=30,
        loss=0.5,
        highest_loss=0.8,
        sharpness=20.0,
        evaluations=4,
        iterations=3,
        seconds=0.1,
    )
    other = replace(measured, epsilon=5e-4, sharpness=5.0)
    state.fold([measured, measured, other])
    trial = state.trials["b16-s0"]
    assert trial.sharpness == [measured, other]
    assert state.repeats(replace(other, attempt=2))
    assert trial.sharpness_at() == measured
    assert trial.sharpness_at(5e-4) == other
    assert trial.sharpness_at(0.1) is None
    again = msgspec.structs.replace(started(of, attempt=2), resumed_steps=9)
    assert state.fold([again]).trials["b16-s0"].sharpness == [measured, other]
    assert state.fold([started(of, attempt=3)]).trials["b16-s0"].sharpness == []
