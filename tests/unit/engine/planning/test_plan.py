"""The numeric plan of a single trial, and when a recorded plan may be reused."""

import re
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from batchscope.engine.planning.plan import Plan, make_plan, reusable
from batchscope.engine.spec import Data, Memory, Model, Settings, Train, Trial

Micro = int | Literal["auto"]


def trial(batch_size: int, micro: Micro = "auto", name: str = "b-s0") -> Trial:
    return Trial(
        id=name,
        configuration="b",
        seed=0,
        settings=Settings(
            data=Data(name="digits"),
            model=Model(name="mlp"),
            train=Train(batch_size=batch_size, lr=0.1, epochs=1),
            memory=Memory(micro_batch_size=micro),
        ),
    )


@pytest.mark.parametrize(
    ("asked", "micro", "batch_size", "micro_batch_size", "accumulation_steps"),
    [
        (64, "auto", 64, 64, 1),
        (1, "auto", 1, 1, 1),
        (1437, "auto", 1437, 1437, 1),
        (1438, "auto", 1437, 1437, 1),
        (5000, "auto", 1437, 1437, 1),
        (64, 16, 64, 16, 4),
        (64, 1, 64, 1, 64),
        (100, 32, 100, 32, 4),
        (64, 63, 64, 63, 2),
        (64, 64, 64, 64, 1),
        (64, 100, 64, 64, 1),
        (5000, 2000, 1437, 1437, 1),
        (5000, 1000, 1437, 1000, 2),
    ],
)
def test_batch_and_micro_batches(
    asked: int, micro: Micro, batch_size: int, micro_batch_size: int, accumulation_steps: int
) -> None:
    plan = make_plan(trial(asked, micro), train_size=1437, threads=3)
    assert replace(plan, reason="") == Plan(
        group="b-s0",
        members=("b-s0",),
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        accumulation_steps=accumulation_steps,
        evaluation_batch_size=1000,
        threads=3,
        layout="contiguous",
        precision="fp32",
    )


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000) | st.just("auto"), st.integers(1, 2000))
def test_the_micro_batches_add_up_to_the_batch(
    asked: int, micro: int | Literal["auto"], train_size: int
) -> None:
    plan = make_plan(trial(asked, micro), train_size, threads=1)
    held = plan.accumulation_steps * plan.micro_batch_size
    assert 1 <= plan.micro_batch_size <= plan.batch_size <= train_size
    assert held - plan.micro_batch_size < plan.batch_size <= held


@pytest.mark.parametrize(
    ("asked", "micro", "reason"),
    [
        (64, "auto", "the whole batch at once"),
        (64, 16, "64 = 4 × 16, as the preset says"),
        (64, 64, "the preset's micro-batch holds the whole batch"),
        (64, 100, "the preset's micro-batch holds the whole batch"),
        (1437, "auto", "the whole batch at once"),
        (
            5000,
            "auto",
            "batch size 5,000 exceeds the 1,437 training samples: the full batch is used; "
            "the whole batch at once",
        ),
        (
            5000,
            479,
            "batch size 5,000 exceeds the 1,437 training samples: the full batch is used; "
            "1,437 = 3 × 479, as the preset says",
        ),
    ],
)
def test_reason(asked: int, micro: Micro, reason: str) -> None:
    assert make_plan(trial(asked, micro), train_size=1437, threads=1).reason == reason


@pytest.mark.parametrize(("batch_size", "micro"), [(100, 32), (64, 63), (10, 4), (5000, 1000)])
def test_the_reason_for_uneven_micro_batches_has_the_right_sum(batch_size: int, micro: int) -> None:
    plan = make_plan(trial(batch_size, micro), train_size=1437, threads=1)
    plain = plan.reason.replace(",", "")
    whole, count, size, tail = map(int, re.findall(r"\d+", plain.split("; ")[-1])[:4])
    assert (whole, size) == (plan.batch_size, micro)
    assert whole == count * size + tail
    assert re.search(rf"\b{micro}\b", plain)


def test_a_recorded_plan_is_reused_on_any_machine() -> None:
    measured = replace(
        make_plan(trial(64), 1437, threads=1),
        micro_batch_size=16,
        accumulation_steps=4,
        evaluation_batch_size=250,
        threads=7,
        reason="measured elsewhere",
    )
    other = make_plan(trial(64, name="other-s0"), 1437, threads=1)
    assert reusable([other, measured], [trial(64)], 1437) is measured


@pytest.mark.parametrize(
    ("recorded", "asked", "train_size", "fits"),
    [
        (trial(64), trial(64), 1437, True),
        (trial(64), trial(32), 1437, False),
        (trial(64), trial(64, name="other-s0"), 1437, False),
        (trial(64), trial(64), 2000, True),
        (trial(64), trial(64), 50, False),
        (trial(5000), trial(5000), 1437, True),
        (trial(5000), trial(5000), 2000, False),
        (trial(5000), trial(1437), 1437, True),
        (trial(64, 16), trial(64, 16), 1437, True),
        (trial(64, 16), trial(64), 1437, True),
        (trial(64), trial(64, 16), 1437, False),
        (trial(64, 16), trial(64, 8), 1437, False),
        (trial(64), trial(64, 64), 1437, True),
        (trial(64), trial(64, 100), 1437, True),
        (trial(64, 32), trial(64, 100), 1437, False),
    ],
)
def test_when_a_recorded_plan_is_valid(
    recorded: Trial, asked: Trial, train_size: int, fits: bool
) -> None:
    plan = make_plan(recorded, 1437, threads=1)
    assert reusable([plan], [asked], train_size) == (plan if fits else None)


def test_a_plan_of_several_members_is_not_reused_for_one() -> None:
    stacked = replace(make_plan(trial(64), 1437, threads=1), members=("b-s0", "b-s1"))
    assert reusable([stacked], [trial(64)], 1437) is None


def test_without_recorded_plans_none_is_reused() -> None:
    assert reusable([], [trial(64)], 1437) is None


def test_convolutions_use_channels_last_on_a_cpu() -> None:
    plain, cnn = trial(8, "auto"), trial(8, "auto")
    cnn = replace(cnn, settings=replace(cnn.settings, model=Model(name="cnn")))
    layouts = [
        make_plan(one, 100, 1, on_gpu).layout for one in (plain, cnn) for on_gpu in (False, True)
    ]
    assert layouts == ["contiguous", "contiguous", "channels-last", "contiguous"]
