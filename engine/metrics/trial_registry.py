"""The entries of the trial metrics: the columns of `trials.csv` in their order, then measures.

A text in place of an entry is the name of an epoch metric: its last value is the trial metric, as
its `at_end` says. Epoch metrics with an `at_end` that are not named here come last, so a new one
needs no line here. A new trial metric goes at the end of its tuple.
"""

from collections.abc import Iterable, Iterator

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.bias_variance import part
from batchscope.engine.metrics.collapse import collapsed
from batchscope.engine.metrics.distances import (
    distance_at_equal_samples,
    distance_log_r2,
    distance_log_slope,
    distance_power,
    path_per_sample,
    update_norm_mean,
)
from batchscope.engine.metrics.epoch_registry import EPOCH_METRICS
from batchscope.engine.metrics.gradient_norms import (
    grad_norm_cv,
    grad_norm_cv_early,
    grad_norm_cv_late,
    grad_norm_mean,
    grad_norm_mean_early,
    grad_norm_mean_late,
)
from batchscope.engine.metrics.metric import (
    Bar,
    Place,
    Plot,
    Rounding,
    Spot,
    TrialMetric,
    Value,
    last_value,
)
from batchscope.engine.metrics.noise_parts import (
    noise_growth_parts,
    noise_parts,
    train_noise_parts,
)
from batchscope.engine.metrics.noise_scale import (
    noise_of_sgd,
    noise_of_training,
    noise_over,
    noise_scale_growth,
)
from batchscope.engine.metrics.pace import (
    epoch_seconds,
    samples_per_second,
    step_seconds,
    training_seconds,
)
from batchscope.engine.metrics.reached_rate import lr_reached
from batchscope.engine.metrics.target_reached import Reached, reached
from batchscope.engine.planning.batch_norm import normalized_over

TO_TARGET = tuple(f"{name}_to_target" for name in Reached._fields)
"""Metrics that a finished trial has only if it reached its target."""
BOX = Place(
    key="epsilon",
    measures="sharpness",
    setting="sharpness.epsilon",
    offered=lambda settings: settings.sharpness.epsilon,
)


def _planned(name: str, state: SweepState, trial: TrialState) -> Value:
    """Return a field of the trial's plan; None without a plan."""
    plan = state.plans.get(trial.id)
    value: Value = getattr(plan, name) if plan else None
    return value


def _batch_size(state: SweepState, trial: TrialState) -> Value:
    plan = state.plans.get(trial.id)
    return plan.batch_size if plan else trial.batch_size


def _workers(state: SweepState, trial: TrialState) -> Value:
    plan = state.plans.get(trial.id)
    return plan.data_parallel if plan else trial.settings.run.data_parallel


def _batch_norm_size(state: SweepState, trial: TrialState) -> Value:
    plan = state.plans.get(trial.id)
    return normalized_over(trial.settings, plan) if plan else None


def _highest(trial: TrialState, name: str) -> float | None:
    from batchscope.engine.metrics.epoch_arrays import highest

    return highest(trial.records, name)


def _train_signal(state: SweepState, trial: TrialState) -> Value:
    noise = noise_of_training(state, trial)
    return noise.signal if noise else None


def _train_scale(state: SweepState, trial: TrialState) -> Value:
    noise = noise_of_training(state, trial)
    return noise.scale if noise else None


def _peak(_: SweepState, trial: TrialState) -> Value:
    peak = _highest(trial, "peak_memory_bytes")
    return None if peak is None else int(peak)


def _to_target(trial: TrialState, name: str) -> Value:
    totals = reached(trial)
    value: Value = getattr(totals, name) if totals else None
    return value


def _own_optimizer(state: SweepState, trial: TrialState) -> Value:
    ready = state.data.get(trial.settings.data.name)
    return ready.task.own_optimizer if ready and ready.task else None


def _accepted_code(_: SweepState, trial: TrialState) -> Value:
    return trial.accepted_code if trial.settings.task and trial.started else None


def _sharpness(_: SweepState, trial: TrialState, spot: Spot) -> Value:
    measured = trial.sharpness_at(spot.epsilon)
    return measured.sharpness if measured else None


