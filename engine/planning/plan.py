"""The numeric plan: everything besides settings and seed that affects rounding.

Trials that are computed together form a *group*. Its plan is fixed before the first step, recorded,
and reused by resume, retry and a run of the exported `sweep.toml`. So scheduling decides where and
when a trial runs, but not its arithmetic. The plan also has the division of a batch among the
workers of a data-parallel training.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from batchscope.engine.networks.architectures import channels_of, has_batch_norm, images_together
from batchscope.engine.planning.stacking import largest_stack
from batchscope.engine.schedule.course import Course, changing
from batchscope.engine.spec import Precision, Settings, Trial
from batchscope.engine.table import PositiveInt


def shares(count: int, workers: int) -> tuple[int, ...]:
    """Divide `count` images among workers; shares differ by at most one, larger ones come first.

    If there are fewer images than workers, the last workers get none.
    """
    each, more = divmod(count, workers)
    return (each + 1,) * more + (each,) * (workers - more)


def largest_share(count: int, workers: int) -> int:
    """Return the images of the first worker, which has the most."""
    return -(-count // workers)


def share_of(count: int, workers: int, rank: int) -> slice:
    """Return the slice of a batch that the worker with this rank gets."""
    sizes = shares(count, workers)
    start = sum(sizes[:rank])
    return slice(start, start + sizes[rank])


EVALUATION_BATCH_SIZE = 1000
DRAW_MICRO_BATCH_SIZE = 256
LEAST_SECONDS, MOST_SHARE = 1.0, 0.03
"""Limits for the time to measure a plan: seconds, and share of the trial's duration."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The numeric plan of one group.

    Attributes:
        group: name of the group.
        members: ids of its trials.
        batch_size: samples of an optimizer step: the batch size of `[train]`, or the whole training
            set if that is smaller.
        largest_batch_size: largest batch that occurs, if it is not `batch_size`: where the batch
            size changes during training, or a single image joins the last batch of an epoch.
        micro_batch_size: samples of a micro-batch; the last one of a batch may be smaller.
        accumulation_steps: micro-batches of one worker's share of the largest batch; a smaller
            batch has fewer.
        evaluation_batch_size: samples of a batch in evaluation.
        draw_micro_batch_size: micro-batch size for the batches that a probe draws, unless that of
            the training is larger.
        threads: CPU threads of each worker.
        layout: memory layout of the images.
        precision: precision of the forward and backward pass.
        reason: why this micro-batch size was chosen.
        data_parallel: number of workers among which a batch is divided.
    """

    group: str
    members: tuple[str, ...]
    batch_size: PositiveInt
    largest_batch_size: PositiveInt | None = None
    micro_batch_size: PositiveInt
    accumulation_steps: PositiveInt
    evaluation_batch_size: PositiveInt
    draw_micro_batch_size: PositiveInt = DRAW_MICRO_BATCH_SIZE
    threads: PositiveInt
    layout: Literal["contiguous", "channels-last"] = "contiguous"
    precision: Precision = "fp32"
    reason: str = ""
    data_parallel: PositiveInt = 1

    @property
    def largest(self) -> int:
        """Return the samples of the largest batch that occurs."""
        return self.largest_batch_size or self.batch_size

    @property
    def share(self) -> int:
        """Return the most samples of a batch that one worker gets."""
        return largest_share(self.largest, self.data_parallel)


def make_plan(trial: Trial, train_size: int, threads: int, on_gpu: bool = False) -> Plan:
    """Return the plan of a single trial: the whole batch at once, or the preset's micro-batches.

    Convolutions use channels-last on a CPU, where this was never slower in measurements.
    """
    batch_size = min(trial.batch_size, train_size)
    asked = trial.settings.memory.micro_batch_size
    largest = largest_batch(trial.settings, train_size)
    workers = trial.settings.run.data_parallel
    share = largest_share(largest, workers)
    micro = share if asked == "auto" else min(asked, share)
    convolves = bool(channels_of(trial.settings.model))
    return Plan(
        group=trial.id,
        members=(trial.id,),
        batch_size=batch_size,
        largest_batch_size=largest if largest != batch_size else None,
        micro_batch_size=micro,
        accumulation_steps=-(-share // micro),
        evaluation_batch_size=EVALUATION_BATCH_SIZE,
        threads=threads,
        layout="channels-last" if convolves and not on_gpu else "contiguous",
        precision=trial.settings.train.precision,
        reason=_reason(max(trial.batch_size, largest), largest, workers, micro, asked == "auto"),
        data_parallel=workers,
    )


def of_one_worker(plan: Plan) -> Plan:
    """Return the plan of one worker, in which its share is the whole batch."""
    if plan.data_parallel == 1:
        return plan
    return msgspec.structs.replace(
        plan, batch_size=plan.share, largest_batch_size=None, data_parallel=1
    )


def for_members(plan: Plan, members: Sequence[Trial]) -> Plan:
    """Return the plan for these replicates as one group."""
    names = tuple(trial.id for trial in members)
    group = names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}"
    return msgspec.structs.replace(plan, group=group, members=names)


def reusable(plans: Sequence[Plan], members: Sequence[Trial], train_size: int) -> Plan | None:
    """Return a recorded plan that is valid for these trials as one group, or None."""
    trial, names = members[0], tuple(member.id for member in members)
    if any(member.settings != trial.settings for member in members):
        return None
    if len(members) > largest_stack(trial.settings):
        return None
    largest = largest_batch(trial.settings, train_size)
    workers = trial.settings.run.data_parallel
    wanted = (min(trial.batch_size, train_size), largest, trial.settings.train.precision, workers)
    for plan in plans:
        recorded = (plan.batch_size, plan.largest, plan.precision, plan.data_parallel)
        if plan.members == names and recorded == wanted:
            asked = trial.settings.memory.micro_batch_size
            named = asked == "auto" or plan.micro_batch_size == min(asked, plan.share)
            if named and _keeps_groups(plan, images_together(trial.settings.model)):
                return plan
    return None


def _keeps_groups(plan: Plan, together: int) -> bool:
    """Return whether the plan's micro-batches keep images together that are normalized together."""
    return plan.micro_batch_size >= plan.largest or plan.micro_batch_size % together == 0


