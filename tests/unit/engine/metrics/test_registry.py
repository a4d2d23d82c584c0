"""The registry: its orders never change, its entries are complete, and a new entry goes everywhere.

What an entry says is read by tables, dictionary, TensorBoard, claims, bars, curves and figures; the
last test adds entries in a fresh process and looks at each of these.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.journal.events import EpochRecord, NormSlice
from batchscope.engine.metrics import registry
from batchscope.engine.metrics.epoch_metrics import Field, NoiseRatio
from batchscope.engine.metrics.epoch_registry import CURVE_ORDER, EPOCH_METRICS
from batchscope.engine.metrics.metric import OWN, AtEnd, EpochMetric, Spot, last_value, spot_of
from batchscope.engine.metrics.registry import EPOCH, TRIAL, TRIAL_METRICS
from batchscope.engine.metrics.trial_registry import BAR_ORDER, SUMMARY_ORDER
from batchscope.engine.spec import Claim
from tests.unit.engine.findings_fixtures import record

ROOT = Path(__file__).parents[4]

EPOCH_HEADER = (
    "trial,batch_size,seed,epoch,steps,samples,lr,train_loss,train_accuracy,test_loss,"
    "test_accuracy,generalization_gap,epoch_seconds,samples_per_second,grad_norm_mean,"
    "grad_norm_std,grad_norm_cv,distance_from_init,weight_norm,noise_scale,peak_memory_bytes,"
    "update_norm_mean,path_length,noise_trace,noise_signal,noise_draws,last_batch_size,"
    "validation_loss,validation_accuracy,stacked,warm_up_seconds,sgd_noise_scale"
)
TRIAL_HEADER = (
    "trial,status,batch_size,micro_batch_size,accumulation_steps,seed,dataset,model,optimizer,lr,"
    "scaling_rule,epochs,steps,samples,train_loss,train_accuracy,test_loss,test_accuracy,"
    "best_test_accuracy,generalization_gap,epoch_seconds,samples_per_second,peak_memory_bytes,"
    "init_norm,distance_from_init,noise_scale,configuration,label,attempt,reason,path_length,"
    "memory_cuts,precision,batch_norm_size,noise_draws,validation_loss,validation_accuracy,"
    "steps_to_target,samples_to_target,seconds_to_target,selected,stacked,sgd_noise_scale,"
    "sharpness,data_parallel,device"
)
TAGS = {
    "epoch": "epoch", "samples": "samples", "lr": "lr",
    "train_loss": "loss/train", "train_accuracy": "accuracy/train",
    "test_loss": "loss/test", "test_accuracy": "accuracy/test",
    "generalization_gap": "accuracy/gap", "epoch_seconds": "epoch_seconds",
    "samples_per_second": "samples_per_second", "grad_norm_mean": "gradient_norm/mean",
    "grad_norm_std": "gradient_norm/std", "grad_norm_cv": "gradient_norm/cv",
    "distance_from_init": "distance_from_init", "weight_norm": "weight_norm",
    "noise_scale": "noise_scale", "peak_memory_bytes": "peak_memory_bytes",
    "update_norm_mean": "update_norm_mean", "path_length": "path_length",
    "noise_trace": "noise_trace", "noise_signal": "noise_signal",
    "last_batch_size": "last_batch_size", "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation", "warm_up_seconds": "warm_up_seconds",
    "sgd_noise_scale": "sgd_noise_scale",
}  # fmt: skip
NAMED = (
    "step_seconds,training_seconds,noise_scale_growth,weight_norm,grad_norm_mean,"
    "grad_norm_mean_early,grad_norm_mean_late,grad_norm_cv,grad_norm_cv_early,grad_norm_cv_late,"
    "update_norm_mean,path_per_sample,distance_at_equal_samples,distance_log_slope,"
    "distance_log_r2,distance_power,bias,variance,variance_unbiased,variance_biased,net_variance,"
    "probe_norm_mean,probe_norm_cv,probe_kurtosis,pairwise_cosine,competition_cosine,"
    "competition_length_ratio,competition_straightness,competition_step_cosine"
)


# ---- the contract


@pytest.mark.parametrize(
    ("names", "contract"),
    [(registry.EPOCH_COLUMNS, EPOCH_HEADER), (registry.TRIAL_COLUMNS, TRIAL_HEADER)],
)
def test_columns_keep_their_names_and_places_and_new_ones_come_last(
    names: tuple[str, ...], contract: str
) -> None:
    assert ",".join(names).startswith(contract)


def test_tags_and_measures_keep_their_names() -> None:
    assert registry.TAGS.items() >= TAGS.items()
    assert set(registry.NAMED) >= set(NAMED.split(","))
    assert {name for name in registry.MEASURES if TRIAL[name].column} == {
        metric.name for metric in TRIAL_METRICS if metric.column and not metric.text
    }


# ---- complete entries


def test_names_are_unique_and_every_entry_says_what_it_is() -> None:
    for metrics in (EPOCH_METRICS, TRIAL_METRICS):
        assert len({metric.name for metric in metrics}) == len(metrics)
        assert all(metric.unit and metric.definition for metric in metrics)


def test_what_is_shown_has_a_title_and_a_tab() -> None:
    assert all(
        (metric.curve.title or metric.title) and (metric.curve.tab or metric.tab)
        for metric in registry.CURVES
        if metric.curve
    )
    assert all(metric.title and metric.tab for metric in registry.BARS)
    assert all(metric.summary for metric in registry.PLOTS), "the report reads findings.json"


def test_every_order_names_entries_that_are_shown_there() -> None:
    for shown, order in (
        (registry.CURVES, CURVE_ORDER),
        (registry.BARS, BAR_ORDER),
        (registry.SUMMARY, SUMMARY_ORDER),
    ):
        assert tuple(metric.name for metric in shown)[: len(order)] == order


def test_an_epoch_metric_has_one_way_to_its_value() -> None:
    assert all((m.figure is None) != (m.of_trial is None) for m in EPOCH_METRICS)
    assert all(m.figure for m in EPOCH_METRICS if m.curve or m.at_end)
    assert all(m.curve.twin in EPOCH for m in EPOCH_METRICS if m.curve and m.curve.twin)


def test_a_metric_of_both_tables_is_described_alike() -> None:
    both = [name for name in EPOCH if name in TRIAL]
    assert {"test_accuracy", "noise_scale", "epoch_seconds"} <= set(both)
    for name in both:
        assert EPOCH[name].unit == TRIAL[name].unit
        assert EPOCH[name].better == TRIAL[name].better


# ---- values


def filled(epoch: int, count: int = 3) -> EpochRecord:
    """A record with a number in every field."""
    norms = (NormSlice(0, count, 2.0 + epoch, 0.5 * (count - 1), 200, (count,)),)
    numbers = {
        name: float(at + 1) / (epoch + 2)
        for at, name in enumerate(EpochRecord.__struct_fields__)
        if name not in ("norms", "layer_norms", "metrics")
    }
    numbers["noise_scale"] = numbers["noise_trace"] / numbers["noise_signal"]
    whole = {"epoch": epoch, "steps": 10 * epoch, "samples": 80 * epoch, "noise_draws": 2}
    return EpochRecord(**{**numbers, **whole, "norms": norms})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [m.name for m in EPOCH_METRICS if m.figure])
def test_a_figure_of_one_record_is_that_of_the_columns(name: str) -> None:
    figure = EPOCH[name].figure
    assert figure is not None
    records = [filled(1), filled(2, count=1), record(0.9, epoch=3), record(0.9, epoch=4, seconds=0)]
    if isinstance(figure, NoiseRatio):  # looks back at earlier epochs, on purpose
        records = records[:1]
    alone = [figure(each) for each in records]
    together = figure.values(Records(records))
    known = [np.nan if value is None else value for value in alone]
    assert together == pytest.approx(known, nan_ok=True)


def test_a_claim_says_where_its_measure_is_read() -> None:
    claim = Claim(statement="s", measure="sharpness", at_share=0.5, epsilon=1e-3)
    assert spot_of(claim) == Spot(at_share=0.5, epsilon=1e-3)
    assert spot_of(claim, 8.0).level == 8.0
    assert spot_of(Claim(statement="s", measure="steps")) == OWN
    assert set(registry.places()) <= set(Spot._fields)


def test_an_epoch_metric_without_an_end_is_no_trial_metric() -> None:
    for metric in (
        EpochMetric(name="a", unit="L2", definition="d", figure=Field("lr")),
        EpochMetric(name="a", unit="L2", definition="d", at_end=AtEnd(definition="d")),
    ):
        with pytest.raises(ValueError, match="a has no"):
            last_value(metric)


# ---- a new entry

NEW = """
import json, sys
sys.path.insert(0, "docs")
from batchscope.engine.metrics import epoch_registry
from batchscope.engine.metrics.epoch_registry import CURVE_ORDER, EPOCH_METRICS
from batchscope.engine.metrics.epoch_metrics import Field
from batchscope.engine.metrics.metric import (
    AtEnd, Bar, Curve, EpochMetric, Place, Plot, Rounding, TrialMetric,
)