_COLUMNS: tuple[TrialMetric | str, ...] = (
    TrialMetric(
        name="trial",
        unit="text",
        definition="name of the trial: its configuration and its seed",
        value=lambda _, trial: trial.id,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="status",
        unit="text",
        definition="`queued`, `running`, `finished`, `diverged`, `failed`, `skipped` or `stopped`; "
        "a trial is skipped if you ask for that, or if the data make it equal to another trial",
        value=lambda _, trial: trial.status,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="batch_size",
        unit="images",
        definition="images in the batch of an optimizer step; the whole training set where that is "
        "smaller than the setting. The last batch of an epoch may be smaller. Where the batch size "
        "changes during the training, the one of `[train]`",
        value=_batch_size,
        before_epochs=True,
    ),
    TrialMetric(
        name="micro_batch_size",
        unit="images",
        definition="images in memory at once",
        value=lambda state, trial: _planned("micro_batch_size", state, trial),
        before_epochs=True,
    ),
    TrialMetric(
        name="accumulation_steps",
        unit="count",
        definition="batch size ÷ micro-batch size, rounded up; of the largest batch where the size "
        "changes during the training",
        value=lambda state, trial: _planned("accumulation_steps", state, trial),
        before_epochs=True,
    ),
    TrialMetric(
        name="seed",
        unit="number",
        definition="decides the initial weights and the order of the images; both are the same for "
        "every batch size",
        value=lambda _, trial: trial.seed,
        before_epochs=True,
    ),
    TrialMetric(
        name="dataset",
        unit="text",
        definition="name of the data set, as in the preset",
        value=lambda _, trial: trial.settings.data.name,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="model",
        unit="text",
        definition="name of the network, as in the preset",
        value=lambda _, trial: trial.settings.model.name,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="optimizer",
        unit="text",
        definition="name of the optimizer, as in the preset",
        value=lambda _, trial: trial.settings.train.optimizer,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="lr",
        unit="rate",
        title="learning rate",
        tab="rate",
        definition="learning rate after scaling, before warmup, schedule and phases",
        value=lambda _, trial: trial.started.lr if trial.started else None,
        before_epochs=True,
    ),
    TrialMetric(
        name="scaling_rule",
        unit="text",
        definition="how the learning rate follows the batch size: `none`, `linear`, `sqrt` or "
        "`adam-sqrt`",
        value=lambda _, trial: trial.settings.scaling.rule,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="epochs",
        unit="count",
        rounding=Rounding.TARGET_EPOCHS,
        definition="epochs that have ended (the budget may cut the last one short)",
        value=lambda _, trial: trial.last.epoch if trial.last else 0,
        before_epochs=True,
    ),
    TrialMetric(
        name="steps",
        unit="count",
        rounding=Rounding.TARGET_STEPS,
        definition="optimizer steps in total",
        value=lambda _, trial: trial.last.steps if trial.last else 0,
        before_epochs=True,
    ),
    TrialMetric(
        name="samples",
        unit="images",
        rounding=Rounding.TARGET_SAMPLES,
        definition="images that the optimizer has seen in total, repetitions included",
        value=lambda _, trial: trial.last.samples if trial.last else 0,
        before_epochs=True,
    ),
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    TrialMetric(
        name="best_test_accuracy",
        unit="fraction",
        better="higher",
        rounding=Rounding.ACCURACY,
        definition="the highest test accuracy at the end of any epoch",
        value=lambda _, trial: _highest(trial, "test_accuracy"),
    ),
    "generalization_gap",
    TrialMetric(
        name="epoch_seconds",
        unit="seconds",
        title="epoch time",
        tab="time",
        better="lower",
        definition="median time of training over the whole epochs, without evaluation; the first "
        "epoch is left out if there are others",
        value=epoch_seconds,
        stack="time",
        summary=True,
        bar=Bar(),
        plot=Plot(
            name="epoch_time",
            title="Time of an epoch",
            axis="seconds",
            caption="Median time of training an epoch, without evaluation, mean over the finished "
            "seeds.",
        ),
    ),
    TrialMetric(
        name="samples_per_second",
        unit="images/s",
        better="higher",
        definition="median images a second over the same epochs",
        value=samples_per_second,
        stack="time",
        summary=True,
        plot=Plot(
            name="samples_per_second",
            title="Pace",
            axis="samples per second",
            caption="Samples trained on in a second, median over the epochs, mean over the "
            "finished seeds.",
        ),
    ),
    TrialMetric(
        name="peak_memory_bytes",
        unit="bytes",
        better="lower",
        definition="the most bytes of live tensors at once, data and evaluation included. On a GPU "
        "as torch's allocator counts them; on a CPU in the first step and the first evaluation, "
        "without the temporary memory inside an operator. For a stack it is that of all its "
        "members: see `stacked`",
        value=_peak,
        stack="peak",
    ),
    TrialMetric(
        name="init_norm",
        unit="L2",
        rounding=Rounding.FLOAT32,
        definition="L2 norm of the initial weights",
        value=lambda _, trial: trial.started.init_norm if trial.started else None,
    ),
    "distance_from_init",
    TrialMetric(
        name="noise_scale",
        unit="images",
        title="gradient noise scale",
        tab="noise",
        definition="gradient noise scale tr(Σ)/|G|² in images (McCandlish et al. 2018), over the "
        "whole run: the means of `noise_trace` and `noise_signal` over all measurements, divided "
        "last. Empty where it is undetermined (the estimate of |G|² is not positive) or cannot be "
        "measured (a batch of one image, batch norm). Without replacement it diverges as the noise "
        "scale of the training set, `noise_scale_train`, nears N, the number of training images",
        value=lambda _, trial: noise_over([trial]).scale,
        parts=lambda _, trial: noise_parts(trial),
        bar=Bar(),
    ),
    TrialMetric(
        name="configuration",
        unit="text",
        definition="id of the configuration, which the trials share that differ only in the seed",
        value=lambda _, trial: trial.configuration,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="label",
        unit="text",
        definition="the configuration in words",
        value=lambda state, trial: state.configurations[trial.configuration].label,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="attempt",
        unit="count",
        definition="how often the trial was started; its figures are those of the last attempt",
        value=lambda _, trial: trial.attempt,
        before_epochs=True,
    ),
    TrialMetric(
        name="reason",
        unit="text",
        definition="why it ended as it did, where there is something to say",
        value=lambda _, trial: trial.reason,
        text=True,
        before_epochs=True,
    ),
    "path_length",
    TrialMetric(
        name="memory_cuts",
        unit="count",
        definition="how often memory ran out during the training, which then continued with a "
        "smaller micro-batch",
        value=lambda _, trial: sum(not cut.grew for cut in trial.cuts),
        before_epochs=True,
    ),
    TrialMetric(
        name="precision",
        unit="text",
        definition="`fp32`, or `bf16`: forward and backward passes cast to bfloat16 where torch "
        "considers that safe, everything else in float32",
        value=lambda _, trial: trial.settings.train.precision,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="batch_norm_size",
        unit="images",
        definition="images that batch norm normalizes over at once: `model.ghost_batch_size`, else "
        "the micro-batch size. Where the latter is less than the batch size, gradient accumulation "
        "is not exact. Empty without batch norm",
        value=_batch_norm_size,
        before_epochs=True,
    ),
    TrialMetric(
        name="noise_draws",
        unit="count",
        definition="how many steps were measured for `noise_scale`",
        value=lambda _, trial: noise_over([trial]).draws,
    ),
    "validation_loss",
    "validation_accuracy",
    TrialMetric(
        name="steps_to_target",
        unit="count",
        better="lower",
        rounding=Rounding.TARGET_STEPS,
        definition="optimizer steps that a finished trial took until it reached "
        "`train.target_accuracy` or `train.target_loss`, up to the check that found this. Empty "
        "without a target, or if it was not reached",
        value=lambda _, trial: _to_target(trial, "steps"),
    ),
    TrialMetric(
        name="samples_to_target",
        unit="images",
        better="lower",
        rounding=Rounding.TARGET_SAMPLES,
        definition="images that the optimizer saw until then",
        value=lambda _, trial: _to_target(trial, "samples"),
    ),
    TrialMetric(
        name="seconds_to_target",
        unit="seconds",
        better="lower",
        definition="time of training until then, without evaluation",
        value=lambda _, trial: _to_target(trial, "seconds"),
        stack="time",
    ),
    TrialMetric(
        name="selected",
        unit="boolean",
        definition="whether the trial belongs to the candidate that `[select]` chose, or to the "
        "fresh seeds with which that one is trained again (`select.seeds_after`); empty without "
        "rivals, or while none is chosen",
        text=True,  # compares configurations: `engine.analysis.tables` fills it in
    ),
    TrialMetric(
        name="stacked",
        unit="count",
        definition="replicates that trained as one stack, this one included; 1 where it trained "
        "alone, empty where it never began. All times of the trial (`epoch_seconds`, "
        "`seconds_to_target`, those in `epochs.csv`) are then the seconds that all members of the "
        "stack took together, and `samples_per_second` is the pace of one of them. "
        "`peak_memory_bytes` includes the weights, gradients and images of all members. Compare "
        "times and peaks only between equal values of `stacked`, and count each stack once: its "
        "members share one measurement",
        value=lambda _, trial: trial.started.stacked if trial.started else None,
        before_epochs=True,
    ),
    TrialMetric(
        name="sgd_noise_scale",
        unit="rate",
        title="SGD noise scale",
        tab="SGD noise",
        definition="noise scale of SGD, g = ε (N/B − 1) ÷ (1 − m) (Smith and Le 2017, "
        "arXiv:1710.06451; with momentum Smith et al. 2017, arXiv:1711.00489, who write N/B for "
        "it), from the learning rate ε of `lr`, `batch_size` B, N training images, and the "
        "momentum m of `momentum` and `nesterov`. Where the loss is summed over a batch, ε is "
        "`lr` · B; where images are drawn with replacement, the −1 is left out. Empty for `adam`, "
        "`adamw`, `adagrad` and `rmsprop`, for which it is not defined. Not to be confused with "
        "`noise_scale`, which is measured from the gradients, in images; this one follows from the "
        "settings and has the unit of the learning rate",
        value=noise_of_sgd,
        before_epochs=True,
        bar=Bar(setting=True),
    ),
    TrialMetric(
        name="sharpness",
        unit="percent",
        title="sharpness",
        tab="sharpness",
        better="lower",
        rounding=Rounding.FLOAT32,
        definition="as in `sharpness.csv`, in the first box that `sharpness.epsilon` names; empty "
        "where it is not measured or not known",
        value_at=_sharpness,
        places=(BOX,),
        summary=True,
        bar=Bar(asked=lambda settings: bool(settings.sharpness.epsilon)),
    ),
    TrialMetric(
        name="data_parallel",
        unit="count",
        definition="workers among which every batch is divided (`run.data_parallel`). "
        "`accumulation_steps`, `micro_batch_size` and `peak_memory_bytes` are then those of the "
        "first worker, which has the most images: batch size ÷ workers, rounded up",
        value=_workers,
        before_epochs=True,
    ),
    TrialMetric(
        name="device",
        unit="text",
        definition="where its last attempt trained: `cpu`, `cuda:0` and so on, on a cluster with "
        "the address of the node and the beginning of Ray's name for it; empty where it never "
        "began",
        value=lambda _, trial: trial.device or None,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="lr_reached",
        unit="rate",
        title="highest learning rate",
        tab="reached",
        definition="highest learning rate of any step until the last epoch ended, with warmup, "
        "schedule and phases. Below `lr` where the training ended in its warmup, or the rate was "
        "lowered before the warmup ended",
        value=lr_reached,
    ),
    TrialMetric(
        name="noise_signal_train",
        unit="L2²",
        definition="estimate of |∇L_train|², the squared length of the gradient of the loss on all "
        "N training images, over the whole run: the mean of `noise_signal` + the mean of "
        "`noise_trace` ÷ N over all measurements; with replacement the mean of `noise_signal`",
        value=_train_signal,
    ),
    TrialMetric(
        name="noise_scale_train",
        unit="images",
        title="gradient noise scale of the training set",
        tab="train noise",
        definition="gradient noise scale of the training set, tr(Σ) ÷ |∇L_train|², over the whole "
        "run: the mean of `noise_trace` ÷ `noise_signal_train`, which is 1 ÷ (1/`noise_scale` + "
        "1/N) without replacement. Empty where `noise_signal_train` is not positive, or nothing "
        "was measured",
        value=_train_scale,
        parts=train_noise_parts,
    ),
    TrialMetric(
        name="accepted_code",
        unit="boolean",
        definition="whether the trial, or a part of it, was trained with code of `[task]` that was "
        "changed after the sweep began (`batchscope resume --accept-code`); empty without a task, "
        "or if the trial never began",
        value=_accepted_code,
        text=True,
        before_epochs=True,
    ),
    TrialMetric(
        name="own_optimizer",
        unit="boolean",
        definition="whether the task brings its optimizer, or groups of parameters for one, so "
        "that `optimizer` does not say how it was trained; empty without a task, or if it has not "
        "been run",
        value=_own_optimizer,
        text=True,
        before_epochs=True,
    ),
)
_MEASURES: tuple[TrialMetric | str, ...] = (
    TrialMetric(
        name="step_seconds",
        unit="seconds",
        title="step time",
        tab="step time",
        better="lower",
        column=False,
        definition="`epoch_seconds` ÷ steps of an epoch; where the batch size changes during the "
        "training, `training_seconds` ÷ `steps`",
        value=step_seconds,
        stack="time",
        summary=True,
        bar=Bar(),
    ),
    TrialMetric(
        name="training_seconds",
        unit="seconds",
        better="lower",
        column=False,
        definition="time of training from the first step to the last, without evaluation",
        value=training_seconds,
        stack="time",
        summary=True,
    ),
    TrialMetric(
        name="noise_scale_growth",
        unit="ratio",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="`noise_scale` of the second half of the planned steps ÷ that of the first "
        "half; unknown where one of them is undetermined",
        value=noise_scale_growth,
        parts=lambda _, trial: noise_growth_parts(trial),
    ),
    "weight_norm",
    TrialMetric(
        name="grad_norm_mean",
        unit="L2",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="mean over all steps of the L2 norm of the gradient",
        value=grad_norm_mean,
    ),
    TrialMetric(
        name="grad_norm_mean_early",
        unit="L2",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="`grad_norm_mean` over the first fifth of the planned steps. A slice of norms "
        "counts if its middle lies there",
        value=grad_norm_mean_early,
    ),
    TrialMetric(
        name="grad_norm_mean_late",
        unit="L2",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="`grad_norm_mean` over the last fifth; unknown where a training reached its "
        "target before",
        value=grad_norm_mean_late,
    ),
    TrialMetric(
        name="grad_norm_cv",
        unit="ratio",
        title="gradient norm cv",
        tab="norm cv",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="coefficient of variation of the gradient norms of all steps, standard "
        "deviation (n − 1) ÷ mean: their spread relative to their size",
        value=grad_norm_cv,
        summary=True,
        bar=Bar(),
    ),
    TrialMetric(
        name="grad_norm_cv_early",
        unit="ratio",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="`grad_norm_cv` over the first fifth of the planned steps",
        value=grad_norm_cv_early,
        summary=True,
    ),
    TrialMetric(
        name="grad_norm_cv_late",
        unit="ratio",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="`grad_norm_cv` over the last fifth; unknown where a training reached its "
        "target before",
        value=grad_norm_cv_late,
        summary=True,
    ),
    TrialMetric(
        name="update_norm_mean",
        unit="L2",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="mean L2 norm of one update over the whole run: Σ m s ÷ Σ s, where m is the "
        "mean of an epoch and s its steps",
        value=update_norm_mean,
    ),
    TrialMetric(
        name="path_per_sample",
        unit="L2",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="`path_length` ÷ `samples`: how far the weights move for each image seen",
        value=path_per_sample,
        summary=True,
    ),
    TrialMetric(
        name="distance_at_equal_samples",
        unit="L2",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="L2 distance from the initial weights after as many images as every finished "
        "trial has seen (the smallest of their totals). Between two ends of epochs it is "
        "interpolated linearly, from 0 at the start",
        value=distance_at_equal_samples,
    ),
    TrialMetric(
        name="distance_log_slope",
        unit="L2",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="slope b of the line a + b ln(steps) through the distances at the ends of "
        "epochs, by least squares (Hoffer et al. 2017, arXiv:1705.08741); unknown below three "
        "epochs",
        value=distance_log_slope,
        summary=True,
    ),
    TrialMetric(
        name="distance_log_r2",
        unit="fraction",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="how well that line fits: 1 − Σ (distance − line)² ÷ Σ (distance − mean)²; 1 if "
        "all distances lie on it",
        value=distance_log_r2,
        summary=True,
    ),
    TrialMetric(
        name="distance_power",
        unit="exponent",
        rounding=Rounding.FLOAT32,
        column=False,
        definition="exponent p of distance = c · steps^p: slope of ln(distance) on ln(steps) over "
        "the ends of epochs with a positive distance, by least squares. 1 is a straight walk, 0.5 "
        "diffusion, less is slower; unknown below three such epochs",
        value=distance_power,
        summary=True,
    ),
    *(
        TrialMetric(
            name=name,
            unit="fraction",
            title=name.replace("_", " "),
            tab=name.replace("_", " "),
            better="lower",
            rounding=Rounding.ACCURACY,
            definition="part of the error of the configuration, with a value for each seed: see "
            "`bias_variance.csv`; unknown below four seeds",
            value=part(name),
            column=False,
            summary=summary,
            bar=Bar(measured=lambda trial: trial.predicted is not None) if summary else None,
        )
        for name, summary in (
            ("bias", True),
            ("variance", True),
            ("variance_unbiased", False),
            ("variance_biased", False),
            ("net_variance", True),
        )
    ),
    TrialMetric(
        name="collapsed",
        unit="0 or 1",
        better="lower",
        rounding=Rounding.YES_NO,
        column=False,
        definition="1 if a finished training collapsed, else 0, so that the mean is the share of "
        "collapsed seeds. It collapsed if its final test accuracy is no better than guessing (less "
        "than a twentieth of the way from 1 ÷ classes to 1: below 0.145 for ten classes; a "
        "training too short to learn anything counts too), or if it lost more than half of what it "
        "had learned (less than half of the way from 1 ÷ classes to the test accuracy of its best "
        "epoch)",
        value=lambda _, trial: None if (fell := collapsed(trial)) is None else int(fell),
    ),
)


