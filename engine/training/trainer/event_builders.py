"""Builds the events of a training from its present state."""

import math

import torch

from batchscope.engine.journal.events import (
    EpochRecord,
    Predicted,
    Probed,
    Progress,
    SharpnessMeasured,
    TrialStarted,
)
from batchscope.engine.metrics.prediction_codec import pack
from batchscope.engine.training.instruments.prober import ProbeResult
from batchscope.engine.training.instruments.sharpness import SharpnessResult
from batchscope.engine.training.trainer.evaluation import Evaluation
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.state import TrainingState


def started(training: TrainingState, member: Replicate, resumed: bool) -> TrialStarted:
    """Build the event that a replicate starts, at the first step or after a checkpoint."""
    job, stepper = training.job, training.stepper
    return TrialStarted(
        trial=member.trial.id,
        attempt=job.attempt,
        worker=job.worker,
        device=job.device,
        batch_size=job.plan.batch_size,
        micro_batch_size=job.plan.micro_batch_size,
        total_steps=training.total_steps,
        steps_per_epoch=stepper.per_epoch,
        parameters=member.flat.parameters,
        init_norm=float(torch.linalg.vector_norm(stepper.start_weights[member.index])),
        lr=stepper.rates.lr,
        total_samples=stepper.course.total_samples if stepper.course.changes_batch else None,
        resumed_steps=training.at.steps if resumed else None,
        resumed_epochs=len(member.history.records),
        stacked=len(job.plan.members),
        layers=tuple(layer.name for layer in stepper.layers),
        layer_parameters=tuple(layer.parameters for layer in stepper.layers),
    )


def probed(training: TrainingState, member: Replicate, share: float, probe: ProbeResult) -> Probed:
    """Build the event of a probe at `share` of the budget."""
    job, at = training.job, training.at
    return Probed(
        trial=member.trial.id,
        attempt=job.attempt,
        at_share=share,
        epoch=at.epoch,
        steps=at.steps,
        samples=at.samples,
        seconds=probe.seconds,
        draws=probe.draws,
        competitions=probe.competitions,
    )


def predicted(training: TrainingState, member: Replicate) -> Predicted | None:
    """Build the event with the predictions for all test samples; None if there are none."""
    found = training.evaluator.predictions()
    if found is None:
        return None
    missed = found.missed[member.index].numpy()
    return Predicted(
        trial=member.trial.id,
        attempt=training.job.attempt,
        steps=training.at.steps,
        classes=found.classes,
        images=len(missed),
        packed=pack(missed.tobytes()),
        labels=found.labels,
    )


def sharpness(
    training: TrainingState, member: Replicate, epsilon: float, measured: SharpnessResult
) -> SharpnessMeasured:
    """Build the event of a sharpness, measured in the box of half-width `epsilon`."""
    return SharpnessMeasured(
        trial=member.trial.id,
        attempt=training.job.attempt,
        steps=training.at.steps,
        epsilon=epsilon,
        dimensions=measured.dimensions,
        samples=measured.samples,
        loss=measured.maximum.loss,
        highest_loss=measured.maximum.highest,
        sharpness=measured.maximum.sharpness,
        evaluations=measured.maximum.evaluations,
        iterations=measured.maximum.iterations,
        seconds=measured.seconds,
        reason=measured.maximum.reason,
    )


def progress(training: TrainingState, member: Replicate) -> Progress:
    """Build the event with a replicate's present steps, samples and epoch."""
    job, at, reserved = training.job, training.at, None
    if training.device.type == "cuda":
        reserved = torch.cuda.memory_reserved(training.device)
    return Progress(
        trial=member.trial.id,
        attempt=job.attempt,
        epoch=at.epoch,
        steps=at.steps,
        samples=at.samples,
        seconds=training.clock.total(),
        reserved_bytes=reserved,
    )


def epoch(
    training: TrainingState,
    member: Replicate,
    train: Evaluation,
    test: Evaluation,
    held: Evaluation | None,
) -> EpochRecord:
    """Build the record of the epoch that ends now; `held` is the validation result, if any."""
    at, stepper = training.at, training.stepper
    return EpochRecord(
        epoch=at.epoch,
        steps=at.steps,
        samples=at.samples,
        lr=stepper.lr,
        train_loss=finite_or_none(train.loss),
        train_accuracy=train.accuracy,
        test_loss=finite_or_none(test.loss),
        test_accuracy=test.accuracy,
        seconds=training.clock.epoch_seconds,
        warm_up_seconds=training.clock.warm_up_seconds,
        epoch_samples=at.epoch_samples,
        peak_memory_bytes=_peak_memory(training),
        last_batch_size=at.batch_size or stepper.stage.batch_size,
        validation_loss=finite_or_none(held.loss) if held else None,
        validation_accuracy=held.accuracy if held else None,
        highest_lr=stepper.highest_lr,
        metrics=_metrics(train=train, test=test, validation=held),
        empty_batches=stepper.empty_batches,
        **stepper.fields(member.index),
    )


def _metrics(**parts: Evaluation | None) -> dict[str, float]:
    """Return the metrics of a task on each part of its data, without those that are not finite."""
    return {
        f"{part}_{name}": value
        for part, evaluation in parts.items()
        for name, value in (evaluation.metrics if evaluation else {}).items()
        if math.isfinite(value)
    }


def finite_or_none(value: float) -> float | None:
    """Return a number as events hold it: None if it is not finite."""
    return value if math.isfinite(value) else None


def _peak_memory(training: TrainingState) -> int:
    if training.device.type == "cuda":
        return torch.cuda.max_memory_allocated(training.device)
    return training.evaluator.peak_bytes