plot = Plot(name="new", title="New", axis="L2", caption="What is new.")
epoch_registry.EPOCH_METRICS += (
    EpochMetric(
        name="new", unit="L2", title="new norm", tab="new", definition="what is new",
        better="lower", rounding=Rounding.FLOAT32, figure=Field("weight_norm"), curve=Curve(),
        at_end=AtEnd(definition="what is new at the end", summary=True, bar=Bar(), plot=plot),
    ),
)
from batchscope.engine.metrics import trial_registry

layer = Place(
    key="layer", measures="measures of layers", setting="layers",
    offered=lambda settings: ("first", "last"), required=True,
)
trial_registry.NAMED_METRICS += (
    TrialMetric(
        name="layer_new", unit="L2", definition="new in a layer", column=False, places=(layer,),
        value_at=lambda state, trial, spot: {"first": 1.0, "last": 2.0}.get(spot.layer),
    ),
)
import make_export

from batchscope.engine.analysis import tables
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.claims import _check_places
from batchscope.engine.export.tensorboard import SCALARS
from batchscope.engine.findings.configuration_summary import bars, figures
from batchscope.engine.metrics import registry
from batchscope.engine.metrics.metric import Spot
from batchscope.engine.metrics.rounding_variance import rounding_variance
from batchscope.tui.panes.bars.pane import MEASURED
from batchscope.tui.viewmodel.quantities import QUANTITIES
from tests.unit.engine.findings_fixtures import configuration, sweep

