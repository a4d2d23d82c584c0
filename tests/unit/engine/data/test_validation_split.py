"""The validation split: disjoint, fixed, of the right size, and never used for training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch.nn import functional

from batchscope.engine.analysis.tables import EPOCH_COLUMNS, epoch_rows, trial_row
from batchscope.engine.analysis.time_estimate import trial_seconds
from batchscope.engine.data import validation_split as sizes
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.metrics.pace import pace
from batchscope.engine.metrics.registry import TRIAL_COLUMNS
from batchscope.engine.planning.batch_norm import pieces
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Data, Memory, Model, Probe, Train
from batchscope.engine.training.batches import Images, epoch_order, load_images, split
from batchscope.engine.training.instruments.frozen_batches import Drawing
from batchscope.engine.training.model.build import build_model
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep
from tests.unit.engine.grid_fixtures import refusal
from tests.unit.training_fixtures import CPU, LINEAR, Run, make_trial, set_gradients, synthetic

IMAGES, HELD = 50, 12


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return synthetic(tmp_path_factory.mktemp("small"), train=IMAGES, test=20)


@pytest.fixture(scope="module")
def images(prepared: Prepared) -> Images:
    return load_images(prepared, CPU, HELD)


@settings(max_examples=200, deadline=None)
@given(images=st.integers(2, 3000), share=st.floats(0, 1, exclude_max=True))
def test_the_split_is_a_partition_of_the_right_size(images: int, share: float) -> None:
    data = Data(name="digits", validation=share)
    held, left = sizes.validation_size(data, images), sizes.training_size(data, images)
    assert held + left == images
    assert left >= 1
    assert (held == 0) == (share == 0)
    assert abs(held - share * images) <= 1
    ours, theirs = split(images, held)
    assert (len(ours), len(theirs)) == (held, left)
    assert sorted([*ours.tolist(), *theirs.tolist()]) == list(range(images))


def test_the_split_depends_on_nothing_else(prepared: Prepared, images: Images) -> None:
    torch.manual_seed(99)
    again = load_images(prepared, CPU, HELD)
    assert images.validation is not None
    assert again.validation is not None
    assert torch.equal(images.validation, again.validation)
    assert torch.equal(images.train_part, again.train_part)


def test_a_larger_share_includes_the_smaller_one() -> None:
    assert set(split(100, 10)[0].tolist()) < set(split(100, 30)[0].tolist())


def test_without_a_split_nothing_changes(prepared: Prepared) -> None:
    whole = load_images(prepared, CPU)
    assert (whole.trained, whole.validation, whole.train_size) == (None, None, IMAGES)
    assert not whole.validates


def test_train_figures_and_probes_exclude_held_out_images(images: Images) -> None:
    assert images.validation is not None
    held = set(images.validation.tolist())
    assert images.train_size == IMAGES - HELD
    assert not held & set(images.train_part.tolist())
    trial = make_trial(Train(batch_size=4, lr=0.1, epochs=1))
    flat = Run(trial, images).flat
    for replacement in (False, True):
        drawing = Drawing(flat, images, 0, True, replacement, micro_batch_size=4)
        for batch in drawing.batches(20, 10, (1,)):
            assert not held & set(batch.tolist())


@pytest.mark.parametrize("sampling", ["without-replacement", "with-replacement"])
def test_only_the_remaining_images_are_trained_on(images: Images, sampling: str) -> None:
    """Another program: the remaining images in a tensor of their own, and no others."""
    assert images.trained is not None
    assert images.validation is not None
    kept, labels = images.train[images.trained], images.train_labels[images.trained]
    train = Train(batch_size=16, lr=0.2, epochs=3, sampling=sampling)  # type: ignore[arg-type]
    trial = make_trial(train, LINEAR, seed=3)
    run = Run(trial, images)
    model = build_model(LINEAR, DATASETS["digits"], 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    held = images.train[images.validation], images.train_labels[images.validation]
    for record in run.records:
        order = epoch_order(len(kept), 3, record.epoch, sampling == "with-replacement")
        for batch in torch.split(order, 16):
            set_gradients(model, kept[batch], labels[batch], "mean")
            optimizer.step()
        with torch.no_grad():
            logits = model(held[0])
        loss = float(functional.cross_entropy(logits, held[1]))
        right = float((logits.argmax(1) == held[1]).float().mean())
        assert record.validation_loss == pytest.approx(loss, rel=1e-4)
        assert record.validation_accuracy == pytest.approx(right, abs=1.01 / HELD)
        assert record.epoch_samples == len(kept)
    assert run.started.steps_per_epoch == 3
    for ours, theirs in zip(run.weights, model.parameters(), strict=True):
        assert torch.allclose(ours, theirs.detach(), atol=1e-5)


def test_held_out_images_do_not_change_the_weights(images: Images, prepared: Prepared) -> None:
    other = load_images(prepared, CPU, HELD)
    assert other.validation is not None
    noisy = other.train.clone()
    noisy[other.validation] = 1e3
    changed = Images(
        noisy,
        other.train_labels,
        other.test,
        other.test_labels,
        other.train_part,
        other.trained,
        other.validation,
    )
    probe = Probe(at=(0.5,), draws=2)
    trial = make_trial(Train(batch_size=16, lr=0.1, epochs=3), probe=probe)
    one, two = Run(trial, images), Run(trial, changed)
    assert all(torch.equal(a, b) for a, b in zip(one.weights, two.weights, strict=True))
    assert [r.train_loss for r in one.records] == [r.train_loss for r in two.records]
    assert [r.validation_loss for r in one.records] != [r.validation_loss for r in two.records]


def test_records_have_validation_figures_and_old_ones_have_none(images: Images) -> None:
    run = Run(make_trial(Train(batch_size=16, lr=0.1, epochs=2)), images)
    assert list(Records(run.records)) == run.records
    whole = Run(make_trial(Train(batch_size=16, lr=0.1, epochs=1)), _without(images))
    assert whole.records[0].validation_loss is None
    assert list(Records(whole.records)) == whole.records


def _without(images: Images) -> Images:
    return Images(
        images.train, images.train_labels, images.test, images.test_labels, images.train_part
    )


def test_the_tables_have_validation_figures() -> None:
    of = configuration(8, seeds=1)
    figures = {"validation_loss": 0.25, "validation_accuracy": 0.75}
    state = sweep([(of, [Ended(figures=figures)])])
    (row,) = epoch_rows(state)
    assert {key: row[key] for key in figures} == figures
    assert {key: trial_row(state, state.trials["b8-s0"])[key] for key in figures} == figures
    assert set(figures) < set(TRIAL_COLUMNS) & set(EPOCH_COLUMNS)


def test_an_epoch_has_the_remaining_images() -> None:
    plain = configuration(8, seeds=1)
    data = Data(name="digits", validation=0.25)
    of = replace(plain, settings=replace(plain.settings, data=data))
    state = sweep([(of, [Ended(figures={"epoch_samples": 60, "seconds": 3.0})])])
    assert pace(state, state.replicates("b8")) == (3.0, 20.0)  # 80 images, 20 of them held out


def test_the_expected_epoch_is_shorter() -> None:
    plain = configuration(8).settings
    half = replace(plain, data=Data(name="digits", validation=0.5))
    assert trial_seconds(half) < trial_seconds(plain)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            {"name": "digits", "validation": 0.9999},
            "data.validation: 0.9999 ",
        ),
    ],
)
def test_a_share_of_everything_is_rejected(data: dict[str, object], told: str) -> None:
    assert told in refusal(data=data)


def test_a_small_set_is_never_held_out_completely() -> None:
    data = Data(name="digits", validation=0.99)
    assert sizes.training_size(data, 3) == 1


def test_a_share_is_below_one() -> None:
    raw = {
        "title": "t",
        "data": {"name": "digits", "validation": 1.0},
        "model": {"name": "mlp"},
        "train": {"batch_size": 8, "lr": 0.1, "epochs": 1},
    }
    with pytest.raises(UsageProblem, match=r"data.validation: expected .* got 1"):
        parse_preset(raw, "p", "file.toml")


def test_batch_norm_checks_the_last_batch_of_the_remaining_images(
    prepared: Prepared,
) -> None:
    """38 images in batches of 37 would leave one: it joins them."""
    model = Model(name="mlp", hidden=(5,), batch_norm=True)
    trial = make_trial(Train(batch_size=37, lr=0.1, epochs=1), model, memory=Memory())
    data = Data(name="digits", validation=HELD / IMAGES)
    size = sizes.training_size(data, prepared.train)
    assert make_plan(trial, size, 1).batch_size == 37
    assert pieces(trial.settings, size) == (38,)
