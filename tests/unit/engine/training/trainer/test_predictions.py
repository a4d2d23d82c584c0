"""The final predictions of a training, also after an interruption."""

from pathlib import Path

import msgspec
import pytest
import torch

from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import AnyEvent, Predicted
from batchscope.engine.metrics.prediction_codec import unpack
from batchscope.engine.spec import Probe
from batchscope.engine.training.batches import Images, load_images
from tests.unit.engine.training.stack_fixtures import (
    CASES,
    SEEDS,
    Group,
    after,
    learnable,
    poisoned,
    trial_of,
)
from tests.unit.training_fixtures import CPU, classifier, synthetic

PROBED = Probe(at=(1.0,), batch_sizes=(2,), draws=20)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on and 20 to test, of distinguishable kinds."""
    prepared = synthetic(tmp_path_factory.mktemp("small"), train=50, test=20)
    return learnable(load_images(prepared, CPU))


def predictions_of(events: list[AnyEvent], seed: int) -> list[Predicted]:
    return [e for e in events if isinstance(e, Predicted) and e.trial == f"trial-s{seed}"]


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_the_last_weights(name: str, images: Images) -> None:
    group = Group(CASES[name], images, SEEDS)
    for row, seed in enumerate(SEEDS):
        (event,) = predictions_of(group.events, seed)
        logits = classifier(group.training.stepper.stack.passes).logits(images.test)[row]
        missed = (logits.argmax(1) - images.test_labels) % 10
        assert unpack([event.packed])[0].tolist() == missed.tolist()
        assert (event.images, event.classes) == (20, 10)
        assert event.steps == group.training.at.steps
        accuracy = group.records(seed)[-1].test_accuracy
        assert (missed == 0).double().mean().item() == pytest.approx(accuracy)


def test_predictions_are_reported_at_a_target_and_not_after_divergence(
    images: Images,
) -> None:
    trial = trial_of(epochs=40, target_accuracy=0.5, lr=0.1)
    group = Group(trial, images, SEEDS)
    steps = {predictions_of(group.events, seed)[0].steps for seed in SEEDS}
    assert len(steps) > 1
    for seed in SEEDS:
        (event,) = predictions_of(group.events, seed)
        assert event.steps == group.records(seed)[-1].steps
    lost = Group(trial_of(), images, SEEDS, hook=poisoned(1, 5))
    assert [len(predictions_of(lost.events, seed)) for seed in SEEDS] == [1, 0, 1]


def test_predictions_in_a_checkpoint_are_reported_after_a_resume(
    images: Images, tmp_path: Path
) -> None:
    trial = trial_of(probe=PROBED)
    whole = Group(trial, images, (0,))
    questions = trial.settings.train.epochs or 0
    broken = Group(trial, images, (0,), halted=after(4 * questions + 5), folder=tmp_path)
    assert broken.training.at.over
    assert predictions_of(broken.events, 0) == []
    resumed = Group(trial, images, (0,), folder=tmp_path, attempt=2)
    (one,), (other,) = predictions_of(whole.events, 0), predictions_of(resumed.events, 0)
    assert msgspec.structs.replace(other, attempt=1) == one
    assert other.attempt == 2


def test_the_packed_bytes_survive_a_line_of_the_journal() -> None:
    event = Predicted(trial="t", attempt=1, steps=3, classes=10, images=2, packed=b"\x00\xff\n")
    assert journal.decode(journal.encode(event)) == event
    assert torch.tensor(list(event.packed)).tolist() == [0, 255, 10]
