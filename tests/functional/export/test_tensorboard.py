"""Event files, read back by TensorBoard itself."""

import csv
import struct
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchscope.engine.export import tensorboard
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import trials_of
from tests.functional.board_fixtures import EPOCHS, Recipe, configurations, record_of
from tests.functional.lab import Lab, events_of, recorded

pytest.importorskip("tensorboard", reason="needs the extra batchscope[tensorboard]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def single(value: float) -> float:
    """The nearest float32."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def accumulated(folder: Path) -> Any:
    """Everything that TensorBoard reads in a folder, nothing thinned."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    found.Reload()
    return found


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a real run, with event files."""
    target = tmp_path_factory.mktemp("export") / "out"
    words = ("--sweep", recorded().folder.name, "--tensorboard")
    outcome = recorded().lab.run("--export", str(target), *words)
    assert outcome.code == 0, outcome.err
    return target


# ---- scalars and histograms


def test_tensorboard_reads_the_figures_of_the_epochs_table(real: Path) -> None:
    rows = rows_of(real, "epochs.csv")
    assert len(rows) == 8
    for trial in dict.fromkeys(row["trial"] for row in rows):
        read = accumulated(real / "tensorboard" / trial)
        own = [row for row in rows if row["trial"] == trial]
        for column, tag in tensorboard.SCALARS.items():
            known = [(int(row["steps"]), single(float(row[column]))) for row in own if row[column]]
            scalars = read.Scalars(tag) if known else []
            assert [(each.step, each.value) for each in scalars] == known, tag
            assert (tag in read.Tags()["scalars"]) == bool(known)
    tags = ("accuracy/test", "loss/train", "gradient_norm/mean", "lr", "epoch_seconds")
    assert set(tags) < set(read.Tags()["scalars"])


def test_the_histograms_hold_the_bins_of_the_table(real: Path) -> None:
    rows, epochs = rows_of(real, "gradient_norms.csv"), rows_of(real, "epochs.csv")
    for trial in dict.fromkeys(row["trial"] for row in epochs):
        read = accumulated(real / "tensorboard" / trial).Histograms("gradient_norm")
        own = [row for row in epochs if row["trial"] == trial]
        assert len(read) == len(own) == 2
        for event, epoch in zip(read, own, strict=True):
            found = event.histogram_value
            bins = {
                float(row["bin_right"]): float(row["count"])
                for row in rows
                if (row["trial"], row["epoch"]) == (trial, epoch["epoch"])
            }
            pairs = zip(found.bucket_limit, found.bucket, strict=True)
            assert {right: count for right, count in pairs if count} == bins
            assert found.num == sum(bins.values())
            mean = float(epoch["grad_norm_mean"])
            assert found.sum / found.num == pytest.approx(mean, rel=1e-12)
            assert found.min < min(bins)
            assert found.max == max(bins)


def test_the_moments_are_those_of_the_journal(real: Path) -> None:
    events = events_of(recorded().folder)
    state = SweepState().fold(events)
    stated = {
        (event.trial, record.epoch): event.at
        for event in events
        if isinstance(event, ev.EpochsFinished)
        for record in event.records
    }
    for trial in state.trials.values():
        assert trial.started is not None
        assert trial.ended_at is not None
        folder = real / "tensorboard" / trial.id
        (file,) = folder.iterdir()
        assert file.name == f"events.out.tfevents.{int(trial.started.at):010d}.batchscope"
        first, last = accumulated(folder).Scalars("accuracy/test")
        assert last.wall_time == stated[trial.id, 2]
        assert trial.started.at <= first.wall_time <= last.wall_time <= trial.ended_at


def test_the_same_sweep_gives_the_same_names_and_bytes(real: Path, tmp_path: Path) -> None:
    """Whatever process writes them, and whenever."""

    def files(folder: Path) -> dict[Path, bytes]:
        paths = (folder / "tensorboard").rglob("events.*")
        return {path.relative_to(folder): path.read_bytes() for path in paths}

    events = events_of(recorded().folder)
    tensorboard.write_event_files(tmp_path, SweepState().fold(events), events)
    assert len(files(tmp_path)) == 5, "four trials and the experiment"
    assert files(tmp_path) == files(real)


def test_epochs_of_one_statement_ended_one_after_the_other() -> None:
    (chosen,) = configurations((8,), 1)
    (trial,) = trials_of(chosen)
    records = tuple(record_of(trial, epoch) for epoch in (1, 2, 3))
    statement = ev.EpochsFinished(trial=trial.id, attempt=1, records=records, at=100.0)
    later = ev.EpochsFinished(trial=trial.id, attempt=2, records=records[:1], at=200.0)
    when = tensorboard.moments([statement])
    seconds = records[0].seconds
    expected = [100 - 2 * seconds, 100 - seconds, 100.0]
    assert [when[trial.id, n] for n in (1, 2, 3)] == pytest.approx(expected, rel=1e-12)
    assert tensorboard.moments([statement, later])[trial.id, 1] == 200.0


def test_norms_beyond_the_bins_and_none_at_all_can_be_read(tmp_path: Path) -> None:
    """A trial that blows up, one that never had an epoch, and one that never began."""
    recipe, (chosen,) = Recipe(tmp_path / "home"), configurations((8,), 3)
    recipe.open((chosen,))
    recipe.ready((chosen,))
    wild, bare, _ = trials_of(chosen)
    recipe.start(wild)
    huge = ev.NormSlice(0, 3, 1e30, 0.0, 401, (3,))
    record = ev.EpochRecord(
        epoch=1, steps=9, samples=99, lr=0.1, train_loss=None, train_accuracy=0.1, test_loss=None,
        test_accuracy=0.1, seconds=0.5, epoch_samples=99, weight_norm=None,
        distance_from_init=None, norms=(huge,),
    )  # fmt: skip
    recipe.say(ev.EpochsFinished(trial=wild.id, attempt=1, records=(record,)))
    recipe.end(wild, "diverged", "the loss is not finite")
    recipe.start(bare)
    events = journal.Reader(recipe.path).read_all()
    state = SweepState().fold(events)
    tensorboard.write_event_files(tmp_path, state, events)
    folder = tmp_path / "tensorboard"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["b8-s0", "b8-s1"]
    read = accumulated(folder / wild.id)
    assert "loss/test" not in read.Tags()["scalars"]
    (event,) = read.Histograms("gradient_norm")
    assert event.histogram_value.bucket == [3.0]
    assert event.histogram_value.min < event.histogram_value.max == sys.float_info.max
    assert accumulated(folder / bare.id).Tags()["scalars"] == []


# ---- the HParams tab


def sessions(folder: Path) -> dict[str, Any]:
    """What TensorBoard's own backend of the HParams tab finds, by session."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, str(folder))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[
            api_pb2.STATUS_SUCCESS,
            api_pb2.STATUS_FAILURE,
            api_pb2.STATUS_RUNNING,
            api_pb2.STATUS_UNKNOWN,
        ],
        slice_size=1000,
    )
    handler = list_session_groups.Handler(context.RequestContext(), backend, "", asked)
    return {group.name: group for group in handler.run().session_groups}