def largest_batch(settings: Settings, train_size: int) -> int:
    """Return the samples of the largest batch that occurs."""
    if not changing(settings) and not has_batch_norm(settings.model):
        return min(settings.train.batch_size, train_size)
    return Course(settings, train_size).largest


def most_at_once(settings: Settings, train_size: int) -> int:
    """Return the most samples of a batch that one worker gets."""
    return largest_share(largest_batch(settings, train_size), settings.run.data_parallel)


def alike(settings: Settings, share: int) -> bytes:
    """Return a key that is equal for settings with steps of equal memory and time.

    With batch norm the key depends on all batch sizes, which decide the allowed micro-batch sizes.

    Args:
        settings: the settings.
        share: the most samples of the largest batch that one worker gets.
    """
    train, asked = settings.train, settings.memory.micro_batch_size
    depends: tuple[object, ...] = (
        settings.data,
        settings.model,
        train.optimizer,
        train.precision,
        share,
        asked,
    )
    if not has_batch_norm(settings.model):
        return msgspec.json.encode(depends)
    if changing(settings):
        depends = (*depends, train, settings.schedule, settings.phases)
    elif share > train.batch_size:  # a single image joins the last batch, the others have fewer
        depends = (*depends, train.batch_size)
    return msgspec.json.encode(depends)


def full_batch(asked: int, train_size: int) -> str:
    """Return in words what happens to a batch size larger than the data."""
    return (
        f"batch size {asked:,} exceeds the {train_size:,} training samples: the full batch is used"
    )


def _over_workers(batch_size: int, workers: int) -> str:
    """Return in words how a batch is divided among workers; empty for one worker."""
    if workers == 1:
        return ""
    most = "at most " if batch_size % workers else ""
    share = largest_share(batch_size, workers)
    return f"{batch_size:,} over {workers} workers, {most}{share:,} each"


def of_share(plan: Plan, reason: str) -> str:
    """Return a plan's reason, preceded by the division of the batch among several workers."""
    over = _over_workers(plan.largest, plan.data_parallel)
    if not over or reason.startswith(over):
        return reason
    return f"{over}; {reason.replace('the whole batch at once', 'the whole share at once')}"


def _reason(asked: int, batch_size: int, workers: int, micro: int, automatic: bool) -> str:
    words = [full_batch(asked, batch_size)] if asked > batch_size else []
    share, whole = largest_share(batch_size, workers), "batch" if workers == 1 else "share"
    if workers > 1:
        words.append(_over_workers(batch_size, workers))
    if micro < share:
        count, rest = divmod(share, micro)
        tail = f" + {rest:,}" if rest else ""
        words.append(f"{share:,} = {count:,} × {micro:,}{tail}, as the preset says")
    elif automatic:
        words.append(f"the whole {whole} at once")
    else:
        words.append(f"the preset's micro-batch holds the whole {whole}")
    return "; ".join(words)
