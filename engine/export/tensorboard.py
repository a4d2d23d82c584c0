"""Writes TensorBoard event files: a folder for each trial, and the experiment for HParams.

The messages are TensorBoard's own (`tensorboard.compat.proto`), and so is the writer of records.
Its `EventFileWriter` is not used: it names and dates a file by clock, host and process. Here names,
times and order come from the journal, so that the same sweep gives the same bytes. TensorBoard is
an extra; it is imported only here, and only when event files are written.
"""

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.analysis import tables
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent, EpochsFinished
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.norm_histogram import EDGES, Norms
from batchscope.engine.metrics.primary_metric import primary_metric
from batchscope.engine.metrics.registry import TAGS
from batchscope.engine.metrics.task_metrics import task_epoch_metrics

FOLDER = "tensorboard"
PROGRAM = "batchscope"
SCALARS = TAGS
"""The tag of each column of `epochs.csv` that is drawn over the steps."""
HISTOGRAM = "gradient_norm"
HPARAMS = (
    "batch_size", "micro_batch_size", "lr", "seed", "dataset", "model", "optimizer",
    "scaling_rule", "precision", "configuration",
)  # fmt: skip
"""The columns of `trials.csv` that are settings; the HParams tab shows them."""
METRICS = tuple(
    TAGS[name]
    for name in ("test_accuracy", "train_accuracy", "test_loss", "train_loss", "epoch_seconds")
)
"""The tags that the HParams tab compares."""
STATUSES = {"finished": "STATUS_SUCCESS", "diverged": "STATUS_FAILURE", "failed": "STATUS_FAILURE"}


def tags_of(state: SweepState) -> dict[str, str]:
    """Return the tag of each column that is drawn: `mae/test` for the `test_mae` of a task."""
    own = (each.name for each in task_epoch_metrics(state))
    return {**SCALARS, **{name: "/".join(name.split("_", 1)[::-1]) for name in own}}


def compared(state: SweepState) -> tuple[str, ...]:
    """Return the tags that the HParams tab compares, without an accuracy that a task lacks."""
    primary, tags = primary_metric(state), tags_of(state)
    if primary.is_accuracy:
        return METRICS
    first = (tags[name] for name in (primary.measure, primary.train_measure))
    rest = (tag for tag in METRICS if not tag.startswith("accuracy/"))
    return tuple(dict.fromkeys((*first, *rest)))


def check_tensorboard() -> None:
    """Check, before anything is run, that TensorBoard is installed.

    Raises:
        MachineProblem: it is not; the message says how to install it.
    """
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401
    except ImportError as error:
        missing = f"needs TensorBoard, which cannot be imported ({error})"
        raise MachineProblem(f"--tensorboard {missing}; install batchscope[tensorboard]") from None


def write_event_files(target: Path, state: SweepState, events: Iterable[AnyEvent]) -> None:
    """Write `tensorboard/` into the folder `target`.

    Args:
        events: the events of the journal.

    Raises:
        OSError: the disk cannot be written.
    """
    when = moments(events)
    begun = state.opened.at if state.opened else 0.0
    folder = target / FOLDER
    folder.mkdir()
    _write(folder, begun, [_summary(begun, 0, [_experiment(state)])])
    rows = itertools.groupby(tables.epoch_rows(state), key=lambda row: row["trial"])
    epochs = {str(trial): list(of) for trial, of in rows}
    for trial in state.trials.values():
        if trial.started is not None:
            place = folder / trial.id
            place.mkdir()
            own = _of_trial(state, trial, epochs.get(trial.id, []), when)
            _write(place, trial.started.at, own)


def moments(events: Iterable[AnyEvent]) -> dict[tuple[str, int], float]:
    """Return when each epoch of each trial ended, in Unix seconds, by trial and epoch.

    An event has one time stamp for all its epochs; earlier ones ended before that by the training
    times that followed. The epochs of a later attempt replace those of an earlier one.
    """
    ends: dict[tuple[str, int], float] = {}
    for event in events:
        if isinstance(event, EpochsFinished):
            at = event.at
            for record in reversed(event.records):
                ends[event.trial, record.epoch] = at
                at -= record.seconds
    return ends


def _of_trial(
    state: SweepState,
    trial: TrialState,
    rows: list[tables.Row],
    when: Mapping[tuple[str, int], float],
) -> Iterator[Any]:
    assert trial.started is not None
    yield _summary(trial.started.at, 0, [_session_start(state, trial)])
    at, tags = trial.started.at, tags_of(state)
    for record, row in zip(trial.records, rows, strict=True):
        at = max(at, when.get((trial.id, record.epoch), at))
        values = [_scalar(tag, row[name]) for name, tag in tags.items() if _known(row.get(name))]
        norms = Norms(record.norms)
        if norms.bins:
            values.append(_histogram(norms))
        yield _summary(at, record.steps, values)
    if trial.status in STATUSES and trial.ended_at is not None:
        last = trial.last.steps if trial.last else 0
        yield _summary(trial.ended_at, last, [_session_end(trial)])


