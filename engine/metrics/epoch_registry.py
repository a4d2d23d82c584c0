"""The entries of the epoch metrics, in the order of the columns of `epochs.csv`.

A new entry goes last. Its column, its row in `docs/export.md` (by `docs/make_export.py`) and its
tag in TensorBoard follow from it; so do its curve (`curve=`), and its column of `trials.csv`, its
measure of claims and its bar (`at_end=`).
"""

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.epoch_metrics import (
    Field,
    NoiseRatio,
    NormDeviation,
    NormMean,
    NormSpread,
    Pace,
    Sum,
)
from batchscope.engine.metrics.metric import AtEnd, Bar, Curve, EpochMetric, Plot, Rounding, Value
from batchscope.engine.metrics.noise_scale import Noise, population, sgd_noise_at

AS_IN_TRIALS = "as in `trials.csv`"


def _stacked(_: SweepState, trial: TrialState, record: EpochRecord) -> Value:
    return trial.started.stacked if trial.started else None


def _sgd_noise(state: SweepState, trial: TrialState, record: EpochRecord) -> Value:
    batch_size = record.last_batch_size or trial.batch_size
    return sgd_noise_at(state, trial, record.lr, batch_size)


def _train_noise(state: SweepState, trial: TrialState, record: EpochRecord) -> Noise | None:
    """Return the noise of the training set in an epoch; None where it is not known."""
    size = population(state, trial)
    if size is None or record.noise_trace is None or record.noise_signal is None:
        return None
    return Noise(record.noise_trace, record.noise_signal, record.noise_draws).of_training(size)


def _train_signal(state: SweepState, trial: TrialState, record: EpochRecord) -> Value:
    noise = _train_noise(state, trial, record)
    return noise.signal if noise else None


def _train_scale(state: SweepState, trial: TrialState, record: EpochRecord) -> Value:
    noise = _train_noise(state, trial, record)
    return noise.scale if noise else None