def _with_last_values(
    entries: Iterable[TrialMetric | str], rest: Iterable[TrialMetric]
) -> Iterator[TrialMetric]:
    """Yield the entries, the last values of epoch metrics in place of their names; then the rest.

    Of the rest, those that are among the entries already are left out.
    """
    every = {metric.name: metric for metric in rest}
    for entry in entries:
        yield every.pop(entry) if isinstance(entry, str) else entry
    yield from every.values()


_LAST = [last_value(metric) for metric in EPOCH_METRICS if metric.at_end]
TABLE_METRICS = tuple(_with_last_values(_COLUMNS, (each for each in _LAST if each.column)))
"""The columns of `trials.csv`."""
NAMED_METRICS = tuple(_with_last_values(_MEASURES, (each for each in _LAST if not each.column)))
"""Measures of claims that are no columns."""
BAR_ORDER = (
    "epoch_seconds", "step_seconds", "test_accuracy", "generalization_gap", "distance_from_init",
    "weight_norm", "grad_norm_cv", "noise_scale", "sgd_noise_scale", "sharpness", "bias",
    "variance", "net_variance",
)  # fmt: skip
"""The order in which keys step through the bars; bars that are not named follow."""
SUMMARY_ORDER = (
    "test_accuracy", "generalization_gap", "distance_from_init", "epoch_seconds", "step_seconds",
    "training_seconds", "grad_norm_cv", "grad_norm_cv_early", "grad_norm_cv_late", "weight_norm",
    "path_per_sample", "distance_log_slope", "distance_log_r2", "distance_power", "bias",
    "variance", "net_variance", "sharpness", "samples_per_second",
)  # fmt: skip
"""The order of the figures of a configuration in `findings.json`; others follow."""