def test_the_hparams_tab_has_every_trial_with_settings_and_figures(real: Path) -> None:
    found = sessions(real / "tensorboard")
    rows = rows_of(real, "trials.csv")
    assert sorted(found) == sorted(row["trial"] for row in rows)
    for row in rows:
        group = found[row["trial"]]
        for name in ("batch_size", "micro_batch_size", "lr", "seed"):
            assert group.hparams[name].number_value == float(row[name])
        for name in ("dataset", "model", "optimizer", "precision", "configuration"):
            assert group.hparams[name].string_value == row[name]
        values = {metric.name.tag: metric.value for metric in group.metric_values}
        assert values["accuracy/test"] == single(float(row["test_accuracy"]))
        assert values["loss/train"] == single(float(row["train_loss"]))
        assert [session.status for session in group.sessions] == [1]  # success


def test_what_else_differs_is_a_setting_by_its_path(tmp_path: Path) -> None:
    short, long = configurations((8, 32), 1)
    train = msgspec.structs.replace(long.settings.train, epochs=7)
    model = msgspec.structs.replace(long.settings.model, hidden=(5,))
    other = msgspec.structs.replace(long.settings, train=train, model=model)
    recipe = Recipe(tmp_path)
    recipe.open((short, msgspec.structs.replace(long, settings=other)))
    state = SweepState().fold(journal.Reader(recipe.path).read_all())
    told = [tensorboard.hparams(state, trial) for trial in state.trials.values()]
    assert [each["train.epochs"] for each in told] == [EPOCHS, 7]
    assert [each["model.hidden"] for each in told] == ["[128,64]", "[5]"]
    assert "train.batch_size" not in told[0], "it is there as batch_size"
    assert "train.optimizer" not in told[0]


# ---- where it is missing, and how it is asked for


def without_tensorboard(root: Path) -> str:
    """A folder for PYTHONPATH in which importing TensorBoard fails, as where it is missing."""
    package = root / "hidden" / "tensorboard"
    package.mkdir(parents=True)
    raising = "raise ModuleNotFoundError(\"No module named 'tensorboard'\", name='tensorboard')"
    (package / "__init__.py").write_text(raising)
    return str(package.parent)


def test_without_it_one_message_comes_before_any_training(lab: Lab) -> None:
    path = without_tensorboard(lab.root)
    outcome = lab.run("--export", str(lab.root / "out"), "--tensorboard", PYTHONPATH=path)
    assert outcome.code == 3
    assert outcome.message == (
        "--tensorboard needs TensorBoard, which cannot be imported (No module named "
        "'tensorboard'); install batchscope[tensorboard]"
    )
    assert lab.folders() == []
    plain = recorded().lab.run(
        "--export", str(lab.root / "plain"), "--sweep", recorded().folder.name, PYTHONPATH=path
    )
    assert plain.code == 0, "nothing else needs it"


def test_it_goes_with_an_export_alone(lab: Lab) -> None:
    outcome = lab.run("--tensorboard")
    assert outcome.code == 2
    assert outcome.message == "--tensorboard: needs --export DIR"


def test_event_files_are_whole_or_not_there(tmp_path: Path) -> None:
    """An export without them takes the place of one with them, as of any other file."""
    target = tmp_path / "out"
    words = ("--export", str(target), "--sweep", recorded().folder.name)
    assert recorded().lab.run(*words, "--tensorboard").code == 0
    assert (target / "tensorboard").is_dir()
    assert recorded().lab.run(*words).code == 0
    assert not (target / "tensorboard").exists()
