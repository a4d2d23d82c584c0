"""The numeric plan: everything beside the settings and the seed that moves the rounding.

Trials that are computed together form a *group*. Its plan is fixed before the first step,
written down, and reused by resume, retry and a re-run of the exported `sweep.toml`, so that
scheduling decides where and when a trial runs but never its arithmetic.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from engine.spec import PositiveInt, Precision, Settings, Trial

EVALUATION_BATCH_SIZE = 1000
DRAW_MICRO_BATCH_SIZE = 256
LEAST_SECONDS, MOST_SHARE = 1.0, 0.03  # what measuring a plan may take, and of the trial


class Plan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The numeric plan of one group.

    `batch_size` is the number of samples an optimizer step sees: the one asked for, or the
    whole training set where that is smaller. `accumulation_steps` micro-batches of
    `micro_batch_size` samples (the last may be smaller) make one step. A probe takes the batches
    that it draws in micro-batches of `draw_micro_batch_size`, or of the training's if larger.
    """

    group: str
    members: tuple[str, ...]
    batch_size: PositiveInt
    micro_batch_size: PositiveInt
    accumulation_steps: PositiveInt
    evaluation_batch_size: PositiveInt
    draw_micro_batch_size: PositiveInt = DRAW_MICRO_BATCH_SIZE
    threads: PositiveInt
    layout: Literal["contiguous"] = "contiguous"
    precision: Precision = "fp32"
    reason: str = ""


def make_plan(trial: Trial, train_size: int, threads: int) -> Plan:
    """The plan of a trial on its own: the whole batch at once unless the preset names a cut."""
    batch_size = min(trial.batch_size, train_size)
    asked = trial.settings.memory.micro_batch_size
    micro = batch_size if asked == "auto" else min(asked, batch_size)
    return Plan(
        group=trial.id,
        members=(trial.id,),
        batch_size=batch_size,
        micro_batch_size=micro,
        accumulation_steps=-(-batch_size // micro),
        evaluation_batch_size=EVALUATION_BATCH_SIZE,
        threads=threads,
        precision=trial.settings.train.precision,
        reason=_reason(trial.batch_size, batch_size, micro, asked == "auto"),
    )


def reusable(plans: Sequence[Plan], trial: Trial, train_size: int) -> Plan | None:
    """A recorded plan that still describes this trial on these data, if there is one."""
    wanted = (min(trial.batch_size, train_size), trial.settings.train.precision)
    for plan in plans:
        if plan.members == (trial.id,) and (plan.batch_size, plan.precision) == wanted:
            asked = trial.settings.memory.micro_batch_size
            if asked == "auto" or plan.micro_batch_size == min(asked, plan.batch_size):
                return plan
    return None


def alike(settings: Settings, batch_size: int) -> bytes:
    """What memory and pace of a step depend on, on one device: equal where they are."""
    train, asked = settings.train, settings.memory.micro_batch_size
    depends = (
        *(settings.data, settings.model, train.optimizer, train.precision),
        *(batch_size, asked),
    )
    return msgspec.json.encode(depends)


def full_batch(asked: int, train_size: int) -> str:
    """What becomes of a batch size larger than the data."""
    return f"{asked:,} exceeds the {train_size:,} training images: the full batch"


def _reason(asked: int, batch_size: int, micro: int, automatic: bool) -> str:
    words = [full_batch(asked, batch_size)] if asked > batch_size else []
    if micro < batch_size:
        count, rest = divmod(batch_size, micro)
        tail = f" + {rest:,}" if rest else ""
        words.append(f"{batch_size:,} = {count:,} × {micro:,}{tail}, as the preset says")
    elif automatic:
        words.append("the whole batch at once")
    else:
        words.append("the preset's micro-batch holds the whole batch")
    return "; ".join(words)
