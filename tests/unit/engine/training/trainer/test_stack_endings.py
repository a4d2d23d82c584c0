"""Members that end before the others: their end is their last event, the others keep their bits."""

import itertools
from collections.abc import Callable, Collection

import pytest

from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.trainer.state import TrainingState
from tests.known import known
from tests.unit.engine.training.stack_fixtures import (
    CASES,
    SEEDS,
    Group,
    Probing,
    equal_bits,
    learnable,
    poisoned,
    trial_of,
)
from tests.unit.training_fixtures import CPU, synthetic


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on and 20 to test, of distinguishable kinds."""
    prepared = synthetic(tmp_path_factory.mktemp("small"), train=50, test=20)
    return learnable(load_images(prepared, CPU))


def dropping(seed: int, after_looks: int) -> Callable[[], Collection[str]]:
    """A member that is dropped after a number of checks."""
    looks = itertools.count(1)
    return lambda: (f"trial-s{seed}",) if next(looks) > after_looks else ()


def unmoved(group: Group, whole: Group, seeds: Collection[int]) -> None:
    """Assert that these members have the same figures and weights in both groups."""
    for seed in seeds:
        assert group.figures(seed) == whole.figures(seed)
        assert equal_bits(group.weights(seed), whole.weights(seed))


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("name", CASES)
def test_a_member_that_diverges_does_not_change_the_others(
    name: str, row: int, images: Images
) -> None:
    trial = CASES[name]
    whole = Group(trial, images, SEEDS)
    group = Group(trial, images, SEEDS, hook=poisoned(row, 5))
    lost = SEEDS[row]
    assert group.ended(lost).status == "diverged"
    assert group.records(lost) == whole.records(lost)[: len(group.records(lost))]
    assert len(group.records(lost)) == (2 if name == "batch norm" else 1)
    assert group.training.at.steps == whole.training.at.steps
    unmoved(group, whole, set(SEEDS) - {lost})


def test_the_training_ends_when_all_members_have_diverged(images: Images) -> None:
    def hook(training: TrainingState, question: int) -> None:
        for row in range(3):
            poisoned(row, 2 + 4 * row)(training, question)

    trial = CASES["sgd"]
    group = Group(trial, images, SEEDS, hook=hook)
    assert [group.ended(seed).status for seed in SEEDS] == ["diverged"] * 3
    assert [len(group.records(seed)) for seed in SEEDS] == [0, 1, 2]
    assert group.training.at.steps < 16


def test_a_loss_that_is_not_finite_ends_only_its_member(images: Images) -> None:
    """The last update of an epoch overflows, although its gradient was finite."""
    trial, whole = CASES["sgd"], Group(CASES["sgd"], images, SEEDS)

    def hook(training: TrainingState, question: int) -> None:
        if question == 8:  # the fourth step of the second epoch
            optimizer = training.stepper.optimizer
            step = optimizer.step

            def once() -> None:
                step()
                training.stepper.stack.weights.detach()[1, :] = 1e38
                del optimizer.step

            optimizer.step = once  # type: ignore[method-assign]

    group = Group(trial, images, SEEDS, hook=hook)
    ended = group.ended(1)
    assert ended.status == "diverged"
    assert "loss" in ended.reason
    assert "epoch 2" in ended.reason
    assert [r.test_loss is None for r in group.records(1)] == [False, True]
    unmoved(group, whole, {0, 2})


@pytest.mark.parametrize("looks", [0, 1, 3, 7])
@pytest.mark.parametrize("name", CASES)
def test_a_dropped_member_does_not_change_the_others(name: str, looks: int, images: Images) -> None:
    trial = CASES[name]
    whole = Group(trial, images, SEEDS)
    group = Group(trial, images, SEEDS, dropped=dropping(1, looks))
    ended = group.ended(1)
    assert (ended.status, ended.reason) == ("stopped", "")
    assert group.records(1) == whole.records(1)[: len(group.records(1))]
    unmoved(group, whole, {0, 2})


def test_dropping_the_last_member_ends_the_training(images: Images) -> None:
    looks = itertools.count(1)
    names = [f"trial-s{seed}" for seed in SEEDS]
    group = Group(CASES["sgd"], images, SEEDS, dropped=lambda: names[: next(looks) // 2])
    assert [group.ended(seed).status for seed in SEEDS] == ["stopped"] * 3
    assert group.training.at.steps < 16
    assert group.training.active == []


def test_a_member_at_its_target_does_not_change_the_others(images: Images) -> None:
    """Without a target all continue to the end; the bits before are the same."""
    plain = Group(trial_of(epochs=12, batch_size=6), images, SEEDS)
    group = Group(trial_of(epochs=12, batch_size=6, target_accuracy=0.5), images, SEEDS)
    lengths = []
    for seed in SEEDS:
        accuracies = [known(record.test_accuracy) for record in plain.records(seed)]
        first = next((n for n, one in enumerate(accuracies, start=1) if one >= 0.5), 12)
        assert group.records(seed) == plain.records(seed)[:first]
        assert group.ended(seed).status == "finished"
        lengths.append(first)
    assert len(set(lengths)) > 1, "they end apart"
    assert group.ended(SEEDS[lengths.index(min(lengths))]).reason == (
        "reached a test accuracy of 0.5"
    )


def test_a_member_at_its_target_within_an_epoch_does_not_change_the_others(
    images: Images,
) -> None:
    """A budget of that number of steps ends at the same weights."""
    plain = Group(trial_of(epochs=12, batch_size=6), images, SEEDS)
    trial = trial_of(epochs=12, batch_size=6, target_accuracy=0.5, target_checks=5)
    group = Group(trial, images, SEEDS)
    ends = [group.records(seed)[-1].steps for seed in SEEDS]
    assert len(set(ends)) > 1, "they end apart"
    assert any(steps % 9 for steps in ends), "and one of them within an epoch"
    for seed, steps in zip(SEEDS, ends, strict=True):
        *whole, last = group.records(seed)
        assert whole == plain.records(seed)[: len(whole)]
        other = Group(trial_of(epochs=None, steps=steps, batch_size=6), images, SEEDS)
        for figure in ("train_loss", "test_loss", "weight_norm", "distance_from_init"):
            assert getattr(last, figure) == getattr(other.records(seed)[-1], figure)
        assert sum(piece.count for piece in last.norms) == (steps % 9 or 9)
        assert last.epoch_samples == min(50, (steps % 9 or 9) * 6)


# ---- those that are active


@pytest.mark.parametrize("active", [(0,), (2,), (1, 2), (2, 0)])
@pytest.mark.parametrize("name", CASES)
def test_active_members_have_the_bits_of_the_whole_group(
    name: str, active: tuple[int, ...], images: Images
) -> None:
    whole = Group(CASES[name], images, SEEDS)
    group = Group(CASES[name], images, SEEDS, active=active)
    stated = {getattr(event, "trial", "") for event in group.events}
    assert stated == {f"trial-s{seed}" for seed in active}
    for seed in active:
        assert group.started(seed) == whole.started(seed)
    unmoved(group, whole, active)


# ---- within a probe


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("draws", [1, 3])
def test_a_member_dropped_in_its_probe_does_not_change_the_others(
    share: float, draws: int, images: Images
) -> None:
    """The second member is dropped; the third is still probed at the same moment."""
    trial = CASES["probed"]
    whole = Group(trial, images, SEEDS)
    probing, gone = Probing(share, draws), list[str]()

    def hook(training: TrainingState, question: int) -> None:
        if not gone and probing.due(training):
            gone.append("trial-s1")

    group = Group(trial, images, SEEDS, hook=hook, dropped=lambda: gone)
    assert group.ended(1).status == "stopped"
    found = [p.at_share for p in group.probes(1)]
    assert found == [s for s in (0.0, 0.5, 1.0) if s < share]
    assert group.probes(1) == whole.probes(1)[: len(found)]
    unmoved(group, whole, {0, 2})
