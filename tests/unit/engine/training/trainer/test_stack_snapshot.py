"""Groups that are halted and resumed have the same bits as one that was not."""

from pathlib import Path

import pytest

from batchscope.engine.journal.events import EpochRecord, Note
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.trainer.state import TrainingState
from tests.unit.engine.training.stack_fixtures import (
    CASES,
    SEEDS,
    Group,
    Probing,
    after,
    equal_bits,
    learnable,
    poisoned,
)
from tests.unit.training_fixtures import CPU, synthetic


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on and 20 to test, of distinguishable kinds."""
    prepared = synthetic(tmp_path_factory.mktemp("small"), train=50, test=20)
    return learnable(load_images(prepared, CPU))


def joined(groups: list[Group], seed: int) -> list[EpochRecord]:
    """Return the epochs of a member in its journal; later events replace earlier ones."""
    found = dict[int, EpochRecord]()
    for group in groups:
        for record in group.records(seed):
            found[record.epoch] = record
    return [found[epoch] for epoch in sorted(found)]


@pytest.mark.parametrize("calls", [1, 3, 6, 10])
@pytest.mark.parametrize("name", ["sgd", "adam", "batch norm", "cnn", "without gradients", "bf16"])
def test_a_halted_group_resumes_with_the_same_bits(
    name: str, calls: int, images: Images, tmp_path: Path
) -> None:
    """An epoch has four steps with batches of 16, and two with batches of 25."""
    trial = CASES[name]
    whole = Group(trial, images, SEEDS)
    calls = min(calls, 7) if name == "batch norm" else calls
    first = Group(trial, images, SEEDS, halted=after(calls), folder=tmp_path)
    assert {first.ended(seed).status for seed in SEEDS} == {"stopped"}
    second = Group(trial, images, SEEDS, folder=tmp_path, attempt=2)
    for seed in SEEDS:
        assert second.started(seed).resumed_steps == calls
        assert second.ended(seed).status == "finished"
        assert joined([first, second], seed) == whole.records(seed)
        assert second.records(seed) == whole.records(seed), "they are stated again"
        assert equal_bits(second.weights(seed), whole.weights(seed))


def test_a_group_resumes_without_members_that_had_ended(images: Images, tmp_path: Path) -> None:
    trial = CASES["adam"]
    whole = Group(trial, images, SEEDS)
    first = Group(
        *(trial, images, SEEDS),
        hook=poisoned(1, 5),
        halted=after(10),
        folder=tmp_path,
    )
    assert [first.ended(seed).status for seed in SEEDS] == ["stopped", "diverged", "stopped"]
    second = Group(trial, images, SEEDS, active=(0, 2), folder=tmp_path, attempt=2)
    stated = {getattr(event, "trial", "") for event in second.events}
    assert stated == {"trial-s0", "trial-s2"}
    for seed in (0, 2):
        assert second.started(seed).resumed_steps == 10
        assert second.records(seed) == whole.records(seed)
        assert equal_bits(second.weights(seed), whole.weights(seed))


def test_a_group_resumes_without_a_member_of_the_checkpoint(images: Images, tmp_path: Path) -> None:
    """For example, it was dropped between two attempts."""
    trial = CASES["sgd"]
    whole = Group(trial, images, SEEDS)
    Group(trial, images, SEEDS, halted=after(10), folder=tmp_path)
    second = Group(trial, images, SEEDS, active=(2,), folder=tmp_path, attempt=2)
    assert second.started(2).resumed_steps == 10
    assert second.records(2) == whole.records(2)


def test_a_checkpoint_without_an_active_member_is_skipped(images: Images, tmp_path: Path) -> None:
    trial = CASES["sgd"]
    whole = Group(trial, images, SEEDS)
    Group(trial, images, SEEDS, active=(0, 2), halted=after(10), folder=tmp_path)
    second = Group(trial, images, SEEDS, folder=tmp_path, attempt=2)
    (note,) = [event for event in second.events if isinstance(event, Note)]
    assert (note.level, note.trial) == ("warning", "trial-s0")
    assert "checkpoint.pt" in note.text
    assert "trial-s1" in note.text
    for seed in SEEDS:
        assert second.started(seed).resumed_steps is None
        assert second.figures(seed) == whole.figures(seed)


def test_a_checkpoint_of_other_seeds_is_skipped(images: Images, tmp_path: Path) -> None:
    trial = CASES["sgd"]
    Group(trial, images, SEEDS, halted=after(10), folder=tmp_path)
    second = Group(trial, images, (0, 1), folder=tmp_path, attempt=2)
    (note,) = [event for event in second.events if isinstance(event, Note)]
    assert "checkpoint.pt" in note.text
    assert "settings" in note.text
    assert second.started(0).resumed_steps is None


# ---- within a probe


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_group_halted_in_a_probe_resumes_in_that_probe(
    share: float, images: Images, tmp_path: Path
) -> None:
    trial = CASES["probed"]
    whole = Group(trial, images, SEEDS)
    probing, asked = Probing(share, 2), list[bool]()

    def hook(training: TrainingState, question: int) -> None:
        if probing.due(training):
            asked.append(True)

    first = Group(trial, images, SEEDS, hook=hook, halted=lambda: bool(asked), folder=tmp_path)
    assert {first.ended(seed).status for seed in SEEDS} == {"stopped"}
    assert [len(first.probes(seed)) for seed in SEEDS] == [
        *(len([s for s in (0.0, 0.5, 1.0) if s <= share]),),
        *[len([s for s in (0.0, 0.5, 1.0) if s < share])] * 2,
    ]
    second = Group(trial, images, SEEDS, folder=tmp_path, attempt=2)
    for seed in SEEDS:
        assert second.started(seed).resumed_steps == first.training.at.steps
        assert second.records(seed) == whole.records(seed)
        found = [(p.at_share, p.steps, p.draws, p.competitions) for p in second.probes(seed)]
        expected = [(p.at_share, p.steps, p.draws, p.competitions) for p in whole.probes(seed)]
        assert found == expected
        assert equal_bits(second.weights(seed), whole.weights(seed))
