"""What a training states of itself, put together from where it stands."""

from typing import TYPE_CHECKING

import torch

from engine.events import Probed, Progress, TrialStarted
from engine.training.probing import Found

if TYPE_CHECKING:
    from engine.training.loop import Training


def started(training: "Training", resumed: bool) -> TrialStarted:
    """That it begins, at its first step or after those that a checkpoint holds."""
    job, stepper = training.job, training.stepper
    return TrialStarted(
        trial=job.trial.id,
        attempt=job.attempt,
        worker=job.worker,
        device=job.device,
        batch_size=job.plan.batch_size,
        micro_batch_size=job.plan.micro_batch_size,
        total_steps=training.total_steps,
        steps_per_epoch=stepper.per_epoch,
        parameters=training.flat.parameters,
        init_norm=float(torch.linalg.vector_norm(stepper.start_weights)),
        lr=stepper.rates.lr,
        total_samples=stepper.course.total_samples if stepper.course.changes_batch else None,
        resumed_steps=training.at.steps if resumed else None,
        resumed_epochs=len(training.facts.records),
    )


def probed(training: "Training", share: float, found: Found) -> Probed:
    """What was drawn at the moment `share` of its budget."""
    job, at = training.job, training.at
    return Probed(
        trial=job.trial.id,
        attempt=job.attempt,
        at_share=share,
        epoch=at.epoch,
        steps=at.steps,
        samples=at.samples,
        seconds=found.seconds,
        draws=found.draws,
        competitions=found.competitions,
    )


def progress(training: "Training") -> Progress:
    """How far it is by now."""
    job, at, reserved = training.job, training.at, None
    if training.device.type == "cuda":
        reserved = torch.cuda.memory_reserved(training.device)
    return Progress(
        trial=job.trial.id,
        attempt=job.attempt,
        epoch=at.epoch,
        steps=at.steps,
        samples=at.samples,
        seconds=training.clock.total(),
        reserved_bytes=reserved,
    )