state = sweep([(configuration(8), [0.9, 0.9])])
trial = state.trials["b8-s0"]
configurations = list(state.configurations.values())


def refused(**claim):
    try:
        _check_places(claim, configurations, "x")
    except UsageProblem as problem:
        return str(problem)


print(json.dumps({
    "epochs.csv": tables.to_csv(tables.EPOCH_COLUMNS, tables.epoch_rows(state)).splitlines()[:2],
    "trials.csv": tables.to_csv(registry.TRIAL_COLUMNS, tables.trial_rows(state)).splitlines()[:2],
    "dictionary": ["\\n".join(make_export.TABLES[name]()) for name in make_export.TABLES],
    "tag": SCALARS["new"],
    "curve": [QUANTITIES[-1].name, QUANTITIES[-1].test(trial.last)],
    "bar": ["new" in MEASURED, bars(state, "new")["b8"].mean],
    "plot": registry.PLOTS[-1].plot.title,
    "measure": ["new" in registry.MEASURES, rounding_variance(state, trial, "new", 1.0)],
    "summary": list(figures(state)[0].figures)[-1],
    "layer": registry.value_of(state, trial, "layer_new", Spot(layer="last")),
    "claims": [
        refused(measure="layer_new", layer="last"),
        refused(measure="layer_new", layer="middle"),
        refused(measure="layer_new"),
        refused(measure="new", layer="last"),
    ],
}))
"""


def test_a_new_entry_is_seen_everywhere() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NEW],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, contract in (("epochs.csv", EPOCH_HEADER), ("trials.csv", TRIAL_HEADER)):
        header, first = found[name]
        assert header.startswith(contract)
        assert header.endswith(",new")
        assert first.endswith(",3.0")
    trials, epochs, measures, figures, plots = found["dictionary"]
    assert trials.endswith("\n| `new` | L2 | what is new at the end |")
    assert epochs.endswith("\n| `new` | L2 | what is new |")
    assert "\n| `layer_new` | L2 | new in a layer |\n" in measures
    assert figures.endswith("\n| `new` (optional) | L2 | as in `trials.csv` |")
    assert plots.endswith("\n| `new` | `new` |")
    assert found["tag"] == "new"
    assert found["curve"] == ["new norm", 3.0]
    assert found["bar"] == [True, 3.0]
    assert found["plot"] == "New"
    assert found["measure"] == [True, pytest.approx(1e-12)]
    assert found["summary"] == "new"
    assert found["layer"] == 2.0
    known, unknown, missing, foreign = found["claims"]
    assert known is None
    assert unknown.startswith("x.layer:")
    assert missing.startswith("x.layer: required")
    assert foreign.startswith("x.layer: belongs to measures of layers")