EPOCH_METRICS = (
    EpochMetric(
        name="trial",
        unit="text",
        definition=AS_IN_TRIALS,
        of_trial=lambda _, trial, record: trial.id,
        scalar=False,
    ),
    EpochMetric(
        name="batch_size",
        unit="images",
        definition=AS_IN_TRIALS,
        of_trial=lambda _, trial, record: trial.batch_size,
        scalar=False,
    ),
    EpochMetric(
        name="seed",
        unit="number",
        definition=AS_IN_TRIALS,
        of_trial=lambda _, trial, record: trial.seed,
        scalar=False,
    ),
    EpochMetric(
        name="epoch",
        unit="number",
        definition="number of the epoch, counted from 1",
        figure=Field("epoch"),
    ),
    EpochMetric(
        name="steps",
        unit="count",
        definition="optimizer steps since the beginning of the training",
        figure=Field("steps"),
        scalar=False,
    ),
    EpochMetric(
        name="samples",
        unit="images",
        definition="images that the optimizer has seen since the beginning of the training",
        figure=Field("samples"),
    ),
    EpochMetric(
        name="lr",
        unit="rate",
        title="learning rate",
        tab="rate",
        definition="learning rate of the epoch's last step",
        figure=Field("lr"),
        curve=Curve(),
    ),
    EpochMetric(
        name="train_loss",
        unit="nats",
        title="training loss",
        tab="train loss",
        better="lower",
        definition="mean cross-entropy over a fixed part of the training images: see `trials.csv`",
        figure=Field("train_loss"),
        tag="loss/train",
        at_end=AtEnd(
            definition="mean cross-entropy over a fixed part of the training images that is as "
            "large as the test set, at the end of the last epoch, with the same weights as the "
            "test figures",
        ),
    ),
    EpochMetric(
        name="train_accuracy",
        unit="fraction",
        title="training accuracy",
        tab="train",
        better="higher",
        rounding=Rounding.ACCURACY,
        definition="accuracy on the same part of the training images",
        figure=Field("train_accuracy"),
        tag="accuracy/train",
        at_end=AtEnd(definition="accuracy on the same images, at the end of the last epoch"),
    ),
    EpochMetric(
        name="test_loss",
        unit="nats",
        title="test loss",
        tab="loss",
        better="lower",
        definition="mean cross-entropy over the whole test set",
        figure=Field("test_loss"),
        tag="loss/test",
        curve=Curve(title="loss", twin="train_loss", steep=True),
        at_end=AtEnd(
            definition="mean cross-entropy over the whole test set, at the end of the last epoch"
        ),
    ),
    EpochMetric(
        name="test_accuracy",
        unit="fraction",
        title="test accuracy",
        tab="accuracy",
        better="higher",
        rounding=Rounding.ACCURACY,
        definition="accuracy on the whole test set",
        figure=Field("test_accuracy"),
        tag="accuracy/test",
        curve=Curve(title="accuracy", twin="train_accuracy", steep=True),
        at_end=AtEnd(
            definition="accuracy on the whole test set, at the end of the last epoch",
            summary=True,
            bar=Bar(),
            plot=Plot(
                name="test_accuracy",
                title="Final test accuracy",
                axis="test accuracy, %",
                caption="Accuracy on the test set at the end of the last epoch, mean over the "
                "finished seeds.",
            ),
        ),
    ),
    EpochMetric(
        name="generalization_gap",
        unit="fraction",
        title="generalization gap",
        tab="gap",
        better="lower",
        rounding=Rounding.ACCURACY_GAP,
        definition="`train_accuracy` − `test_accuracy`",
        figure=Sum(train_accuracy=1.0, test_accuracy=-1.0),
        tag="accuracy/gap",
        curve=Curve(),
        at_end=AtEnd(
            definition="`train_accuracy` − `test_accuracy`",
            summary=True,
            bar=Bar(),
            plot=Plot(
                name="generalization_gap",
                title="Generalization gap",
                axis="gap, points",
                caption="Accuracy on the training data minus accuracy on the test set, at the "
                "end of the last epoch, mean over the finished seeds.",
            ),
        ),
    ),
    EpochMetric(
        name="epoch_seconds",
        unit="seconds",
        title="epoch time",
        tab="time",
        better="lower",
        definition="time of training in this epoch, without evaluation; other trials may have used "
        'the machine at the same time unless the preset says `timing = "alone"`',
        figure=Field("seconds"),
    ),
    EpochMetric(
        name="samples_per_second",
        unit="images/s",
        better="higher",
        definition="images trained on in this epoch ÷ `epoch_seconds`",
        figure=Pace(),
    ),
    EpochMetric(
        name="grad_norm_mean",
        unit="L2",
        title="mean gradient norm",
        tab="norm",
        definition="mean over the epoch's steps of the L2 norm of the whole accumulated gradient",
        figure=NormMean(),
        tag="gradient_norm/mean",
        curve=Curve(),
    ),
    EpochMetric(
        name="grad_norm_std",
        unit="L2",
        definition="sample standard deviation (n − 1) of these norms; empty for one step",
        figure=NormDeviation(),
        tag="gradient_norm/std",
    ),
    EpochMetric(
        name="grad_norm_cv",
        unit="ratio",
        title="gradient norm cv",
        tab="norm cv",
        definition="coefficient of variation, `grad_norm_std` ÷ `grad_norm_mean`; it includes the "
        "drift of the norm within the epoch as well as the differences between batches",
        figure=NormSpread(),
        tag="gradient_norm/cv",
        curve=Curve(),
    ),
    EpochMetric(
        name="distance_from_init",
        unit="L2",
        title="distance from init",
        tab="distance",
        rounding=Rounding.FLOAT32,
        definition="L2 distance of the weights from the initial weights",
        figure=Field("distance_from_init"),
        curve=Curve(),
        at_end=AtEnd(
            definition="L2 distance of the last weights from the initial weights",
            summary=True,
            bar=Bar(),
        ),
    ),
    EpochMetric(
        name="weight_norm",
        unit="L2",
        title="weight norm",
        tab="weights",
        rounding=Rounding.FLOAT32,
        definition="L2 norm of the weights",
        figure=Field("weight_norm"),
        curve=Curve(),
        at_end=AtEnd(
            definition="L2 norm of the last weights", column=False, summary=True, bar=Bar()
        ),
    ),
    EpochMetric(
        name="noise_scale",
        unit="images",
        title="gradient noise scale",
        tab="noise",
        definition="`noise_trace` ÷ `noise_signal` of this epoch; empty where `noise_signal` is "
        "not positive. `noise_scale_train` is that of the training set",
        figure=NoiseRatio(),
        curve=Curve(sized=True),
    ),
    EpochMetric(
        name="peak_memory_bytes",
        unit="bytes",
        better="lower",
        definition="as in `trials.csv`, up to the end of the epoch",
        figure=Field("peak_memory_bytes"),
    ),
    EpochMetric(
        name="update_norm_mean",
        unit="L2",
        title="mean update norm",
        tab="update",
        rounding=Rounding.FLOAT32,
        definition="mean over the epoch of the L2 norm of an optimizer's update of the weights; "
        "about every 16th update is measured, more of them in short runs, at least one in each "
        "whole epoch",
        figure=Field("update_norm_mean"),
        curve=Curve(),
    ),
    EpochMetric(
        name="path_length",
        unit="L2",
        rounding=Rounding.FLOAT32,
        definition="as in `trials.csv`, up to the end of the epoch",
        figure=Field("path_length"),
        at_end=AtEnd(
            definition="sum of the L2 norms of all updates so far, estimated from those that were "
            "measured"
        ),
    ),
    EpochMetric(
        name="noise_trace",
        unit="L2²",
        definition="unbiased estimate of tr(Σ), the trace of the covariance of the gradients of "
        "single training images (N − 1 in its denominator, with replacement N): the mean over "
        "`noise_draws` steps of the epoch. Every 128th step is measured, for batches of 256 images "
        "or more every 32nd, from its micro-batches, from the workers' shares of the batch, or "
        "from two parts of it (halves; for 256 images or more a quarter and the rest)",
        figure=Field("noise_trace"),
    ),
    EpochMetric(
        name="noise_signal",
        unit="L2²",
        definition="estimate of |G|² from the same steps: |∇L_train|² − tr(Σ)/N for N training "
        "images, of which a batch holds none twice; with replacement |∇L_train|². See [two noise "
        "scales](#two-noise-scales-of-one-gradient)",
        figure=Field("noise_signal"),
    ),
    EpochMetric(
        name="noise_draws",
        unit="count",
        definition="how many steps of the epoch were measured for both",
        figure=Field("noise_draws"),
        scalar=False,
    ),
    EpochMetric(
        name="last_batch_size",
        unit="images",
        title="batch size",
        tab="batch",
        definition="batch size in force at the epoch's last step, which may have had fewer images "
        "left to take; equal to `batch_size` unless the preset changes it during the training",
        figure=Field("last_batch_size"),
        curve=Curve(),
    ),
    EpochMetric(
        name="validation_loss",
        unit="nats",
        title="validation loss",
        tab="val loss",
        better="lower",
        definition="mean cross-entropy over the images that `data.validation` holds out; empty "
        "without such images",
        figure=Field("validation_loss"),
        tag="loss/validation",
        curve=Curve(steep=True, held_out=True),
        at_end=AtEnd(
            definition="mean cross-entropy over the training images that `data.validation` holds "
            "out, at the end of the last epoch; empty without such images. A fixed seed draws "
            "them, so they are the same in every trial of every sweep with this share"
        ),
    ),
    EpochMetric(
        name="validation_accuracy",
        unit="fraction",
        title="validation accuracy",
        tab="validation",
        better="higher",
        rounding=Rounding.VALIDATION_ACCURACY,
        definition="accuracy on the same images",
        figure=Field("validation_accuracy"),
        tag="accuracy/validation",
        curve=Curve(steep=True, held_out=True),
        at_end=AtEnd(definition="accuracy on the same images, at the end of the last epoch"),
    ),
    EpochMetric(
        name="stacked",
        unit="count",
        definition=AS_IN_TRIALS,
        of_trial=_stacked,
        scalar=False,
    ),
    EpochMetric(
        name="warm_up_seconds",
        unit="seconds",
        definition="time in this epoch of a first step that was undone, or of recording a CUDA "
        "graph; no other time includes it",
        figure=Field("warm_up_seconds"),
    ),
    EpochMetric(
        name="sgd_noise_scale",
        unit="rate",
        definition="as in `trials.csv`, at the learning rate and the batch size of the epoch's "
        "last step",
        of_trial=_sgd_noise,
    ),
    EpochMetric(
        name="gradient_cosine",
        unit="ratio",
        title="cosine of successive gradients",
        tab="cosine",
        rounding=Rounding.FLOAT32,
        definition="mean cosine between the gradients of two successive steps, over pairs of steps "
        "of the epoch; near 1 ÷ (1 + φ/B) for a `noise_scale` φ and a batch size B, and measured "
        "with batch norm too",
        figure=Field("gradient_cosine"),
        tag="gradient/cosine",
        curve=Curve(),
        at_end=AtEnd(
            definition="mean cosine between the gradients of two successive steps, over pairs of "
            "steps of the last epoch",
            column=False,
            bar=Bar(),
        ),
    ),
    EpochMetric(
        name="noise_signal_train",
        unit="L2²",
        definition="estimate of |∇L_train|², the squared length of the gradient of the loss on all "
        "N training images: `noise_signal` + `noise_trace` ÷ N; with replacement equal to "
        "`noise_signal`",
        of_trial=_train_signal,
    ),
    EpochMetric(
        name="noise_scale_train",
        unit="images",
        definition="`noise_trace` ÷ `noise_signal_train` of this epoch, the noise scale of the "
        "training set; empty where `noise_signal_train` is not positive",
        of_trial=_train_scale,
    ),
)
"""All epoch metrics."""
CURVE_ORDER = (
    "test_accuracy", "test_loss", "generalization_gap", "distance_from_init", "weight_norm",
    "grad_norm_mean", "grad_norm_cv", "noise_scale", "update_norm_mean", "lr", "last_batch_size",
    "validation_accuracy", "validation_loss",
)  # fmt: skip
"""The order in which keys step through the curves; curves that are not named follow."""