def _known(value: tables.Value) -> bool:
    return isinstance(value, int | float)


def _write(folder: Path, at: float, events: Iterable[Any]) -> None:
    """Write one event file, named by the time `at`; its first record names the program."""
    from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
    from tensorboard.summary.writer.record_writer import RecordWriter

    first = Event(
        wall_time=at, file_version="brain.Event:2", source_metadata=SourceMetadata(writer=PROGRAM)
    )
    with open(folder / f"events.out.tfevents.{int(at):010d}.{PROGRAM}", "wb") as file:
        records = RecordWriter(file)
        for event in itertools.chain([first], events):
            records.write(event.SerializeToString(deterministic=True))


def _summary(at: float, step: int, values: list[Any]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(wall_time=at, step=step, summary=Summary(value=values))


def _scalar(tag: str, value: tables.Value) -> Any:
    """Return a scalar; TensorBoard stores it as float32."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=value)


def _histogram(norms: Norms) -> Any:
    """Return the bins of gradient norms as buckets, from the lowest to the highest used bin."""
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

    lowest, highest = min(norms.bins), max(norms.bins)
    top = min(EDGES[highest + 1], sys.float_info.max)
    mean, std, count = norms.mean or 0.0, norms.std or 0.0, norms.count
    histogram = HistogramProto(
        min=EDGES[lowest],
        max=top,
        num=count,
        sum=mean * count,
        sum_squares=std * std * (count - 1) + mean * mean * count,
        bucket_limit=[*EDGES[lowest + 1 : highest + 1], top],
        bucket=[norms.bins.get(index, 0) for index in range(lowest, highest + 1)],
    )
    return Summary.Value(tag=HISTOGRAM, histo=histogram)


def hparams(state: SweepState, trial: TrialState) -> dict[str, str | int | float]:
    """Return the settings of a trial: those of `trials.csv`, and others that differ, by key."""
    row = tables.trial_row(state, trial)
    values = {name: row[name] for name in HPARAMS}
    own = _flat(trial.settings)
    values |= {
        path: own.get(path) for path in _varied(state) if path.partition(".")[2] not in values
    }
    return {name: value for name, value in values.items() if value is not None}


def _varied(state: SweepState) -> list[str]:
    """Return the dotted keys of the settings in which the configurations differ."""
    all_of = [_flat(each.settings) for each in state.configurations.values()]
    paths = dict.fromkeys(path for each in all_of for path in each)
    return [path for path in paths if len({each.get(path) for each in all_of}) > 1]


def _flat(settings: object) -> dict[str, str | int | float | None]:
    tables_of = msgspec.to_builtins(settings)
    return {
        f"{table}.{key}": value if isinstance(value, str | int | float) else _written(value)
        for table, keys in tables_of.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
        if value is not None
    }


def _written(value: object) -> str:
    """Return a list or a table as text."""
    return msgspec.json.encode(value).decode()


def _experiment(state: SweepState) -> Any:
    """Return what the HParams tab compares: settings, and metrics at the end of a trial."""
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    names: dict[str, type] = {}
    for trial in state.trials.values():
        for name, value in hparams(state, trial).items():
            names[name] = str if isinstance(value, str) else names.get(name, type(value))
    kinds = {str: api_pb2.DATA_TYPE_STRING, bool: api_pb2.DATA_TYPE_BOOL}
    experiment = api_pb2.Experiment(
        description=state.opened.title if state.opened else "",
        time_created_secs=state.opened.at if state.opened else 0.0,
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=kinds.get(kind, api_pb2.DATA_TYPE_FLOAT64))
            for name, kind in names.items()
        ],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=tag)
            for tag in compared(state)
        ],
    )
    return _plugin_value(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _session_start(state: SweepState, trial: TrialState) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    assert trial.started is not None
    session = SessionStartInfo(start_time_secs=trial.started.at)
    for name, value in hparams(state, trial).items():
        if isinstance(value, bool):
            session.hparams[name].bool_value = value
        elif isinstance(value, str):
            session.hparams[name].string_value = value
        else:
            session.hparams[name].number_value = value
    data = HParamsPluginData(session_start_info=session)
    return _plugin_value(metadata.SESSION_START_INFO_TAG, data)


def _session_end(trial: TrialState) -> Any:
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = getattr(api_pb2, STATUSES[trial.status])
    data = HParamsPluginData(
        session_end_info=SessionEndInfo(status=status, end_time_secs=trial.ended_at or 0.0)
    )
    return _plugin_value(metadata.SESSION_END_INFO_TAG, data)


def _plugin_value(tag: str, data: Any) -> Any:
    """Return a value that carries a message of the HParams plugin, without a tensor."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import metadata

    plugin = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString(deterministic=True)
    )
    about = SummaryMetadata(plugin_data=plugin)
    return Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
