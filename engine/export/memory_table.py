"""The table of micro-batch sizes: those measured before the first step, and the chosen one."""

from collections.abc import Iterator

from batchscope.engine.analysis.figures import pace_of
from batchscope.engine.analysis.stack_times import stacked, timed_trials
from batchscope.engine.analysis.tables import Row
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.micro_batch import fits
from batchscope.engine.planning.plan import alike

MEMORY_COLUMNS = (
    "device", "model", "batch_size", "micro_batch_size", "peak_memory_bytes",
    "samples_per_second", "fits", "chosen", "reason", "trial", "limit_bytes", "precision",
    "stacked",
)  # fmt: skip


def memory_rows(state: SweepState) -> Iterator[Row]:
    """Yield a row for each micro-batch size that was measured, then for those that were given.

    They are in the order of the trials, since it is chance which worker measures first.
    """
    order = {name: index for index, name in enumerate(state.trials)}
    for measured in sorted(state.measured, key=lambda each: (order[each.trial], each.device)):
        trial, plan = state.trials[measured.trial], state.plans.get(measured.trial)
        for shape in measured.shapes:
            chosen = plan is not None and plan.micro_batch_size == shape.micro_batch_size
            yield {
                "device": measured.device,
                "model": trial.settings.model.name,
                "batch_size": measured.batch_size,
                "micro_batch_size": shape.micro_batch_size,
                "peak_memory_bytes": shape.peak_bytes or None,
                "samples_per_second": shape.samples_per_second or None,
                "fits": fits(shape, measured.limit_bytes),
                "chosen": chosen,
                "reason": plan.reason if chosen and plan else shape.failed,
                "trial": measured.trial,
                "limit_bytes": measured.limit_bytes,
                "precision": trial.settings.train.precision,
            }
    yield from _given(state)


def _given(state: SweepState) -> Iterator[Row]:
    """Yield a row for each configuration with a micro-batch size that was not measured before.

    Memory and speed are those of its training.
    """
    measured = {
        alike(state.trials[each.trial].settings, each.batch_size) for each in state.measured
    }
    for configuration in state.configurations.values():
        settings = configuration.settings
        trials = [
            t for t in state.replicates(configuration.id) if t.started and t.id in state.plans
        ]
        if not trials:
            continue
        automatic = settings.memory.micro_batch_size == "auto"
        if automatic and alike(settings, state.plans[trials[0].id].share) in measured:
            continue
        plan = state.plans[trials[0].id]
        peaks = [int(peak) for peak in trials[0].records.known("peak_memory_bytes")]
        yield {
            "device": trials[0].device,
            "model": settings.model.name,
            "batch_size": plan.share,
            "micro_batch_size": plan.micro_batch_size,
            "peak_memory_bytes": max(peaks, default=None),
            "samples_per_second": pace_of(state, configuration.id)[1],
            "fits": True,
            "chosen": True,
            "reason": plan.reason,
            "trial": trials[0].id,
            "precision": plan.precision,
            "stacked": stacked(timed_trials(trials)),
        }
